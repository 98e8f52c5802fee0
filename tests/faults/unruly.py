"""Clients that do not keep to the protocol: bursts of connections, garbage, half a handshake.

What they are sent is judged like anybody's (order, no repeats, nothing foreign); what they miss is their own affair
until they behave. Must not know: what is done to the service meanwhile.
"""

import random
from contextlib import suppress
from urllib.parse import urlsplit

import trio

from tests.faults.book import Book
from tests.faults.swarm import HANDSHAKE_SECONDS, Device, World, name_of
from tests.faults.wire import Line, Over, line_to

BURST = 6

GARBAGE: tuple[str | bytes, ...] = (
    "",
    "{",
    "[]",
    '{"type":"hello"}',
    '{"type":"ack","cursor":"no.such.cursor"}',
    '{"type":"read","ids":[7]}',
    '{"type":"nonsense"}',
    b"\xff\xfe",
    "x" * 200_000,
)


async def misbehave(device: Device, world: World, urls: list[str], chance: random.Random) -> None:
    """With this device's token, until all is calm; then be a good device, from the beginning."""
    while not world.calm:
        what = chance.choice([_burst, _garbage, _half_a_handshake])
        with suppress(Over, OSError):
            await what(device, chance.choice(urls), chance)
        await trio.sleep(chance.uniform(0, 1))
    await device.run()


async def _burst(device: Device, url: str, chance: random.Random) -> None:
    """Many connections of one device at once; each displaces the one before."""

    async def one() -> None:
        book = Book(device.world.ledger, device.person.user, f"{device.book.label} in a burst", whole=False)
        with suppress(Over), trio.move_on_after(chance.uniform(0.1, 2)):
            async with line_to(url, seconds=HANDSHAKE_SECONDS) as line:
                await line.send({"type": "hello", "token": device.person.token, "cursor": None})
                await _listen(line, book)

    async with trio.open_nursery() as nursery:
        for _ in range(BURST):
            nursery.start_soon(one)


async def _listen(line: Line, book: Book) -> None:
    pages: list[tuple[str, str]] = []
    while True:
        frame = await line.receive()
        now = trio.current_time()
        if frame["type"] == "message":
            message = frame["message"]
            book.message(message["id"], name_of(message), now, logged=frame["cursor"] is not None)
        elif frame["type"] == "read":
            book.gone(frame["ids"], now)
        elif frame["type"] == "sync":
            pages += [(message["id"], name_of(message)) for message in frame["messages"]]
            if frame["done"]:
                book.snapshot(pages, now)
                pages = []


async def _garbage(device: Device, url: str, chance: random.Random) -> None:
    """What is no frame, after a proper hello or instead of it."""
    async with line_to(url, seconds=HANDSHAKE_SECONDS) as line:
        if chance.random() < 0.5:
            await line.send({"type": "hello", "token": device.person.token, "cursor": "not-a-cursor"})
        if chance.random() < 0.3:
            await line.send_raw(chance.randbytes(500))
        with trio.move_on_after(2):
            while True:
                await line.send(chance.choice(GARBAGE))
                await line.receive()


async def _half_a_handshake(_: Device, url: str, chance: random.Random) -> None:
    parts = urlsplit(url)
    async with await trio.open_tcp_stream(parts.hostname or "", parts.port or 0) as stream:
        with suppress(trio.BrokenResourceError):
            await stream.send_all(chance.choice([b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n", chance.randbytes(100)]))
            await trio.sleep(chance.uniform(0, 1))
