"""The whole public face of the api role as one ASGI app.

Owns: which part answers which path, and which pages of other origins may use it.
Promises: the routes of the development identity provider exist only if the services hold one.
Must not know: listeners, Redis.
"""

from collections.abc import Sequence
from typing import Final, cast

from litestar.handlers import HTTPRouteHandler

from pushctl.errors import BodyInvalid, ConfigError
from pushctl.http.asgi import ASGIApp, Receive, Scope, Send
from pushctl.http.cors import Cors, CorsLayer
from pushctl.http.observe import Observed
from pushctl.http.rest import rest_app
from roles.api import checks
from roles.api.document import PUSH_PATHS
from roles.api.inbox_page import InboxPage
from roles.api.publish import Publisher
from roles.api.push_routes import PushRoutes
from roles.api.receipts import Receipts
from roles.api.routes import CLIENT_API
from roles.api.services import ApiRequest, Services
from roles.api.short_push import ShortPush
from roles.api.tooling import TOOLING

DESCRIPTION: Final = (
    "The client API (/v1), behind a session token, and the third-party API (/push, /message, /receipt): "
    "RFC 8030, and plain HTTP. Errors are problem+json with a stable `code`."
)

_THIRD_PARTIES: Final = Cors(
    origins=None,
    methods="DELETE, GET, POST",
    headers=(
        "Authorization, Content-Encoding, Content-Type, Crypto-Key, Encryption, Idempotency-Key, Prefer, TTL, Topic, "
        "Urgency"
    ),
    expose="Link, Location, Retry-After, TTL, WWW-Authenticate",
)


def own_origins(public_url: str, configured: Sequence[str]) -> frozenset[str]:
    """The origins whose pages may use the client API, as browsers spell them. Raises ConfigError."""
    origins = set()
    mistakes = []
    for key, text in [("api.public_url", public_url), *(("api.origins", text) for text in configured)]:
        try:
            origins.add(checks.site(text))
        except BodyInvalid:
            mistakes.append(f"{key}: {text!r}: expected an origin such as https://push.example")
    if mistakes:
        raise ConfigError(mistakes)
    return frozenset(origins)


def client_api_handlers(services: Services) -> Sequence[HTTPRouteHandler]:
    """What Litestar answers; with the development identity provider only if there is one."""
    handlers = [*CLIENT_API, *TOOLING]
    if services.dev_idp is not None:
        from roles.api.dev_idp_routes import DEV_IDP_ROUTES

        handlers += DEV_IDP_ROUTES
    return handlers


class ApiApp:
    """Sends each path to the part that owns it."""

    def __init__(self, rest: ASGIApp, push: PushRoutes, inbox_page: InboxPage | None) -> None:
        self._rest = rest
        self._push = push
        self._inbox_page = inbox_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._part_for(scope["path"])(scope, receive, send)

    def _part_for(self, path: str) -> ASGIApp:
        if PushRoutes.owns(path):
            return self._push
        if self._inbox_page is not None and InboxPage.owns(path):
            return self._inbox_page
        return self._rest


def build_app(
    services: Services,
    publisher: Publisher,
    receipts: Receipts,
    *,
    origins: frozenset[str],
    max_body_bytes: int,
    inbox_page: InboxPage | None = None,
) -> tuple[ASGIApp, ShortPush]:
    """The application, and its short way for messages. `origins`: of pages that may use the client API;
    `max_body_bytes`: of a request to it; `inbox_page`: the inbox in a browser, if it is on."""
    rest = rest_app(
        client_api_handlers(services),
        title="pushctl API",
        description=DESCRIPTION,
        services=services,
        request_class=ApiRequest,
        max_body_bytes=max_body_bytes,
        challenge="BrowserID, Bearer",
        more_paths=PUSH_PATHS,
    )
    clients = Cors(origins=origins, methods="DELETE, GET, POST", headers="Authorization, Content-Type")

    def policy_of(path: str) -> Cors | None:
        if PushRoutes.owns(path):
            return _THIRD_PARTIES
        return clients if path.startswith("/v1/") else None

    headers = []
    if services.dev_idp is not None:
        from roles.api.dev_idp_routes import ON_EVERY_ANSWER

        headers.append(ON_EVERY_ANSWER)
    push = PushRoutes(publisher, services.inbox, receipts, services.limits)
    metrics = services.metrics.http

    def around(app: ASGIApp) -> Observed:
        return Observed(CorsLayer(app, policy_of), metrics, headers)

    app = around(ApiApp(cast(ASGIApp, rest), push, inbox_page))
    on_answer = [*_THIRD_PARTIES.on_answer(None), *app.headers]
    return app, ShortPush(push, metrics, on_answer, around, publisher.rules.max_body_bytes)
