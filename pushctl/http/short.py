"""A short way for the one request that a service exists for: from a whole request to a whole answer, without ASGI.

Owns: what such a route is. Promises: it answers byte for byte what the application answers; whatever it cannot answer
itself it hands back as an application, so an error has one answer and one place where it is counted.
Must not know: sockets; which route it is.

What stands between server and application (a scope, receive and send, layers for metrics and for other origins)
is a fifth of what a message costs. A request takes this way only if all of it is there, in plain form.
"""

from typing import Protocol

from pushctl.http.asgi import ASGIApp
from pushctl.http.parser import Request


class ShortWay(Protocol):
    def takes(self, request: Request, length: int) -> bool:
        """May this request with a body of so many bytes, all of it there, go this way?"""
        ...

    async def answer(self, request: Request, body: bytes, host: str, scheme: str) -> tuple[int, bytes]:
        """Status and header lines of an answer without a body. Whatever it raises is answered by `instead`."""
        ...

    def instead(self, error: Exception, began: float) -> ASGIApp:
        """Answers the request that `answer` raised this for; `began`: when it was asked (trio.current_time)."""
        ...
