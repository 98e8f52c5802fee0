"""The short way of a message: POST to a push URL, where all of the request is there (pushctl/http/short.py).

Owns: which requests go it, and the spelling of their answers. Promises: as push_routes.py, and the same bytes.
Must not know: what is done with a message; how an error is told.
"""

from collections.abc import Callable, Iterable

import trio

from pushctl.http.asgi import ASGIApp, Receive, Scope, Send
from pushctl.http.observe import name_beginning
from pushctl.http.parser import Request
from pushctl.metrics import HttpMetrics
from roles.api.publish import PUSH_ROUTE
from roles.api.push_routes import PUSH, PushRoutes

_BEHIND = len(PUSH)


class ShortPush:
    """A pushctl.http.short.ShortWay."""

    def __init__(
        self,
        routes: PushRoutes,
        metrics: HttpMetrics,
        headers: Iterable[tuple[bytes, bytes]],
        around: Callable[[ASGIApp], ASGIApp],
        max_body_bytes: int,
    ) -> None:
        """`headers`: what the layers around an application put on its answer; `around`: puts them around one."""
        self._routes = routes
        self._metrics = metrics
        self._headers = b"".join(b"%b: %b\r\n" % pair for pair in headers)
        self._around = around
        self._max_body_bytes = max_body_bytes

    def takes(self, request: Request, length: int) -> bool:
        path = request.path
        return (
            request.method == "POST"
            and path.startswith(PUSH)
            and len(path) > _BEHIND
            and path.find("/", _BEHIND) < 0
            and length <= self._max_body_bytes
        )

    async def answer(self, request: Request, body: bytes, host: str, scheme: str) -> tuple[int, bytes]:
        metrics, began = self._metrics, trio.current_time()
        metrics.in_flight += 1
        try:
            status, headers = await self._routes.accept(request.path[_BEHIND:], request.headers, body, host, scheme)
        finally:
            metrics.in_flight -= 1
        metrics.answered(PUSH_ROUTE, str(status), trio.current_time() - began, None)
        return status, b"".join([b"%b: %b\r\n" % pair for pair in headers]) + self._headers

    def instead(self, error: Exception, began: float) -> ASGIApp:
        app = self._routes.refusing(error)

        async def begun(scope: Scope, receive: Receive, send: Send) -> None:
            name_beginning(scope, began)
            await app(scope, receive, send)

        return self._around(begun)
