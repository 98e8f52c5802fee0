"""Peers that do not behave: they cost themselves their connection, and nobody else anything."""

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlsplit

import httpx
import pytest
import trio
import trio_websocket

from pushctl.config.model import Config
from pushctl.testing.service import running
from tests.scenario.people import PATIENCE_SECONDS, Person, Socket, Town, raw_socket

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: pushctl.v1\r\n"
)

KEY = b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"


@pytest.fixture
async def strict(config: Config) -> AsyncIterator[Town]:
    """One socket server with short deadlines and little patience. The honest have to keep them, too, on a machine that
    may stand still for a moment."""
    socket = replace(
        config.socket,
        handshake_seconds=3,
        hello_seconds=3,
        stall_seconds=0.5,
        ping_seconds=0.2,
        pong_seconds=0.3,
        max_frame_bytes=2048,
        outbox_bytes=16_384,
    )
    async with running(replace(config, socket=socket), sockets=1) as service, httpx.AsyncClient(timeout=30) as http:
        yield Town(service, http)


async def tcp(town: Town) -> trio.SocketStream:
    parts = urlsplit(town.service.sockets["s1"])
    assert parts.hostname
    assert parts.port
    return await trio.open_tcp_stream(parts.hostname, parts.port)


async def until_closed(stream: trio.SocketStream) -> bytes:
    received = b""
    with trio.fail_after(PATIENCE_SECONDS):
        try:
            async for chunk in stream:
                received += chunk
        except trio.BrokenResourceError:
            pass
    await stream.aclose()
    return received


async def still_serves(town: Town) -> None:
    """An honest device gets a message as if nothing had happened."""
    honest = await town.login("honest")
    push_url = await honest.allow()
    async with honest.connected() as socket:
        await socket.synced()
        await town.push(push_url["url"], {"body": "hello"})
        await socket.until("message")


NO_HANDSHAKES = [
    b"",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"POST /push/x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\x00" * 4096,
    b"GET / HTTP/1.1\r\n" + b"X-Pad: " + b"a" * 200_000,
    UPGRADE + b"Sec-WebSocket-Key: !!\r\n\r\n",
    UPGRADE + b"Sec-WebSocket-Key: AAAA\r\n\r\n",
    UPGRADE + b"\r\n",
    UPGRADE.replace(b"Connection: Upgrade", b"Connection: Upgrade\xff") + KEY,
    UPGRADE.replace(b"pushctl.v1", b"pushctl.v1, \xff") + KEY,
    UPGRADE.replace(b"Host: x", b"Host: \xff\xfe") + KEY,
    UPGRADE.replace(b"Host: x", b"Host: a..b") + b"Sec-WebSocket-Extensions: \xff\r\n" + KEY,
]


async def test_what_is_no_handshake_is_cut_off_in_time(strict: Town) -> None:
    async def is_cut_off(sent: bytes) -> None:
        stream = await tcp(strict)
        with trio.fail_after(PATIENCE_SECONDS):
            with suppress(trio.BrokenResourceError):
                await stream.send_all(sent)
        received = await until_closed(stream)
        # A well-formed key may be answered before the hello is missed; nothing else is.
        assert b"101 Switching" not in received or KEY in sent, sent[:200]

    async with trio.open_nursery() as nursery:
        for sent in NO_HANDSHAKES:
            nursery.start_soon(is_cut_off, sent)
        await still_serves(strict)
    await still_serves(strict)


async def test_a_peer_that_hangs_up_in_the_middle_of_the_handshake_is_no_event(strict: Town) -> None:
    for _ in range(20):
        stream = await tcp(strict)
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\nUpg")
        await stream.aclose()
    await still_serves(strict)


async def test_an_oversized_message_is_refused_with_1009(strict: Town) -> None:
    phone = await strict.login("ada")
    async with phone.connected() as socket:
        await socket.synced()
        await socket.send('{"type":"read","ids":["' + "x" * 4000 + '"]}')
        assert await socket.close_code() == 1009
    await still_serves(strict)


async def deaf(town: Town, person: Person) -> trio.SocketStream:
    """A connection that said hello and reads nothing at all from then on."""
    stream = await tcp(town)
    async with trio.open_nursery() as nursery:
        websocket = await trio_websocket.wrap_client_stream(nursery, stream, "x", "/", subprotocols=["pushctl.v1"])
        socket = Socket(websocket)
        await socket.send({"type": "hello", "token": person.token, "cursor": None})
        await socket.synced()
        nursery.cancel_scope.cancel()
    return stream


async def test_a_device_that_reads_nothing_is_closed_and_delays_nobody(strict: Town) -> None:
    slow, quick = await strict.login("ada"), await strict.login("ada")
    push_url = await slow.allow()
    stream = await deaf(strict, slow)
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
    metrics = strict.service.admin["s1"] + "/metrics"
    body = "x" * 3500
    async with quick.connected() as socket:
        await socket.synced()
        sent = 0
        with trio.fail_after(60):
            while True:
                answer = await strict.push(push_url["url"], {"body": body}, Topic=f"t{sent % 50}")
                assert answer.status_code == 201
                sent += 1
                await socket.until("message")
                text = (await strict.http.get(metrics)).text
                if 'closes_total{code="4002"}' in text or 'closes_total{code="4004"}' in text:
                    break
    await stream.aclose()
    await still_serves(strict)


async def test_a_peer_that_answers_no_ping_is_closed_with_4004(strict: Town) -> None:
    phone = await strict.login("ada")
    stream = await deaf(strict, phone)
    received = await until_closed(stream)
    assert b"\x0f\xa4" in received  # 4004 in the Close frame
    await still_serves(strict)


async def test_a_flood_of_pings_is_answered_within_bounds(strict: Town) -> None:
    phone = await strict.login("ada")
    async with phone.connected() as socket:
        await socket.synced()
        for _ in range(500):
            await socket.send({"type": "ping"})
        await socket.until("pong")
        await socket.send({"type": "ack", "cursor": "garbage"})
        assert await socket.close_code() == 4502
        assert sum(frame["type"] == "pong" for frame in socket.frames) <= 500
    await still_serves(strict)


async def test_an_origin_that_is_not_allowed_is_refused(config: Config) -> None:
    picky = replace(config, socket=replace(config.socket, origins=("https://app.example",)))
    async with running(picky, sockets=1) as service, httpx.AsyncClient() as http:
        url = service.sockets["s1"]
        own = "http://" + urlsplit(url).netloc
        for origin, status in (("https://evil.example", 403), ("https://app.example", 101), (own, 101)):
            upgrade = {
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
                "Sec-WebSocket-Protocol": "pushctl.v1",
                "Origin": origin,
            }
            async with http.stream("GET", "http://" + urlsplit(url).netloc, headers=upgrade) as answer:
                assert answer.status_code == status, origin
        async with raw_socket(url):
            pass  # no Origin at all: not a browser
