"""Around every public app: requests counted and timed by route and status, and the headers that all answers carry.

Owns: the route's name in metrics, the code of the problem that was told, `Cache-Control: no-store` where an answer says
nothing else (answers hold what only their client may see), and HEAD wherever there is GET.
Must not know: routes; an app names its own with `name_route`, Litestar's are found in the scope.
"""

from collections.abc import Iterable

import trio

from pushctl.errors import Problem
from pushctl.http.asgi import ASGIApp, Message, Receive, Scope, Send
from pushctl.metrics import HttpMetrics

_ROUTE = "path_template"
"""Where Litestar leaves the template of the route it found."""

_PROBLEM = "pushctl.problem"

_BEGAN = "pushctl.began"

_NO_STORE = (b"cache-control", b"no-store")
_NO_SNIFF = (b"x-content-type-options", b"nosniff")


def name_route(scope: Scope, template: str) -> None:
    """Say which route this request is: a template, never a path that a peer chose."""
    scope[_ROUTE] = template


def name_problem(scope: Scope, problem: Problem) -> None:
    """Say with which problem this request is answered."""
    scope[_PROBLEM] = problem.code


def name_beginning(scope: Scope, moment: float) -> None:
    """Say that this request was begun before it came here (trio.current_time)."""
    scope[_BEGAN] = moment


class Observed:
    """An ASGI app around another. `headers`: put on every answer."""

    def __init__(self, app: ASGIApp, metrics: HttpMetrics, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self._app = app
        self._metrics = metrics
        self._headers = [_NO_SNIFF, *headers]

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """On every answer that says nothing of caches itself."""
        return [*self._headers, _NO_STORE]

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
        metrics, began = self._metrics, trio.current_time()
        metrics.in_flight += 1
        try:
            await self._app(inner, receive, send_observed)
        finally:
            metrics.in_flight -= 1
            seconds = trio.current_time() - inner.get(_BEGAN, began)
            metrics.answered(inner.get(_ROUTE, "other"), status, seconds, inner.get(_PROBLEM))
