"""NATS with JetStream: one stream on disk, a durable consumer for each device, over WebSocket; publishing is NATS, too.

A consumer's acknowledgements and the stream are written to the disk's cache at once, and to the disk every two minutes.
"""

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager

import trio

from tests.benchmarks.peer import KEPT_PER_DEVICE, KEPT_SECONDS, MARK, Heard, Peer, Running, StreamDialect
from tests.benchmarks.peer.parts import ANSWER_SECONDS, Asker, OneProcess, Server, ending, said
from tests.benchmarks.rig import folder, for_each
from tests.benchmarks.unsound import Unsound
from tests.processes import free_port

NATS = "/usr/sbin/nats-server"

CONFIGURATION = """
host: 127.0.0.1
port: {publishers}
max_connections: 200000
jetstream {{ store_dir: "{here}" }}
websocket {{ host: 127.0.0.1, port: {devices}, no_tls: true }}
"""

CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"protocol":1}\r\n'
REDELIVERED_AFTER_NS = 5_000_000_000

_SIZES = re.compile(rb"^H?MSG (\S+) \S+ +(?:(\D\S*) )?(?:\d+ )?(\d+)$")


def _messages(buffer: bytearray) -> Iterator[tuple[bytes, bytes, bytes, bytes]]:
    """(word, subject, where to answer, content) of the whole messages that a buffer begins with; they leave it."""
    while (end := buffer.find(b"\r\n")) >= 0:
        line = bytes(buffer[:end])
        found = _SIZES.match(line)
        if not found:
            del buffer[: end + 2]
            yield line.split(b" ", 1)[0], b"", b"", line
            continue
        size = int(found[3])
        if len(buffer) < end + 2 + size + 2:
            return
        content = bytes(buffer[end + 2 : end + 2 + size])
        del buffer[: end + 2 + size + 2]
        yield b"MSG", found[1], found[2] or b"", content


class Dialect(StreamDialect):
    """Its place is the consumer that the server keeps."""

    greets = True

    def __init__(self, device: int) -> None:
        super().__init__()
        self._device = device

    def request(self) -> tuple[str, str | None]:
        return "/", None

    def hello(self) -> list[bytes]:
        self._buffer.clear()
        return [CONNECT + f"SUB to.{self._device} 1\r\nPING\r\n".encode()]

    def hears(self, payload: bytes) -> Heard:
        self._buffer += payload
        heard = Heard()
        for word, _, answer_to, content in _messages(self._buffer):
            if answer_to:
                heard.messages += [int(number) for number in MARK.findall(content)]
                heard.answers.append(b"PUB " + answer_to + b" 0\r\n\r\n")
            elif word == b"PING":
                heard.answers.append(b"PONG\r\n")
            heard.ready |= word == b"PONG"
        return heard


class Publisher(Asker[bytes]):
    def __init__(self, port: int) -> None:
        super().__init__(port, CONNECT + b"SUB answer.* 1\r\nPING\r\n")
        self._next = 0

    async def _hear(self, buffer: bytearray, stream: trio.SocketStream) -> None:
        for word, subject, _, content in _messages(buffer):
            if word == b"PING":
                async with self._sending:
                    await stream.send_all(b"PONG\r\n")
            elif word == b"PONG":
                self._stream = stream
            else:
                self._answered(subject, content)

    async def ask(self, subject: str, content: bytes) -> bytes:
        """The answer; empty: there was none."""
        self._next += 1
        where = b"answer.%d" % self._next
        question = b"PUB %s %s %d\r\n%s\r\n" % (subject.encode(), where, len(content), content)
        return await self._ask(where, question) or b""

    async def answers(self) -> None:
        """Returns when it is connected. Raises Unsound."""
        with trio.move_on_after(ANSWER_SECONDS):
            while self._stream is None:  # noqa: ASYNC110 - nobody tells
                await trio.sleep(0.02)
        if self._stream is None:
            raise Unsound("nats-server cannot be reached")

    async def prepare(self, devices: int) -> None:
        """The stream, and everybody's consumer. Raises Unsound."""
        stream = {
            "name": "MESSAGES",
            "subjects": ["for.*"],
            "storage": "file",
            "retention": "limits",
            "max_msgs_per_subject": KEPT_PER_DEVICE,
            "max_age": KEPT_SECONDS * 1_000_000_000,
        }
        await self._order("STREAM.CREATE.MESSAGES", stream)
        await for_each(range(devices), self._consumer)

    async def _consumer(self, device: int) -> None:
        consumer = {
            "durable_name": f"device{device}",
            "deliver_subject": f"to.{device}",
            "filter_subject": f"for.{device}",
            "deliver_policy": "all",
            "ack_policy": "explicit",
            "ack_wait": REDELIVERED_AFTER_NS,
            "max_ack_pending": KEPT_PER_DEVICE,
        }
        order = {"stream_name": "MESSAGES", "config": consumer}
        await self._order(f"CONSUMER.DURABLE.CREATE.MESSAGES.device{device}", order)

    async def _order(self, what: str, order: object) -> None:
        answer = await self.ask(f"$JS.API.{what}", json.dumps(order).encode())
        if not answer or b'"error"' in answer:
            raise Unsound(f"nats-server does not {what}: {answer!r}")


class Nats(OneProcess):
    def __init__(self, server: Server, publisher: Publisher, port: int) -> None:
        super().__init__("nats-server", server, None, port=port, version=said(NATS, "--version"))
        self._publisher = publisher

    def dialect(self, device: int) -> Dialect:
        return Dialect(device)

    async def publish(self, device: int, body: bytes) -> bool:
        return b'"seq":' in await self._publisher.ask(f"for.{device}", body)


@asynccontextmanager
async def _running(devices: int) -> AsyncIterator[Running]:
    with ExitStack() as stack:
        here = stack.enter_context(folder())
        ours, theirs = free_port(), free_port()
        config = here / "nats.conf"
        config.write_text(CONFIGURATION.format(here=here / "store", publishers=ours, devices=theirs))
        server = stack.enter_context(ending(Server([NATS, "-c", str(config)], ours, here / "log")))
        await server.start()
        publisher = Publisher(ours)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(publisher.run)
            await publisher.answers()
            await publisher.prepare(devices)
            yield Nats(server, publisher, theirs)
            nursery.cancel_scope.cancel()


PEER = Peer(
    "NATS",
    {NATS: "nats-server"},
    {
        "confirmed means": "in a file, which is on disk within 2 minutes, and on other servers if asked for",
        "for a user who is away": "kept by time and number, of the stream",
        "comes back": "what it did not acknowledge, at least once; what was sent and not acknowledged comes late",
        "read on one device": "nobody knows",
        "who may publish": "accounts, keys and rights by subject, in files or signed tokens",
        "who may listen": "accounts, keys and rights by subject, in files or signed tokens",
        "a sender can ask": "how far a consumer is",
    },
    _running,
)
