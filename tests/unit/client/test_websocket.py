"""A WebSocket without a task of its own: what comes out of it, whatever the peer does."""

import base64
import hashlib
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto.connection import Connection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Event, Ping, Request, TextMessage

from pushctl.client import websocket as websocket_module
from pushctl.client.dialing import NotConnected
from pushctl.client.websocket import NO_CODE, Closed, WebSocket, connect
from pushctl.protocol.frames import SUBPROTOCOL, Ack
from tests.fake_service import FakeService, FakeSocket

PATIENCE_SECONDS = 5


class RawServer:
    """Answers the upgrade, then writes `data` and reads until the client is gone."""

    def __init__(
        self, data: bytes = b"", *, protocol: str = SUBPROTOCOL, accept: bool = True, reads: bool = True
    ) -> None:
        self.data = data
        self.reads = reads
        self.protocol = protocol
        self.accept = accept
        self.heard = b""
        self.client_left = trio.Event()

    async def serve(self, stream: trio.SocketStream) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += await stream.receive_some()
        key = next(line for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
        digest = hashlib.sha1(key.split(b": ")[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()  # noqa: S324
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        head += b"Sec-WebSocket-Protocol: " + self.protocol.encode() + b"\r\n"
        head += b"Sec-WebSocket-Accept: " + (base64.b64encode(digest) if self.accept else b"nonsense")
        try:
            await stream.send_all(head + b"\r\n\r\n" + self.data)
            while self.reads and (data := await stream.receive_some()):
                self.heard += data
        except trio.BrokenResourceError:
            pass
        self.client_left.set()
        if not self.reads:
            await trio.sleep_forever()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, self.serve, 0, host="127.0.0.1"))
            listener: trio.SocketListener = listeners[0]
            with trio.fail_after(PATIENCE_SECONDS):
                yield f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/"
            nursery.cancel_scope.cancel()


def framed(*events: Event) -> bytes:
    server = Connection(ConnectionType.SERVER)
    return b"".join(server.send(event) for event in events)


async def drain(websocket: WebSocket, sink: list[str], *, at_most_seconds: float = math.inf) -> Closed:
    """Everything until it is over, in bites of so many seconds."""
    try:
        while True:
            with trio.move_on_after(at_most_seconds):
                await websocket.wait()
            sink += websocket.messages()
            await websocket.answer()
    except Closed as closed:
        return closed
    finally:
        await websocket.drop()


async def read(url: str, sink: list[str]) -> Closed:
    return await drain(await connect(url), sink)


async def test_messages_come_whole_in_order_and_both_ways(service: FakeService) -> None:
    async def script(peer: FakeSocket) -> None:
        assert await peer.receive() == Ack("c-1")
        for text in ("one", "two", "ü" * 100_000):
            await peer.websocket.send_message(text)
        await peer.close(4001, "draining")

    service.scripts = [script]
    found: list[str] = []
    with trio.fail_after(PATIENCE_SECONDS):
        websocket = await connect(service.socket_url)
        await websocket.send('{"type":"ack","cursor":"c-1"}')
        closed = await drain(websocket, found)
    assert found == ["one", "two", "ü" * 100_000]
    assert (closed.code, closed.reason) == (4001, "draining")


async def test_a_message_in_pieces_with_a_ping_between_them_is_one_message() -> None:
    pieces = framed(TextMessage("he", message_finished=False), Ping(b"p"), TextMessage("llo"), CloseConnection(4000))
    server, found = RawServer(pieces), list[str]()
    async with server.listening() as url:
        closed = await read(url, found)
        await server.client_left.wait()
    assert (found, closed.code) == (["hello"], 4000)
    assert server.heard[0] & 0x0F == 0xA  # the pong first, the answer to Close after it


async def test_what_came_before_a_close_in_the_same_bytes_is_not_lost() -> None:
    found: list[str] = []
    async with RawServer(framed(TextMessage("last"), CloseConnection(4503, "newer"))).listening() as url:
        closed = await read(url, found)
    assert (found, closed.code, closed.reason) == (["last"], 4503, "newer")


async def test_a_tcp_connection_that_ends_without_close_has_no_code(service: FakeService) -> None:
    async def script(peer: FakeSocket) -> None:
        await trio.aclose_forcefully(peer.websocket._stream)

    service.scripts = [script]
    with trio.fail_after(PATIENCE_SECONDS):
        assert (await read(service.socket_url, [])).code == NO_CODE


@pytest.mark.parametrize(
    "data",
    [
        framed(BytesMessage(b"binary")),
        b"\xff\xff\xff\xff",
        framed(TextMessage("x"))[:1] + b"\xfe" + b"\x00",  # a reserved bit, a length of nothing
        b"\x81\x02\xc3\x28",  # no UTF-8
    ],
)
async def test_a_peer_that_breaks_the_protocol_is_left(data: bytes) -> None:
    async with RawServer(data + framed(TextMessage("never"))).listening() as url:
        await read(url, [])


async def test_a_message_without_end_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_module, "MAX_FRAME_BYTES", 1000)
    pieces = framed(*(TextMessage("x" * 300, message_finished=False) for _ in range(5)))
    async with RawServer(pieces).listening() as url:
        closed = await read(url, [])
    assert closed.code == websocket_module.TOO_BIG


