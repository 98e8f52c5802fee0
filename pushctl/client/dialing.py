"""Opening a WebSocket to a socket server, and closing it so that nothing is left behind.

Owns: TCP, TLS and the upgrade, each failure in words, and the end of all of it.
Promises: leaving the block closes TCP within GOODBYE_SECONDS, whether or not the peer answers our Close; what the block
raises comes out of it as it is.
Must not know: frames.

The stream is ours, not trio-websocket's: the library leaves a client's TCP connection open when the server says Close
first, and does not say why a TLS handshake failed.
"""

import math
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import trio
import trio_websocket
import wsproto.utilities

from pushctl.causes import cause_of
from pushctl.client.http import retry_after, trusted
from pushctl.protocol.frames import SUBPROTOCOL

CONNECT_SECONDS: Final = 10.0
GOODBYE_SECONDS: Final = 1.0
LAST_WORD_SECONDS: Final = 0.1
"""For sending our Close when we are cancelled: the library's reader is cancelled too, so no answer would be seen."""

MAX_FRAME_BYTES: Final = 8 * 1024 * 1024
"""A page of a sync is about 128 KiB; one object in it may be larger."""

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class NotConnected(Exception):
    """The server did not take us. `status`: of its answer, if that was one; `retry_after_seconds`: of a full one (503).

    For phone.py and member.py only.
    """

    def __init__(self, reason: str, retry_after_seconds: float | None = None, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds
        self.status = status


def rejected(status: int, headers: Iterable[tuple[bytes, bytes]]) -> NotConnected:
    """An answer to the upgrade that is not 101."""
    fields = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
    return NotConnected(f"answered {status}", retry_after(fields), status)


@asynccontextmanager
async def dial(url: str) -> AsyncIterator[trio_websocket.WebSocketConnection]:
    """The open WebSocket, closed at the end. Raises NotConnected before the block or, if the peer breaks the protocol
    of WebSocket itself, in its place."""
    stream = await open_stream(url)
    try:
        async with trio.open_nursery() as nursery:
            socket = await _upgrade(nursery, stream, url)
            try:
                yield socket
            finally:
                cancelled = trio.current_effective_deadline() == -math.inf
                with trio.move_on_after(LAST_WORD_SECONDS if cancelled else GOODBYE_SECONDS, shield=True):
                    await socket.aclose()
            nursery.cancel_scope.cancel()
    except ExceptionGroup as group:
        # The block and the library's reader: one of them failed.
        error = group.exceptions[0] if len(group.exceptions) == 1 else group
        raise _named(error) from None
    finally:
        await trio.aclose_forcefully(stream)


async def open_stream(url: str) -> Stream:
    """TCP, and TLS for wss://, to the server of a WebSocket URL. Raises NotConnected."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or (443 if parts.scheme == "wss" else 80)
    except ValueError:
        host, port = None, 0
    if host is None or parts.scheme not in ("ws", "wss"):
        raise NotConnected("not a WebSocket URL")
    try:
        with trio.fail_after(CONNECT_SECONDS):
            tcp = await trio.open_tcp_stream(host, port)
            if parts.scheme == "ws":
                return tcp
            tls = trio.SSLStream(tcp, trusted(), server_hostname=host, https_compatible=True)
            shaken = False
            try:
                await tls.do_handshake()
                shaken = True
            finally:
                if not shaken:
                    await trio.aclose_forcefully(tcp)
            return tls
    except trio.TooSlowError:
        raise NotConnected(f"no answer within {CONNECT_SECONDS:g} s") from None
    except (OSError, trio.BrokenResourceError, ValueError) as error:  # ValueError: a name that is no host name
        raise NotConnected(cause_of(error)) from None


async def _upgrade(nursery: trio.Nursery, stream: Stream, url: str) -> trio_websocket.WebSocketConnection:
    parts = urlsplit(url)
    try:
        with trio.fail_after(CONNECT_SECONDS):
            return await trio_websocket.wrap_client_stream(
                nursery,
                stream,
                parts.netloc.rpartition("@")[2],
                (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
                subprotocols=[SUBPROTOCOL],
                max_message_size=MAX_FRAME_BYTES,
            )
    except trio.TooSlowError:
        # Also when it closed TCP instead of answering: the library does not tell.
        raise NotConnected(f"no answer to the WebSocket upgrade within {CONNECT_SECONDS:g} s") from None


def _named(error: Exception) -> Exception:
    """What the library's reader raises, as NotConnected; anything else as it is."""
    match error:
        case trio_websocket.ConnectionRejected():
            return rejected(error.status_code, error.headers)
        case trio_websocket.HandshakeError() | wsproto.utilities.ProtocolError():
            # The latter when, say, a ping arrives after we said Close.
            return NotConnected(cause_of(error))
        case _:
            return error
