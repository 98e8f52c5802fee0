"""Around every public app: requests counted by route and status, and the headers that all answers carry.

Owns: the route's name in metrics, `Cache-Control: no-store` where an answer says nothing else (answers hold what only
their client may see), and HEAD wherever there is GET.
Must not know: routes; an app names its own with `name_route`, Litestar's are found in the scope.
"""

from collections.abc import Iterable

from pushctl.http.asgi import ASGIApp, Message, Receive, Scope, Send
from pushctl.metrics import Metrics

_ROUTE = "path_template"
"""Where Litestar leaves the template of the route it found."""

_NO_STORE = (b"cache-control", b"no-store")
_NO_SNIFF = (b"x-content-type-options", b"nosniff")


def name_route(scope: Scope, template: str) -> None:
    """Say which route this request is: a template, never a path that a peer chose."""
    scope[_ROUTE] = template


class Observed:
    """An ASGI app around another. `headers`: put on every answer."""

    def __init__(self, app: ASGIApp, metrics: Metrics, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self._app = app
        self._metrics = metrics
        self._headers = [_NO_SNIFF, *headers]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = "none"

        async def send_observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
                headers = [*message.get("headers", ()), *self._headers]
                if not any(name == b"cache-control" for name, _ in headers):
                    headers.append(_NO_STORE)
                message["headers"] = headers
            await send(message)

        # The server knows that the answer to HEAD has no body; the apps need not.
        inner = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        try:
            await self._app(inner, receive, send_observed)
        finally:
            self._metrics.http_requests.labels(inner.get(_ROUTE, "other"), status).inc()