async def test_waiting_may_be_cut_short_and_loses_nothing(service: FakeService) -> None:
    async def script(peer: FakeSocket) -> None:
        for number in range(50):
            await peer.websocket.send_message(str(number))
            await trio.sleep(0.002)
        await peer.close(4000)

    service.scripts = [script]
    found: list[str] = []
    with trio.fail_after(PATIENCE_SECONDS):
        await drain(await connect(service.socket_url), found, at_most_seconds=0.001)
    assert found == [str(number) for number in range(50)]


async def test_a_send_that_was_cut_off_is_the_end() -> None:
    async with RawServer(reads=False).listening() as url:
        websocket = await connect(url)
        with trio.fail_after(PATIENCE_SECONDS):
            with trio.move_on_after(0.2):
                await websocket.send("x" * 50_000_000)  # more than the kernel takes for a peer that does not read
            with pytest.raises(Closed):
                await websocket.send("y")
            await websocket.drop()


# --- not connected ---------------------------------------------------------------------------------------------------


async def test_a_server_that_is_full_says_when_to_come_back(service: FakeService) -> None:
    with pytest.raises(NotConnected) as refused:
        await connect(service.socket_url)
    assert (refused.value.reason, refused.value.status, refused.value.retry_after_seconds) == ("answered 503", 503, 7.0)


async def test_nobody_there_is_said_in_the_systems_words() -> None:
    with pytest.raises(NotConnected, match=r"^connection refused$"):
        await connect("ws://127.0.0.1:1/")


@pytest.mark.parametrize("server", [RawServer(protocol="chat"), RawServer(accept=False)], ids=["protocol", "accept"])
async def test_a_server_that_does_not_mean_us_is_not_connected_to(server: RawServer) -> None:
    async with server.listening() as url:
        with pytest.raises(NotConnected):
            await connect(url)
        await server.client_left.wait()


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])
async def test_what_is_no_websocket_server_is_not_connected_to(answer: bytes) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        with trio.fail_after(PATIENCE_SECONDS), pytest.raises(NotConnected):
            await connect(f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}/")
        nursery.cancel_scope.cancel()


async def test_a_server_that_never_answers_is_given_up(socket_clock: trio.testing.MockClock) -> None:

    async def serve(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        with pytest.raises(NotConnected, match="no answer to the WebSocket upgrade"):
            await connect(f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}/")
        nursery.cancel_scope.cancel()


# --- the fuzz sentence -----------------------------------------------------------------------------------------------


class OneRead(trio.abc.HalfCloseableStream):
    """A stream that has these bytes to read, takes whatever is written, and ends."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        found, self.data = self.data, b""
        return found

    async def send_all(self, data: bytes | bytearray | memoryview) -> None: ...
    async def wait_send_all_might_not_block(self) -> None: ...
    async def send_eof(self) -> None: ...
    async def aclose(self) -> None: ...


def opened() -> tuple[WebSocket, OneRead]:
    """A WebSocket after its upgrade, without any I/O."""
    client, server = WSConnection(ConnectionType.CLIENT), WSConnection(ConnectionType.SERVER)
    server.receive_data(client.send(Request(host="s", target="/")))
    list(server.events())
    client.receive_data(server.send(AcceptConnection()))
    list(client.events())
    stream = OneRead(b"")
    return WebSocket(stream, client), stream  # type: ignore[arg-type]  # a stream, if not of a socket


wellformed = st.lists(
    st.sampled_from([TextMessage("a"), TextMessage("b", message_finished=False), Ping(b"x"), BytesMessage(b"y")]),
    max_size=4,
).map(lambda events: b"".join(Connection(ConnectionType.SERVER).send(event) for event in events))


@given(st.lists(st.binary(max_size=40) | wellformed, max_size=6))
@settings(max_examples=200)
async def test_whatever_bytes_come_there_are_messages_or_it_is_closed(chunks: list[bytes]) -> None:
    websocket, stream = opened()
    try:
        for chunk in chunks:
            stream.data = chunk
            await websocket.wait()
            assert all(isinstance(text, str) for text in websocket.messages())
            await websocket.answer()
    except Closed:
        return
    await websocket.say_close()
