"""The narrow seam to a WebSocket: messages in, frames out, pings and pongs, close and drop.

Owns: wsproto and everything peculiar about it, with upgrade.py; nothing else imports it. It runs no task of its own:
one task of the caller's may receive, another may write.
Promises: what a peer sends costs bounded memory and time (intake.py), and however many pings it sends, one pong is
owed; a write that was cancelled may have left half a frame, so that socket is never written again; a close drops TCP
after CLOSE_SECONDS whether or not the peer answers; whatever a peer sends, only Disconnected comes out.
Must not know: frames' meaning, users.
"""

import math
import struct
from collections.abc import Callable
from contextlib import suppress

import trio
import wsproto
from wsproto.connection import ConnectionState
from wsproto.events import (
    BytesMessage,
    CloseConnection,
    Ping,
    Pong,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError

from roles.socket.intake import Assembly, Pace, TooFast, TooLarge
from roles.socket.watched import Watched

CLOSE_SECONDS = 2.0
RECEIVE_BYTES = 4096
DISCARD_BYTES = 262_144
"""Of what a peer still sends after our Close: were it left unread, the kernel would reset the connection, and the peer
might never see that Close. A peer that sends more is reset."""


class Disconnected(Exception):
    """The peer is gone, closed, or broke the protocol. `code`: of its Close frame, or what it deserves; 1006 without a
    reason."""

    def __init__(self, code: int) -> None:
        super().__init__(f"disconnected ({code})")
        self.code = code


class Stalled(Disconnected):
    """The peer took nothing for too long. It may have half a frame, and the socket is dead for writing."""

    def __init__(self) -> None:
        super().__init__(1006)


class Flooded(Disconnected):
    """The peer goes on sending more frames than anybody needs."""

    def __init__(self) -> None:
        super().__init__(1008)


class Wire:
    """An accepted WebSocket."""

    def __init__(
        self, stream: Watched, protocol: wsproto.WSConnection, *, max_message_bytes: int, stall_seconds: float
    ) -> None:
        self._stream = stream
        self._protocol = protocol
        self._message = Assembly(max_message_bytes)
        self._pace = Pace()
        self._frames = 0
        self._stall_seconds = stall_seconds
        self._writing = trio.Lock()
        self._half_written = False
        self._pong: bytes | None = None
        self.held_back = False
        """The peer sends too fast, and is read a little later."""
        self.on_pong_owed: Callable[[], None] = _nothing
        """And somebody is writing: when that is done, it is to call `pong`."""
        self.on_pong: Callable[[], None] = _nothing

    # --- in ----------------------------------------------------------------------------------------------------------

    async def receive(self) -> str | bytes:
        """The next message, whole. Answers pings itself while nobody writes. Raises Disconnected."""
        while True:
            message = self._next_message()
            if message is not None:
                return message
            if self.owes_pong and not self._writing.locked():
                await self.pong()
            elif self.owes_pong:
                self.on_pong_owed()
            await self._keep_pace(await self._feed())

    async def _keep_pace(self, octets: int) -> None:
        """Before what was just read is looked at: its bytes and the frames before it are paid for first."""
        try:
            seconds = self._pace.wait_seconds(self._frames, octets, trio.current_time())
        except TooFast:
            raise Flooded from None
        self._frames = 0
        if seconds:
            self.held_back = True
            await trio.sleep(seconds)
            self.held_back = False

    def _next_message(self) -> str | bytes | None:
        """Of what has been read."""
        for event in self._protocol.events():
            self._frames += 1
            if isinstance(event, TextMessage | BytesMessage):
                whole = self._add(event)
                if whole is not None:
                    return whole
            elif isinstance(event, Ping):
                self._pong = bytes(event.payload)  # of several only the last needs an answer (RFC 6455 s.5.5.3)
            elif isinstance(event, Pong):
                self.on_pong()
            elif isinstance(event, CloseConnection):  # the peer's, or the library's word for what the peer did wrong
                raise Disconnected(int(event.code))
        return None

    def _add(self, event: TextMessage | BytesMessage) -> str | bytes | None:
        try:
            return self._message.add(_immutable(event.data), last=event.message_finished)
        except TooLarge:
            raise Disconnected(1009) from None

    async def _feed(self) -> int:
        """Read some; how many bytes. Raises Disconnected."""
        try:
            data = await self._stream.receive_some(RECEIVE_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Disconnected(1006) from None
        if not data:
            raise Disconnected(1006)
        self._protocol.receive_data(bytes(data))
        return len(data)

    # --- out ---------------------------------------------------------------------------------------------------------

    @property
    def sending(self) -> bool:
        """A frame is on its way, or was left half-way."""
        return self._half_written

    @property
    def owes_pong(self) -> bool:
        return self._pong is not None

    async def send(self, frame: bytes) -> None:
        """Send one text frame. Raises Disconnected: Stalled when the peer took nothing for `stall_seconds`."""
        if self._protocol.state is not ConnectionState.OPEN:
            raise Disconnected(1006)
        await self._write(_header(len(frame)) + frame)

    async def ping(self) -> None:
        """Send a WebSocket ping. As `send`."""
        await self._write(self._encoded(Ping(payload=b"")))

    async def pong(self) -> None:
        """Send the pong that is owed. As `send`."""
        payload, self._pong = self._pong or b"", None
        await self._write(self._encoded(Pong(payload=payload)))

    def _encoded(self, event: Ping | Pong | CloseConnection) -> bytes:
        try:
            return self._protocol.send(event)
        except LocalProtocolError:
            raise Disconnected(1006) from None  # closing was under way

    async def _write(self, data: bytes) -> None:
        try:
            self._writing.acquire_nowait()
        except trio.WouldBlock:
            await self._writing.acquire()
        try:
            await self._write_now(data)
        finally:
            self._writing.release()

    async def _write_now(self, data: bytes) -> None:
        if self._half_written:
            raise Disconnected(1006)
        self._half_written = True
        try:
            with self._stream.watched(self._stall_seconds):
                await self._stream.send_all(data)
                self._half_written = False
                return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Disconnected(1006) from None
        raise Stalled

    async def close(self, code: int, reason: str, *, by: float = math.inf) -> None:
        """Close with a code; drop TCP after CLOSE_SECONDS at the latest, or at the moment `by`. Safe while being
        cancelled."""
        by = min(by, trio.current_time() + CLOSE_SECONDS)
        with trio.CancelScope(deadline=by, shield=True), suppress(Disconnected):
            # The library cuts the reason to what a Close frame holds.
            await self._write(self._encoded(CloseConnection(code=code, reason=reason)))
            discarded = 0
            while self._protocol.state is not ConnectionState.CLOSED and discarded < DISCARD_BYTES:
                discarded += await self._feed()
                for _ in self._protocol.events():
                    pass
        await trio.aclose_forcefully(self._stream)

    def forget(self) -> None:
        """Whoever is called from here. So a connection that is over is freed at once, and not left to the garbage
        collector, which would look through all others to find it."""
        self.on_pong_owed = self.on_pong = _nothing


def _nothing() -> None:
    pass


def _immutable(data: str | bytes | bytearray) -> str | bytes:
    return data if isinstance(data, str) else bytes(data)


def _header(size: int) -> bytes:
    """Of a text frame in one piece, as a server sends it (RFC 6455 s.5.2): for every message, so without the copies
    that the library makes."""
    if size < 126:
        return bytes((0x81, size))
    return struct.pack("!BBH", 0x81, 126, size) if size < 65_536 else struct.pack("!BBQ", 0x81, 127, size)
