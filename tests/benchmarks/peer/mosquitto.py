"""Mosquitto: MQTT over WebSocket, QoS 1, a persistent session for each device; publishing is MQTT, too.

It keeps everything in memory, and writes all of it into one file now and then: each second here, by default every half
an hour.
"""

import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager

import trio

from tests.benchmarks.peer import KEPT_PER_DEVICE, MARK, Heard, Peer, Running, StreamDialect
from tests.benchmarks.peer.parts import Asker, OneProcess, Server, ending, said
from tests.benchmarks.rig import folder
from tests.processes import free_port

MOSQUITTO = "/usr/sbin/mosquitto"

CONFIGURATION = """
user root
log_dest none
persistence true
persistence_location {here}/
autosave_interval 1
max_queued_messages {kept}
set_tcp_nodelay true
allow_anonymous true
listener {publishers} 127.0.0.1
listener {devices} 127.0.0.1
protocol websockets
"""

_CONNECT, _CONNACK, _PUBLISH, _PUBACK, _SUBSCRIBE, _SUBACK = 0x10, 2, 3, 4, 0x82, 9
_PUBLISH_QOS1, _PUBACK_SENT = 0x32, 0x40
_KEEP_SESSION, _CLEAN_SESSION = 0, 2


def _packet(first: int, content: bytes) -> bytes:
    size, length = len(content), bytearray()
    while True:
        size, digit = size >> 7, size & 127
        length.append(digit | (0x80 if size else 0))
        if not size:
            return bytes([first]) + bytes(length) + content


def _string(text: str) -> bytes:
    return struct.pack(">H", len(text)) + text.encode()


def _connect(name: str, flags: int) -> bytes:
    """MQTT 3.1.1; without a keep-alive."""
    return _packet(_CONNECT, _string("MQTT") + bytes([4, flags, 0, 0]) + _string(name))


def _packets(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """(first octet, content) of the whole packets that a buffer begins with; they leave it."""
    while len(buffer) >= 2:
        size = shift = 0
        at = 1
        while True:
            if at == len(buffer):
                return
            size |= (buffer[at] & 127) << shift
            shift += 7
            at += 1
            if not buffer[at - 1] & 0x80:
                break
        if len(buffer) < at + size:
            return
        first, content = buffer[0], bytes(buffer[at : at + size])
        del buffer[: at + size]
        yield first, content


class Dialect(StreamDialect):
    """Its place is the session that the server keeps."""

    greets = True

    def __init__(self, device: int) -> None:
        super().__init__()
        self._device = device

    def request(self) -> tuple[str, str | None]:
        return "/mqtt", "mqtt"

    def hello(self) -> list[bytes]:
        self._buffer.clear()
        topic = _string(f"device/{self._device}") + b"\1"
        return [_connect(f"device{self._device}", _KEEP_SESSION), _packet(_SUBSCRIBE, b"\0\1" + topic)]

    def hears(self, payload: bytes) -> Heard:
        self._buffer += payload
        heard = Heard()
        for first, content in _packets(self._buffer):
            kind = first >> 4
            if kind == _PUBLISH:
                after = 2 + int.from_bytes(content[:2], "big")
                heard.messages += [int(number) for number in MARK.findall(content)]
                heard.answers.append(_packet(_PUBACK_SENT, content[after : after + 2]))
            heard.ready |= kind == _SUBACK
        return heard


class Publisher(Asker[int]):
    def __init__(self, port: int) -> None:
        super().__init__(port, _connect("publisher", _CLEAN_SESSION))
        self._next = 0

    async def _hear(self, buffer: bytearray, stream: trio.SocketStream) -> None:
        for first, content in _packets(buffer):
            if first >> 4 == _CONNACK:
                self._stream = stream
            elif first >> 4 == _PUBACK:
                self._answered(int.from_bytes(content[:2], "big"), content)

    async def publish(self, topic: str, body: bytes) -> bool:
        self._next = number = self._next % 65_535 + 1
        packet = _packet(_PUBLISH_QOS1, _string(topic) + struct.pack(">H", number) + body)
        return await self._ask(number, packet) is not None


class Mosquitto(OneProcess):
    def __init__(self, server: Server, publisher: Publisher, port: int) -> None:
        super().__init__("mosquitto", server, None, port=port, version=said(MOSQUITTO, "-h").splitlines()[0])
        self._publisher = publisher

    def dialect(self, device: int) -> Dialect:
        return Dialect(device)

    async def publish(self, device: int, body: bytes) -> bool:
        return await self._publisher.publish(f"device/{device}", body)


@asynccontextmanager
async def _running(devices: int) -> AsyncIterator[Running]:
    with ExitStack() as stack:
        here = stack.enter_context(folder())
        ours, theirs = free_port(), free_port()
        config = here / "mosquitto.conf"
        config.write_text(CONFIGURATION.format(here=here, kept=KEPT_PER_DEVICE, publishers=ours, devices=theirs))
        server = stack.enter_context(ending(Server([MOSQUITTO, "-c", str(config)], ours, here / "log")))
        await server.start()
        publisher = Publisher(ours)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(publisher.run)
            yield Mosquitto(server, publisher, theirs)
            nursery.cancel_scope.cancel()


PEER = Peer(
    "Mosquitto",
    {MOSQUITTO: "mosquitto"},
    {
        "confirmed means": "in its memory; on disk when all of it is written next",
        "for a user who is away": "kept in memory, by number",
        "comes back": "what it missed, in order, at least once",
        "read on one device": "nobody knows",
        "who may publish": "passwords and lists of rights, in files",
        "who may listen": "passwords and lists of rights, in files",
        "a sender can ask": "nothing",
    },
    _running,
)
