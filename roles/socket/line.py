"""The stream below a WebSocket, plain or under TLS: bytes in, bytes out, without a scope or a task of its own.

Owns: sending what the kernel takes at once, and waiting for it to take more; calling a reader back.
Promises: of what a peer does not read two pieces of PIECE_BYTES wait in our kernel, no more. `interrupt` ends a wait
for the peer with Interrupted and breaks nothing: what it sends later can still be read. Must not know: what is sent.
"""

import socket
from collections.abc import Callable
from math import inf
from ssl import SSLContext

import trio

from pushctl.http.accepting import UNSENT_BYTES
from pushctl.plain_stream import Overdue, PlainStream
from pushctl.tls import shake_hands

PIECE_BYTES = UNSENT_BYTES
"""A peer that takes nothing of this in the given time has stalled."""

RECEIVE_BYTES = 4096

RECEIVE_BUFFER_BYTES = 32_768
"""What the kernel takes of a peer (it doubles this) that is not read for a while. Devices say little; left alone, Linux
lets each have 6 MB."""


class Interrupted(Exception):
    """Whoever reads is wanted elsewhere."""


class Line(PlainStream):
    """An accepted connection, plain."""

    __slots__ = ()

    def __init__(self, sock: socket.socket) -> None:
        """Takes over `sock`. Raises OSError if the peer is gone already."""
        super().__init__(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)

    async def receive(self) -> bytes:
        """Some bytes; none at the end. Raises Interrupted, BrokenResourceError, ClosedResourceError."""
        try:
            return await self.receive_some(RECEIVE_BYTES)
        except Overdue:
            raise Interrupted from None

    def interrupt(self) -> None:
        """Until `resume`, whoever waits for the peer is Interrupted."""
        self.stop_reading()

    def resume(self) -> None:
        self.read_by(inf)

    async def send_piece(self, data: memoryview) -> int:
        """As `send_some`, once there is room: how many bytes, perhaps none."""
        await self.wait_send_all_might_not_block()
        return self.send_some(data[:PIECE_BYTES])


class StreamLine:
    """The same over a Trio stream, which is TLS. What is sent always has to wait for its turn: nothing goes at once."""

    __slots__ = ("_interrupted", "_scope", "_stream", "close")

    def __init__(self, stream: trio.abc.Stream, close: Callable[[], None]) -> None:
        self._stream = stream
        self.close = close
        """Without ceremony."""
        self._scope: trio.CancelScope | None = None
        self._interrupted = False

    async def receive(self) -> bytes:
        """See Line."""
        data: bytes | None = None
        with trio.CancelScope() as self._scope:
            if self._interrupted:
                self._scope.cancel()
            data = bytes(await self._stream.receive_some(RECEIVE_BYTES))
        self._scope = None
        if data is None:
            raise Interrupted
        return data

    def interrupt(self) -> None:
        """See Line."""
        self._interrupted = True
        if self._scope is not None:
            self._scope.cancel()

    def resume(self) -> None:
        """See Line."""
        self._interrupted = False

    def send_some(self, data: bytes) -> int:
        """See Line."""
        return 0

    async def send_piece(self, data: memoryview) -> int:
        """See Line: a piece, whole. Once cancelled, nothing can be sent any more."""
        piece = data[:PIECE_BYTES]
        await self._stream.send_all(piece)
        return len(piece)


async def secured(line: Line, context: Callable[[], SSLContext], by: float) -> StreamLine | None:
    """The line under TLS; None if the peer has not shaken hands by then (trio.current_time), or cannot."""
    tls = await shake_hands(line, context, by)
    return None if tls is None else StreamLine(tls, line.close)
