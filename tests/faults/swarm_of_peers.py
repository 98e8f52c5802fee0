"""Peers that mean harm, each a task that goes on until it is cancelled and comes back when it was thrown out."""

import itertools
from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

from tests.scenario.people import Person
from tests.scenario.raw_frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, RawPeer, raw_frame, raw_peer, text

Attack = Callable[[RawPeer, Person], Awaitable[None]]
PAUSE_SECONDS = 0.5


async def until_dropped(peer: RawPeer, data: bytes) -> None:
    """The same again and again; answers are thrown away."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(throw_away, peer, nursery.cancel_scope)
        while True:
            await peer.stream.send_all(data)
            await trio.sleep(0.01)


async def throw_away(peer: RawPeer, over: trio.CancelScope) -> None:
    with suppress(trio.BrokenResourceError):
        while await peer.stream.receive_some(65_536):
            pass
    over.cancel()


async def says_nothing(peer: RawPeer, person: Person) -> None:
    await peer.stream.receive_some()


async def shakes_hands_byte_by_byte(peer: RawPeer, person: Person) -> None:
    for byte in itertools.cycle(b"GET / HTTP/1.1\r\nX: y\r\nX-Y: z\r\n"):
        await peer.stream.send_all(bytes([byte]))
        await trio.sleep(0.2)


async def upgrades_and_is_silent(peer: RawPeer, person: Person) -> None:
    await peer.upgrade()
    await peer.closed()


async def hello_with_a_bad_token(peer: RawPeer, person: Person) -> None:
    await peer.upgrade()
    await peer.send(text({"type": "hello", "token": person.token[:-4] + "AAAA", "cursor": None}))
    await peer.closed()


async def hello_and_again(peer: RawPeer, person: Person) -> None:
    """Of the same device, so that each displaces the one before."""
    await peer.hello(person.token)
    await peer.send(text({"type": "hello", "token": person.token, "cursor": None}))
    await peer.closed()


async def pings(peer: RawPeer, person: Person) -> None:
    await peer.hello(person.token)
    await until_dropped(peer, raw_frame(PING, b"x" * 125) * 100)


async def pings_and_reads_nothing(peer: RawPeer, person: Person) -> None:
    await peer.hello(person.token)
    while True:
        await peer.stream.send_all(raw_frame(PING, b"x" * 125) * 100)


async def our_pings(peer: RawPeer, person: Person) -> None:
    await peer.hello(person.token)
    await until_dropped(peer, text({"type": "ping"}) * 100)


async def fragments_without_end(peer: RawPeer, person: Person) -> None:
    await peer.hello(person.token)
    await peer.stream.send_all(raw_frame(TEXT, b"x", fin=False))
    await until_dropped(peer, raw_frame(CONTINUATION, fin=False) * 300)


async def one_byte_fragments(peer: RawPeer, person: Person) -> None:
    await peer.hello(person.token)
    await peer.stream.send_all(raw_frame(TEXT, b"x", fin=False))
    await until_dropped(peer, raw_frame(CONTINUATION, b"\xc3", fin=False) + raw_frame(CONTINUATION, b"\xa9", fin=False))


async def a_large_message_that_never_ends(peer: RawPeer, person: Person) -> None:
    await peer.hello(person.token)
    await peer.stream.send_all(raw_frame(TEXT, b"x" * 60_000, fin=False))
    await until_dropped(peer, raw_frame(PONG))


async def too_large(peer: RawPeer, person: Person) -> None:
    await peer.hello(person.token)
    await peer.stream.send_all(raw_frame(TEXT, b"x" * 200_000))
    await peer.closed()


async def broken_frames(peer: RawPeer, person: Person) -> None:
    await peer.hello(person.token)
    await peer.stream.send_all(raw_frame(TEXT, b"\xff\xfe", reserved=4) * 1000)
    await peer.closed()


async def bytes_that_are_no_text(peer: RawPeer, person: Person) -> None:
    await peer.hello(person.token)
    await peer.stream.send_all(raw_frame(BINARY, b"\xff" * 1000))
    await peer.closed()


async def forged_acknowledgements(peer: RawPeer, person: Person) -> None:
    await peer.hello(person.token)
    await until_dropped(peer, text({"type": "ack", "cursor": "AAAA"}))


async def reads_of_thousands(peer: RawPeer, person: Person) -> None:
    await peer.hello(person.token)
    await until_dropped(peer, text({"type": "read", "ids": [f"{n:08}" for n in range(5000)]}))


async def closes_at_once(peer: RawPeer, person: Person) -> None:
    await peer.hello(person.token)
    await peer.stream.send_all(raw_frame(CLOSE, b"\x0f\xa0") * 100)
    await peer.closed()


async def says_close_and_stays(peer: RawPeer, person: Person) -> None:
    await peer.hello(person.token)
    await peer.send(text({"type": "ack", "cursor": "no cursor"}))
    await until_dropped(peer, raw_frame(PING))


ATTACKS: tuple[Attack, ...] = (
    says_nothing,
    shakes_hands_byte_by_byte,
    upgrades_and_is_silent,
    hello_with_a_bad_token,
    hello_and_again,
    pings,
    pings_and_reads_nothing,
    our_pings,
    fragments_without_end,
    one_byte_fragments,
    a_large_message_that_never_ends,
    too_large,
    broken_frames,
    bytes_that_are_no_text,
    forged_acknowledgements,
    reads_of_thousands,
    closes_at_once,
    says_close_and_stays,
)


async def again_and_again(url: str, source: str, attack: Attack, person: Person, counts: dict[str, int]) -> None:
    """From the address `source`, until cancelled."""
    while True:
        with suppress(trio.BrokenResourceError, trio.TooSlowError, OSError, AssertionError, ExceptionGroup):
            peer = await raw_peer(url, source=source)
            counts[attack.__name__] = counts.get(attack.__name__, 0) + 1
            try:
                await attack(peer, person)
            finally:
                await trio.aclose_forcefully(peer.stream)
        await trio.sleep(PAUSE_SECONDS)
