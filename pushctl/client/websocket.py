"""A WebSocket to a socket server that costs little: no task of its own, a few KiB, for clients by the thousand.

Owns: the upgrade and the framing (wsproto does both, without I/O) over a stream of dialing.py.
Promises: whatever a peer sends, a text message comes out or Closed; pings are answered by whoever receives; leaving
takes no longer than it takes to try to say Close, and waits for no answer.
Must not know: frames' meaning, which server to try next.

One task at a time uses it. trio-websocket, which phone.py uses, has a reading task, channels and events for each
connection; beside what a phone needs on top that is 66 KiB and 5 ms of CPU until it is connected, here it is a third
and a tenth of that.
"""

from typing import Final
from urllib.parse import urlsplit

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError, ProtocolError

from pushctl.causes import cause_of
from pushctl.client.dialing import CONNECT_SECONDS, MAX_FRAME_BYTES, NotConnected, Stream, open_stream, rejected
from pushctl.protocol.frames import SUBPROTOCOL

READ_BYTES: Final = 16_384
NO_CODE: Final = 1006
NOT_TEXT: Final = 1003
TOO_BIG: Final = 1009


class Closed(Exception):
    """The connection is over. `code`: of the Close frame, NO_CODE without one."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"closed with {code}" if code != NO_CODE else "the connection broke")
        self.code = code
        self.reason = reason


async def connect(url: str) -> "WebSocket":
    """The open WebSocket. Raises NotConnected. Whoever has it calls `drop` at the end, whatever happens."""
    stream = await open_stream(url)
    opened = False
    try:
        with trio.fail_after(CONNECT_SECONDS):
            websocket = await _upgrade(stream, url)
        opened = True
    except trio.TooSlowError:
        raise NotConnected(f"no answer to the WebSocket upgrade within {CONNECT_SECONDS:g} s") from None
    except (trio.BrokenResourceError, ProtocolError) as error:
        raise NotConnected(cause_of(error)) from None
    finally:
        if not opened:
            await trio.aclose_forcefully(stream)
    return websocket


async def _upgrade(stream: Stream, url: str) -> "WebSocket":
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    protocol = WSConnection(ConnectionType.CLIENT)
    host = parts.netloc.rpartition("@")[2]
    await stream.send_all(protocol.send(Request(host=host, target=target, subprotocols=[SUBPROTOCOL])))
    while True:
        data = await stream.receive_some(READ_BYTES)
        if not data:
            raise NotConnected("closed the connection instead of answering the upgrade")
        protocol.receive_data(bytes(data))
        for event in protocol.events():
            if isinstance(event, AcceptConnection):
                if event.subprotocol != SUBPROTOCOL:
                    raise NotConnected(f"does not speak {SUBPROTOCOL}")
                return WebSocket(stream, protocol)
            if isinstance(event, RejectConnection):
                raise rejected(event.status_code, event.headers)


class WebSocket:
    """An open connection."""

    __slots__ = ("_fresh", "_half_written", "_over", "_owed", "_pieces", "_protocol", "_size", "_stream")

    def __init__(self, stream: Stream, protocol: WSConnection) -> None:
        self._stream = stream
        self._protocol = protocol
        self._pieces: list[str] = []
        self._size = 0
        self._fresh = True
        self._owed = b""
        self._over: Closed | None = None
        self._half_written = False

    async def wait(self) -> None:
        """Until more bytes are here. Raises Closed. May be cancelled: nothing is lost by it."""
        if self._fresh:
            self._fresh = False  # what came together with the answer to the upgrade is here already
            return await trio.lowlevel.checkpoint()
        try:
            data = await self._stream.receive_some(READ_BYTES)
        except trio.BrokenResourceError:
            raise Closed(NO_CODE) from None
        if not data:
            raise Closed(NO_CODE)
        try:
            self._protocol.receive_data(bytes(data))
        except ProtocolError as error:
            raise Closed(NO_CODE, str(error)) from None

    def messages(self) -> list[str]:
        """The text messages that are complete now. What must be said to it (pongs, Close) is said by `answer`."""
        found = []
        try:
            for event in self._protocol.events():
                match event:
                    case TextMessage():
                        found += self._assembled(event)
                    case Ping():
                        self._owed += self._protocol.send(event.response())
                    case BytesMessage():
                        self._over = Closed(NOT_TEXT, "a binary message")
                    case CloseConnection():
                        self._owed += self._protocol.send(event.response())
                        self._over = Closed(event.code, event.reason or "")
        except ProtocolError as error:
            self._over = Closed(NO_CODE, str(error))
        return found

    async def answer(self) -> None:
        """Sends what the peer is owed. Raises Closed if it said Close, or broke the protocol."""
        if self._owed:
            owed, self._owed = self._owed, b""
            await self._write(owed)
        if self._over is not None:
            raise self._over

    def _assembled(self, event: TextMessage) -> list[str]:
        if self._size + len(event.data) > MAX_FRAME_BYTES:
            self._over = Closed(TOO_BIG, "a message that is too large")
            return []
        self._pieces.append(event.data)
        self._size += len(event.data)
        if not event.message_finished:
            return []
        text = "".join(self._pieces)
        self._pieces, self._size = [], 0
        return [text]

    async def send(self, text: str) -> None:
        """Raises Closed. A send that was cancelled may have left half a frame: the connection is then over."""
        await self._say(TextMessage(data=text))

    async def ping(self) -> None:
        """Raises Closed. Its pong is bytes like others."""
        await self._say(Ping(payload=b""))

    async def _say(self, event: Event) -> None:
        try:
            data = self._protocol.send(event)
        except LocalProtocolError:
            raise Closed(NO_CODE) from None
        await self._write(data)

    async def _write(self, data: bytes) -> None:
        if self._half_written:
            raise Closed(NO_CODE)
        self._half_written = True
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError:
            raise Closed(NO_CODE) from None
        self._half_written = False

    async def say_close(self) -> None:
        """Our Close, to be followed by `drop`. Raises Closed."""
        await self._say(CloseConnection(code=1000))

    async def drop(self) -> None:
        """The end of the TCP connection."""
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(self._stream)
