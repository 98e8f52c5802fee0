"""Where a browser comes back to after a login at a provider: one page on this machine's loopback (RFC 8252, 7.3).

Owns: the listener, and the page a person sees at the end.
Promises: only the answer with our `state` counts; whatever else comes (other pages' requests, favicons, garbage) is
answered and forgotten, few at a time and none for long.
Must not know: providers, what the answer means.
"""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import trio

from pushctl.errors import Failed

PATH: Final = "/callback"
MAX_BYTES: Final = 16_384
SECONDS: Final = 10.0
AT_ONCE: Final = 8
"""Connections; browsers open some that they never use."""

_PAGE: Final = "<!doctype html><meta charset=utf-8><title>pushctl</title><p>{}</p>"


class Redirect:
    """A listener on loopback. `uri`: to give to the provider."""

    def __init__(self, listener: trio.SocketListener) -> None:
        self._listener = listener
        host, port = listener.socket.getsockname()[:2]
        self.uri = f"http://{host}:{port}{PATH}"

    async def answer(self, state: str) -> Mapping[str, str]:
        """The parameters that the provider sent the browser back with. Waits for as long as the caller does."""
        found: dict[str, str] = {}
        come = trio.Event()
        slots = trio.Semaphore(AT_ONCE)

        async def serve(stream: trio.SocketStream) -> None:
            async with stream:
                parameters = await _one_request(stream, state)
            slots.release()
            if parameters is not None:
                found.update(parameters)
                come.set()

        async def accept(nursery: trio.Nursery) -> None:
            while True:
                await slots.acquire()
                nursery.start_soon(serve, await self._listener.accept())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept, nursery)
            await come.wait()
            nursery.cancel_scope.cancel()
        return found


@asynccontextmanager
async def redirect(port: int = 0) -> AsyncIterator[Redirect]:
    """Listens on 127.0.0.1 until the block ends; port 0 picks one. Failed if it cannot."""
    try:
        (listener,) = await trio.open_tcp_listeners(port, host="127.0.0.1")
    except OSError as error:
        raise Failed(f"cannot listen on 127.0.0.1:{port} for the browser to come back: {error.strerror}") from None
    async with listener:
        yield Redirect(listener)


async def _one_request(stream: trio.SocketStream, state: str) -> dict[str, str] | None:
    """Answers it; its parameters if it is the one."""
    try:
        with trio.fail_after(SECONDS):
            parameters = _parameters(await _head(stream))
            ours = parameters is not None and secrets.compare_digest(
                parameters.get("state", "").encode(), state.encode()
            )
            text = "Close this page and go back to pushctl." if ours else "This is not the login that is awaited."
            await stream.send_all(_response(200 if ours else 400, text))
    except (trio.TooSlowError, trio.BrokenResourceError, ValueError):
        return None
    return parameters if ours else None


async def _head(stream: trio.SocketStream) -> str:
    """The request line. ValueError if none comes."""
    received = bytearray()
    while b"\r\n\r\n" not in received:
        chunk = await stream.receive_some(4096)
        received += chunk
        if not chunk or len(received) > MAX_BYTES:
            raise ValueError("no request")
    return received.split(b"\r\n", 1)[0].decode("ascii")


def _parameters(line: str) -> dict[str, str] | None:
    """Those of `GET /callback?...`; None for another path or method, or if one is there twice."""
    method, _, rest = line.partition(" ")
    target = urlsplit(rest.partition(" ")[0])
    pairs = parse_qsl(target.query, keep_blank_values=True, max_num_fields=32)
    whole = method == "GET" and target.path == PATH and len(dict(pairs)) == len(pairs)
    return dict(pairs) if whole else None


def _response(status: int, text: str) -> bytes:
    body = _PAGE.format(text).encode()
    head = (
        f"HTTP/1.1 {status} {'OK' if status == 200 else 'Bad Request'}\r\nContent-Type: text/html; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\nCache-Control: no-store\r\n"
        "Referrer-Policy: no-referrer\r\nContent-Security-Policy: default-src 'none'\r\n\r\n"
    )
    return head.encode() + body
