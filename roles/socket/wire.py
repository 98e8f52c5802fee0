"""The narrow seam to a WebSocket: the upgrade, messages in, frames out, pings and pongs, close and drop.

Owns: wsproto and everything peculiar about it; nothing else in this role imports it. It runs no task of its own: one
task of the caller's may receive, another may write.
Promises: what a peer sends costs bounded memory and time (intake.py), and however many pings it sends, one pong is
owed; a write that was cancelled may have left half a frame, so that socket is never written again; a close drops TCP
after CLOSE_SECONDS whether or not the peer answers; whatever a peer sends, only Disconnected comes out.
Must not know: frames' meaning, users.
"""

import base64
import math
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal

import trio
import wsproto
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    Pong,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError, ProtocolError, RemoteProtocolError

from pushctl.errors import Problem
from pushctl.http.problem import problem_response
from pushctl.log import get_logger
from roles.socket.intake import Assembly, Pace, TooLarge
from roles.socket.watched import Watched

log = get_logger(part="wire")

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
            await self._feed()
            await trio.sleep(self._pace.wait_seconds(self._frames, trio.current_time()))
            self._frames = 0

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


class Upgrade:
    """What a peer asks for before anything is promised: answer with `accept` or `refuse`."""

    def __init__(
        self, stream: Watched, protocol: wsproto.WSConnection, request: Request, max_message_bytes: int
    ) -> None:
        headers = {name: value.decode("latin-1") for name, value in request.extra_headers}
        self._stream = stream
        self._protocol = protocol
        self._max_message_bytes = max_message_bytes
        self.headers = request.extra_headers
        """Names in lower case."""
        self.origin = headers.get(b"origin")
        self.subprotocols: tuple[str, ...] = tuple(request.subprotocols)
        self.key_is_valid = _is_key(headers.get(b"sec-websocket-key", ""))

    async def accept(self, subprotocol: str, *, stall_seconds: float) -> Wire:
        """Complete the upgrade. No extension is ever negotiated: no compression, no compression bombs.

        Raises Disconnected.
        """
        await self._send(self._protocol.send(AcceptConnection(subprotocol=subprotocol)))
        return Wire(
            self._stream,
            self._protocol,
            max_message_bytes=self._max_message_bytes,
            stall_seconds=stall_seconds,
        )

    async def refuse(self, problem: Problem) -> None:
        """Answer with an HTTP error, before any WebSocket cost."""
        status, headers, body = problem_response(problem)
        headers = [*headers, (b"content-length", b"%d" % len(body)), (b"connection", b"close")]
        answer = self._protocol.send(RejectConnection(status_code=status, headers=headers, has_body=True))
        answer += self._protocol.send(RejectData(data=body))
        with trio.move_on_after(CLOSE_SECONDS), suppress(Disconnected):
            await self._send(answer)

    async def _send(self, data: bytes) -> None:
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Disconnected(1006) from None


def _is_key(text: str) -> bool:
    """Sixteen bytes in base64 (RFC 6455 s.4.2.1, 5), which the library does not look at."""
    try:
        return len(base64.b64decode(text, validate=True)) == 16
    except ValueError:
        return False


async def _read_upgrade(stream: Watched, max_message_bytes: int) -> Upgrade:
    """Raises ProtocolError, UnicodeError (of headers that the library decodes), Disconnected."""
    protocol = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
    while True:
        try:
            data = await stream.receive_some(RECEIVE_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Disconnected(1006) from None
        if not data:
            raise Disconnected(1006)
        protocol.receive_data(bytes(data))
        for event in protocol.events():
            if isinstance(event, Request):
                return Upgrade(stream, protocol, event, max_message_bytes)


Handler = Callable[[Upgrade], Awaitable[None]]


async def serve_stream(
    plain: trio.abc.Stream, handler: Handler, *, by: float, max_message_bytes: int
) -> Literal["too_slow", "handshake"] | None:
    """Read the upgrade request on a fresh stream, by that moment (trio.current_time), and let `handler` answer it. The
    stream is dropped when the handler is done. The handler raises nothing. Returns what was wrong if no handler was
    needed."""
    stream = Watched(plain)
    upgrade = None
    try:
        with trio.move_on_at(by) as slow:
            try:
                upgrade = await _read_upgrade(stream, max_message_bytes)
            except RemoteProtocolError as error:
                await _answer_nonsense(stream, error)
                return "handshake"
            except (ProtocolError, UnicodeError):
                return "handshake"
            except Disconnected:
                return None
        if upgrade is not None:
            await handler(upgrade)
    except Exception as error:
        log.error("connection_crashed", exc_info=error)
    finally:
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(stream)
    return "too_slow" if slow.cancelled_caught else None


async def _answer_nonsense(stream: Watched, error: RemoteProtocolError) -> None:
    """What the library would answer."""
    hint = error.event_hint
    if isinstance(hint, RejectConnection):
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            version = b"Sec-WebSocket-Version: 13\r\n" if hint.status_code == 426 else b""
            head = b"HTTP/1.1 %d \r\n%sContent-Length: 0\r\nConnection: close\r\n\r\n" % (hint.status_code, version)
            await stream.send_all(head)
