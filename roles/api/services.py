"""What the handlers of the api role work with, and the request they are given.

Owns: nothing but the handles. Must not know: routes.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import msgspec
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler

from pushctl.clock import Clock
from pushctl.http.asgi import host_of
from pushctl.http.rest import JsonRequest, authorization
from pushctl.identity.verifier import IdentityVerifier
from pushctl.inbox import Accounts, Inbox, Session
from pushctl.keyring import KeyRing
from pushctl.metrics import ApiMetrics
from pushctl.registry import Registry
from roles.api.limits import Limits

if TYPE_CHECKING:  # a production process never imports the development provider
    from pushctl.identity.dev_idp import DevIdp


class Services(msgspec.Struct, frozen=True):
    registry: Registry
    inbox: Inbox
    accounts: Accounts
    ring: KeyRing
    verifier: IdentityVerifier
    metrics: ApiMetrics
    clock: Clock
    limits: Limits
    dev_idp: "DevIdp | None" = None


class ApiRequest(JsonRequest):
    @property
    def services(self) -> Services:
        return cast(Services, self.app.state.services)

    @property
    def caller(self) -> Session:
        """Whose request it is. Only behind `needs_session`."""
        return cast(Session, self.scope["auth"])


async def needs_session(connection: ASGIConnection[Any, Any, Any, State], _: BaseRouteHandler) -> None:
    """Guard: runs before the body is looked at. Raises Unauthenticated, RateLimited."""
    services = cast(Services, connection.app.state.services)
    session = await services.accounts.session(authorization(connection))
    await services.limits.request(session.user)
    connection.scope["auth"] = session


async def counts_log_ins(connection: ASGIConnection[Any, Any, Any, State], _: BaseRouteHandler) -> None:
    """Guard: as it costs least, before the body or a credential is looked at. Raises RateLimited."""
    services = cast(Services, connection.app.state.services)
    await services.limits.login(host_of(cast(Mapping[str, Any], connection.scope)))
