"""Frames that no honest peer sends: each costs its sender the connection at most, and nobody else anything."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
import trio

from pushctl.config.model import Config
from pushctl.testing.service import running
from tests.scenario.people import Person, Town
from tests.scenario.raw_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    TEXT,
    UPGRADE,
    RawPeer,
    close_code,
    raw_frame,
    raw_peer,
    text,
)
from tests.scenario.test_socket_hostile import still_serves

MAX_FRAME_BYTES = 2048


@pytest.fixture
async def strict(config: Config) -> AsyncIterator[Town]:
    socket = replace(config.socket, handshake_seconds=3, hello_seconds=3, max_frame_bytes=MAX_FRAME_BYTES)
    async with running(replace(config, socket=socket), sockets=1) as service, httpx.AsyncClient(timeout=30) as http:
        yield Town(service, http)


async def connected(town: Town, person: Person) -> RawPeer:
    peer = await raw_peer(town.service.sockets["s1"])
    await peer.hello(person.token)
    return peer


WRONG = {
    "not masked": (raw_frame(TEXT, b"{}", masked=False), 1002),
    "text that is not UTF-8": (raw_frame(TEXT, b"\xc0\x80"), 1007),
    "a frame too large": (raw_frame(TEXT, b"x" * (MAX_FRAME_BYTES + 1)), 1009),
    "bytes": (raw_frame(BINARY, b"{}"), 4502),
    "no JSON": (raw_frame(TEXT, b"hello"), 4502),
    "an empty message": (raw_frame(TEXT), 4502),
    "JSON of a thousand lists": (raw_frame(TEXT, b"[" * 1000), 4502),
    "an unknown type": (text({"type": "welcome"}), 4502),
}
"""What else is no WebSocket frame: tests/conformance/cases.py."""


async def test_what_is_no_frame_of_ours_closes_with_the_code_it_deserves(strict: Town) -> None:
    person = await strict.login("mallory")
    for what, (sent, code) in WRONG.items():
        peer = await connected(strict, person)
        await peer.send(sent)
        assert await peer.close_code() == code, what
    await still_serves(strict)


async def test_the_code_of_an_honest_close_is_echoed_and_no_code_makes_a_metric_of_its_own(strict: Town) -> None:
    person = await strict.login("mallory")
    for code in (b"\x03\xe8", b"\x0b\xb8", b"\x0f\xa0", b"\x13\x87", b"\x0f\xa2", b""):
        peer = await connected(strict, person)
        await peer.send(raw_frame(CLOSE, code))
        assert await peer.closed()
        if code:
            assert peer.received.endswith(b"\x88\x02" + code)
    metrics = (await strict.http.get(strict.service.admin["s1"] + "/metrics")).text
    assert 'pushctl_closes_total{code="peer"} 4.0' in metrics
    assert 'code="3000"' not in metrics
    assert 'pushctl_closes_total{code="4002"} 0.0' in metrics


async def test_a_message_in_fragments_with_pings_between_them_is_one_message(strict: Town) -> None:
    person = await strict.login("ada")
    peer = await connected(strict, person)
    ping = text({"type": "ping"})[6:]
    for at in range(len(ping)):
        await peer.send(raw_frame(CONTINUATION if at else TEXT, ping[at : at + 1], fin=at == len(ping) - 1))
        await peer.send(raw_frame(CONTINUATION, fin=False) if at < len(ping) - 1 else b"")
        await peer.send(raw_frame(PING, b"%d" % at))
    await peer.read_until(b'{"type":"pong"}')
    await peer.read_until(b"\x8a\x02%d" % (len(ping) - 1))
    await peer.stream.aclose()


async def test_fragments_without_end_cost_no_memory_and_are_read_slowly(strict: Town) -> None:
    person = await strict.login("mallory")
    peer = await connected(strict, person)
    await peer.send(raw_frame(TEXT, b"x", fin=False))
    hundred = raw_frame(CONTINUATION, fin=False) * 100
    await peer.send(hundred * 10)
    with trio.move_on_after(1.5):
        while True:
            await peer.send(hundred)
    (connection,) = strict.service.roles["s1"].hub  # type: ignore[attr-defined]
    assert len(connection._wire._incoming._pieces) <= 65
    await still_serves(strict)
    await peer.stream.aclose()


async def test_pings_by_the_thousand_owe_one_pong(strict: Town) -> None:
    person = await strict.login("mallory")
    peer = await connected(strict, person)
    await peer.send(b"".join(raw_frame(PING, b"%04d" % n) for n in range(400)))
    await peer.read_until(b"\x8a\x040399")
    assert peer.received.count(b"\x8a\x04") < 100
    await peer.stream.aclose()


async def drop_by_drop(peer: RawPeer, data: bytes) -> bytes:
    """What comes until the server drops the connection, while this is said: each byte soon after the one before, all of
    them long after the deadline."""
    async with trio.open_nursery() as nursery:

        async def say() -> None:
            for byte in data:
                await peer.send(bytes([byte]))
                await trio.sleep(0.02)

        nursery.start_soon(say)
        with trio.fail_after(15):
            received = await peer.closed()
        nursery.cancel_scope.cancel()
    return received


async def test_a_handshake_byte_by_byte_is_cut_off_in_time(strict: Town) -> None:
    peer = await raw_peer(strict.service.sockets["s1"])
    assert await drop_by_drop(peer, UPGRADE + b"X-Pad: " + b"a" * 1000) == b""
    metrics = (await strict.http.get(strict.service.admin["s1"] + "/metrics")).text
    assert 'pushctl_refusals_total{reason="too_slow"} 1.0' in metrics


async def test_a_hello_byte_by_byte_is_cut_off_in_time(strict: Town) -> None:
    person = await strict.login("mallory")
    peer = await raw_peer(strict.service.sockets["s1"])
    await peer.upgrade()
    hello = {"type": "hello", "token": person.token, "cursor": None}
    assert b"no hello within" in await drop_by_drop(peer, raw_frame(TEXT, b" " * 1000 + json.dumps(hello).encode()))


async def test_a_half_open_connection_is_found_by_its_missing_pong(config: Config) -> None:
    """It reads and writes nothing more, and never says that it is gone."""
    socket = replace(config.socket, ping_seconds=0.3, pong_seconds=0.5)
    async with running(replace(config, socket=socket), sockets=1) as service, httpx.AsyncClient(timeout=30) as http:
        town = Town(service, http)
        peer = await connected(town, await town.login("ada"))
        assert close_code(await peer.closed()) == 4004
