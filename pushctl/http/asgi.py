"""ASGI for handlers that need no framework: the types, and what handlers do.

Owns: reading a whole body under a bound, giving one whole answer, and giving up when nobody waits for it.
Promises: they work with any ASGI server.
Must not know: how bytes travel (exchange.py), or which routes there are.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, TypeVar

import trio

from pushctl.errors import BodyTooLarge, Problem

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Answer = TypeVar("Answer")
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]


class ClientDisconnected(OSError):
    """Nobody will read the answer: the peer went away, or its request turned out to be broken half-way.

    An OSError because that is what ASGI (spec_version 2.4) lets `send` raise. An application that has nothing to tidy
    up lets it pass; the server knows it and stays quiet.
    """


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole body of the request, at most `limit` bytes.

    Raises BodyTooLarge above that, ClientDisconnected if the body ends early.
    """
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
        if len(body) > limit:
            raise BodyTooLarge(f"a body here has at most {limit} bytes")
        return body
    return await _read_on(message, receive, limit)


async def _read_on(message: Message, receive: Receive, limit: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while message["type"] == "http.request":
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > limit:
            raise BodyTooLarge(f"a body here has at most {limit} bytes")
        if not message.get("more_body", False):
            return b"".join(pieces)
        message = await receive()
    raise ClientDisconnected("the peer went away within its request")


async def while_connected(receive: Receive, ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """What `ask` answers, given up once nobody waits for it any more (ClientDisconnected). For requests whose answer
    may take long; what comes of their body is thrown away. Raises what `ask` raises."""
    outcome: list[Answer] = []
    problem: Problem | None = None
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        try:
            outcome.append(await ask())
        except Problem as error:
            problem = error
        nursery.cancel_scope.cancel()
    if problem is not None:
        raise problem
    if not outcome:
        raise ClientDisconnected("the peer went away before the answer")
    return outcome[0]


def host_of(scope: Mapping[str, Any]) -> str:
    """The client's address, behind proxies that are trusted; empty if nobody knows."""
    client = scope.get("client")
    return str(client[0]) if client else ""


async def respond(send: Send, status: int, headers: Headers, body: bytes = b"") -> None:
    """One whole answer. Content-Length is added and must not be in `headers`; names are lower case, as ASGI has them.

    For HEAD give the same body as for GET: the server sends its length only.
    """
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
