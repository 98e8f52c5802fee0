"""One connection without TLS, as a Trio stream that is quick and can be told to give up.

Owns: the socket, and the moments by which reading and writing must be over.
Promises: `receive_some` always lets others run; `send_all` does so only when the peer is slow, `send_some` never.
Overdue is raised once a moment has passed and a watch (http/server.py) noticed it. After that, or after an error, what
was sent may be half there.
Must not know: HTTP, TLS.

Why not trio.SocketStream and cancel scopes: on a keep-alive connection every request would pay for a checkpoint in
send_all and for two scopes with deadlines. Measured with 200-byte requests in one process: 16,500 requests/s with
SocketStream, 10,300 with scopes besides, 35,500 this way.
"""

import select
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf

import trio

READ_BYTES = 16_384
"""Taken from the socket at once: what one peer can make us work through before others run."""

_RESET = struct.pack("ii", 1, 0)


class Overdue(trio.BrokenResourceError):
    """The peer took too long."""


class PlainStream(trio.abc.HalfCloseableStream):
    __slots__ = (
        "_closed",
        "_fd",
        "_read_by",
        "_read_overdue",
        "_sock",
        "_write_by",
        "_write_overdue",
        "_write_seconds",
    )

    def __init__(self, sock: socket.socket, write_seconds: float = inf) -> None:
        """Takes over `sock`. `write_seconds`: how long one `send_all` may wait for the peer."""
        sock.setblocking(False)
        self._sock = sock
        self._fd = sock.fileno()
        self._write_seconds = write_seconds
        self._read_by = inf
        self._write_by = inf
        self._read_overdue = False
        self._write_overdue = False
        self._closed = False

    @classmethod
    def of(cls, stream: trio.SocketStream) -> "PlainStream":
        """The same connection; that stream is no more."""
        ours = stream.socket
        return cls(socket.socket(ours.family, ours.type, ours.proto, fileno=ours.detach()))

    # --- time ---------------------------------------------------------------------------------------------------------

    def read_by(self, moment: float) -> None:
        """From now on reading must be over by `moment` (trio.current_time); inf: take your time."""
        self._read_by = moment
        self._read_overdue = False

    def stop_reading(self) -> None:
        """Let whoever reads have what is there, and then Overdue."""
        self._read_overdue = True
        self._wake()

    def check(self, now: float) -> None:
        """Is anything overdue? The watch asks every connection."""
        if self._read_by <= now or self._write_by <= now:
            self._read_overdue = self._read_overdue or self._read_by <= now
            self._write_overdue = self._write_by <= now
            self._wake()

    def _wake(self) -> None:
        # Whoever waits for the socket gets a ClosedResourceError and looks around. Nothing is closed.
        if not self._closed:
            trio.lowlevel.notify_closing(self._fd)

    # --- trio.abc.HalfCloseableStream ---------------------------------------------------------------------------------

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What the peer sent; b"" at its end. Raises Overdue, BrokenResourceError, ClosedResourceError.

        What came in time is given out even if the watch noticed first; the call after that is Overdue.
        """
        while True:
            if self._read_overdue:
                raise Overdue("the peer sends too slowly")
            await self._woken(trio.lowlevel.wait_readable)
            try:
                return self._sock.recv(max_bytes or READ_BYTES)
            except BlockingIOError:
                continue  # woken for another reason: it is overdue, or the writer is
            except OSError as error:
                raise trio.BrokenResourceError(f"the peer is gone: {error.strerror}") from None

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send it all. Raises Overdue after write_seconds, BrokenResourceError, ClosedResourceError."""
        sent = self.send_some(data)
        if sent < len(data):
            await self._send_rest(memoryview(data)[sent:])

    async def _send_rest(self, rest: memoryview) -> None:
        self._write_by = trio.current_time() + self._write_seconds
        try:
            while rest:
                await self._woken(trio.lowlevel.wait_writable)
                if self._write_overdue:
                    raise Overdue("the peer reads too slowly")
                rest = rest[self.send_some(rest) :]
        finally:
            self._write_by = inf

    def send_some(self, data: bytes | bytearray | memoryview) -> int:
        """What the kernel takes of it at once: how many bytes. Raises BrokenResourceError, ClosedResourceError."""
        if self._closed:
            raise trio.ClosedResourceError("this connection was closed")
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise trio.BrokenResourceError(f"the peer is gone: {error.strerror}") from None

    async def _woken(self, wait: Callable[[int], Awaitable[None]]) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this connection was closed")
        try:
            await wait(self._fd)
        except trio.ClosedResourceError:
            if self._closed:
                raise

    async def wait_send_all_might_not_block(self) -> None:
        await self._woken(trio.lowlevel.wait_writable)

    async def send_eof(self) -> None:
        self.shutdown()
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()

    def is_readable(self) -> bool:
        """There is something to receive, or the end. It costs a system call."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(0))

    # --- the end ------------------------------------------------------------------------------------------------------

    def shutdown(self) -> None:
        """Tell the peer that nothing more comes. It may be gone already."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def close(self, *, reset: bool = False) -> None:
        """Close. `reset`: throw away what the peer has not taken, and let it see that this is no ordinary end."""
        if self._closed:
            return
        self._closed = True
        trio.lowlevel.notify_closing(self._fd)
        if reset:
            with suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._sock.close()
