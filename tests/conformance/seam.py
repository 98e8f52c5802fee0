"""A WebSocket of our server from its first byte to its last, without the rest of a role: what conformance is tested on.

Owns: all that these tests know of the seam (roles/socket/upgrade.py and wire.py), so that it may be built otherwise.
Must not know: how frames are read and written there.
"""

import math
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import trio
import trio.testing

from pushctl.config.model import Config
from pushctl.errors import Problem
from roles.socket.admission import Admission, Refused
from roles.socket.ending import OF_DEVICES
from roles.socket.line import Line, StreamLine
from roles.socket.pulse import Pulse
from roles.socket.upgrade import Upgrade, read_upgrade, refuse
from roles.socket.wire import Disconnected, Wire
from tests.conformance.server_frames import CLOSE, PONG, Frame, parse

MAX_BYTES = Config().socket.max_frame_bytes
HANDSHAKE_SECONDS = 10
STALL_SECONDS = 30
PATIENCE_SECONDS = 30

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: push.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)

Message = str | bytes


def line_of(stream: trio.abc.Stream) -> Line | StreamLine:
    """As the role has it: of an accepted connection, or over another stream."""
    if isinstance(stream, trio.SocketStream):
        plain = stream.socket
        return Line(socket.socket(plain.family, plain.type, plain.proto, fileno=plain.detach()))
    return StreamLine(stream, lambda: None)


class Server:
    """Our end. It listens until the peer is gone or closes, and closes as a connection does."""

    def __init__(self, *, max_message_bytes: int = MAX_BYTES, stall_seconds: float = STALL_SECONDS) -> None:
        self.heard: list[Message] = []
        self.gone: Disconnected | None = None
        self.crashed: Exception | None = None
        """Never, whatever the peer does; but for what a test's `talk` may raise."""
        self._max_message_bytes = max_message_bytes
        self._stall_seconds = stall_seconds
        self._admission = Admission(Config(), trio.current_time(), count=lambda _: None)
        self.talk: Callable[[Wire], Awaitable[None]] = self._listen
        """With whom was let in; raises Disconnected."""

    async def serve(self, stream: trio.abc.Stream) -> None:
        line = line_of(stream)
        try:
            await self._answer(line)
        except Exception as error:  # noqa: BLE001 - kept for whoever looks
            self.crashed = error
        finally:
            line.close()
            await trio.aclose_forcefully(stream)

    async def _answer(self, line: Line | StreamLine) -> None:
        upgrade = None
        with trio.move_on_after(HANDSHAKE_SECONDS):
            try:
                upgrade = await read_upgrade(line, Config().http)
            except Problem as problem:
                await refuse(line, problem)
            except Disconnected:
                pass
        if upgrade is not None:
            await self._let_in(upgrade)

    async def _let_in(self, upgrade: Upgrade) -> None:
        try:
            subprotocol = self._admission.examine(
                origin=upgrade.origin,
                own_origin="http://push.example",
                key_is_valid=upgrade.key_is_valid,
                subprotocols=upgrade.subprotocols,
            )
        except Refused as refused:
            await upgrade.refuse(refused.problem)
            return
        try:
            wire = await upgrade.accept(
                subprotocol,
                max_message_bytes=self._max_message_bytes,
                stall_seconds=self._stall_seconds,
                pulse=Pulse(trio.current_time(), ping_seconds=math.inf, pong_seconds=math.inf),
            )
        except Disconnected as gone:
            self.gone = gone
            return
        try:
            await self.talk(wire)
        except Disconnected as gone:
            self.gone = gone
            how = OF_DEVICES.of_peer(gone)
            await wire.close(how.code, how.detail)

    async def _listen(self, wire: Wire) -> None:
        while True:
            self.heard.append(await wire.receive())


@dataclass(frozen=True, slots=True)
class Said:
    """What came back."""

    head: bytes
    """Of the answer to the request, with its empty line."""
    rest: bytes

    @classmethod
    def of(cls, octets: bytes) -> "Said":
        head, line, rest = octets.partition(b"\r\n\r\n")
        return cls(head + line, rest)

    @property
    def status(self) -> int:
        return int(self.head.split(b" ")[1])

    @property
    def frames(self) -> list[Frame]:
        assert self.status == 101, self
        return parse(self.rest)

    @property
    def pongs(self) -> list[bytes]:
        return [frame.payload for frame in self.frames if frame.opcode == PONG]

    @property
    def close_code(self) -> int | None:
        """None: there was no Close."""
        codes = [frame.code for frame in self.frames if frame.opcode == CLOSE]
        return codes[0] if codes else None


class Script(trio.abc.Stream):
    """A peer that says these segments, each when it is read, and hangs up."""

    def __init__(self, segments: Iterable[bytes]) -> None:
        self._segments = iter([*segments, b""])
        self._read = b""
        self.written = bytearray()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        if not self._read:
            self._read = next(self._segments, b"")
        data, self._read = self._read[:max_bytes], self._read[max_bytes or len(self._read) :]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        self.written += data

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def converse(
    segments: Sequence[bytes], *, request: bytes = REQUEST, max_message_bytes: int = MAX_BYTES
) -> tuple[Server, Said]:
    """After the upgrade a peer says this, and hangs up."""
    server = Server(max_message_bytes=max_message_bytes)
    stream = Script([request, *segments])
    await server.serve(stream)
    assert server.crashed is None
    return server, Said.of(bytes(stream.written))


@asynccontextmanager
async def listening(
    serve: Callable[[trio.SocketStream], Awaitable[None]],
) -> AsyncIterator[Callable[[], Awaitable[trio.SocketStream]]]:
    """On a port of this machine; what connects to it."""
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield partial(trio.testing.open_stream_to_socket_listener, listener)
        nursery.cancel_scope.cancel()


class Peer:
    """One that says what it is told to, over a stream, and keeps what it hears. Each wait of its has an end."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._heard = b""

    async def __aenter__(self) -> "Peer":
        return self

    async def __aexit__(self, *_: object) -> None:
        await trio.aclose_forcefully(self._stream)

    async def send(self, octets: bytes) -> None:
        await self._stream.send_all(octets)

    async def ask(self, request: bytes = REQUEST) -> None:
        """And wait for the head of the answer."""
        await self.send(request)
        await self.until(b"\r\n\r\n")

    async def until(self, words: bytes) -> None:
        """Until it has heard these."""
        with trio.fail_after(PATIENCE_SECONDS):
            while words not in self._heard:
                data = await self._stream.receive_some()
                assert data, f"nothing but {self._heard!r}"
                self._heard += data

    async def rest(self) -> Said:
        """All, to the end. It says nothing more."""
        with trio.fail_after(PATIENCE_SECONDS):
            await self._stream.send_eof()
            async for data in self._stream:
                self._heard += data
        return Said.of(self._heard)
