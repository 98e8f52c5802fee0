"""GET /v1/servers (docs/protocol.md, section 3), /openapi.json and /docs as one ASGI app.

Owns: the route and its shape. Must not know: who is told what (desk.py), who may ask (doorman.py).
"""

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec
import trio
from litestar import get
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler
from msgspec import Struct

from pushctl.errors import NoCapacity, Problem
from pushctl.http.asgi import ASGIApp
from pushctl.http.cors import Cors, CorsLayer
from pushctl.http.observe import Observed
from pushctl.http.openapi import SESSION
from pushctl.http.rest import JsonRequest, authorization, may_answer, rest_app
from pushctl.metrics import BoxOfficeMetrics
from roles.boxoffice.desk import Desk
from roles.boxoffice.doorman import Doorman

EXPIRES_IN_SECONDS: Final = 30
"""How long a client may use an answer before it asks anew."""

MAX_BODY_BYTES: Final = 1024
"""No route takes a body; a small one is read and ignored."""

DESCRIPTION: Final = (
    "Which socket servers a client is to try, best first. Errors are problem+json with a stable `code`."
)

_ANY_ORIGIN: Final = Cors(origins=None, methods="GET", headers="Authorization")


class Services(msgspec.Struct, frozen=True):
    desk: Desk
    doorman: Doorman
    metrics: BoxOfficeMetrics


class ServersOut(Struct, frozen=True):
    """URLs of WebSocket listeners in the order in which to try them."""

    servers: list[str]
    expires_in_seconds: int


async def _needs_session(connection: ASGIConnection[Any, Any, Any, State], _: BaseRouteHandler) -> None:
    services = cast(Services, connection.app.state.services)
    # First, as it costs least: of whoever asks too often Redis need not be asked who it is.
    services.desk.knock(connection.client.host if connection.client else "", trio.current_time())
    connection.scope["auth"] = await services.doorman.admit(authorization(connection))


@get(
    "/v1/servers",
    summary="Socket servers to try",
    tags=["Box Office"],
    guards=[_needs_session],
    security=[SESSION],
    responses=may_answer(401, 429),
)
async def servers(request: JsonRequest) -> ServersOut:
    """If none of them takes the client it asks again, with exponential backoff and full jitter. With no capacity the
    answer is 503 with the members `servers` (empty) and `retry_after_seconds`: the client connects to nothing until
    then."""
    services = cast(Services, request.app.state.services)
    found = services.desk.servers_for(request.auth, trio.current_time())
    services.metrics.arrivals.inc()
    return ServersOut(found, EXPIRES_IN_SECONDS)


def _no_capacity_members(problem: Problem) -> Mapping[str, Any] | None:
    if isinstance(problem, NoCapacity):
        return {"servers": [], "retry_after_seconds": problem.retry_after_seconds}
    return None


def build_app(services: Services) -> ASGIApp:
    rest = rest_app(
        [servers],
        title="pushctl Box Office",
        description=DESCRIPTION,
        services=services,
        request_class=JsonRequest,
        max_body_bytes=MAX_BODY_BYTES,
        extra_of=_no_capacity_members,
    )

    def policy_of(path: str) -> Cors | None:
        return _ANY_ORIGIN if path.startswith("/v1/") else None

    return Observed(CorsLayer(cast(ASGIApp, rest), policy_of), services.metrics.http)
