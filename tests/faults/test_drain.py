"""Servers that are told to stop beside peers that do not listen; three of them restarted one after another."""

import json
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import trio

from pushctl.config.model import Config
from pushctl.testing.service import running
from tests.faults.socket_process import socket_process
from tests.scenario.people import Town, eventually

UPGRADE = (
    "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: pushctl.v1\r\n\r\n"
)


async def deaf_peer(url: str, *said: bytes) -> trio.SocketStream:
    """A peer that says this, each after an answer, and from then on neither reads nor writes."""
    parts = urlsplit(url)
    stream = await trio.open_tcp_stream(str(parts.hostname), parts.port or 0)
    for number, part in enumerate(said):
        if number:
            await stream.receive_some()
        await stream.send_all(part)
    return stream


def frame(text: str) -> bytes:
    """A client's text frame, with a mask of zeros."""
    body = text.encode()
    assert 126 <= len(body) < 65536
    return b"\x81\xfe" + len(body).to_bytes(2, "big") + b"\0\0\0\0" + body


@pytest.mark.parametrize("drain_seconds", [2.0, 4.0])  # the first: no longer than a Close may take
async def test_sigterm_ends_within_drain_seconds_whatever_peers_do(
    config: Config, folder: Path, drain_seconds: float
) -> None:
    """Devices that never answer a Close, never read, have not said hello, have not finished their upgrade."""
    async with (
        running(config, sockets=0) as service,
        httpx.AsyncClient() as http,
        socket_process(service.config, "s1", folder, more={"socket.drain_seconds": drain_seconds}) as server,
        AsyncExitStack() as stack,
    ):
        town = Town(service, http)
        phones = [await town.login("ada") for _ in range(10)]
        hellos = [frame(json.dumps({"type": "hello", "token": phone.token, "padding": "x" * 100})) for phone in phones]
        upgrade = UPGRADE.encode()
        for said in [*((upgrade, hello) for hello in hellos), (upgrade,), (upgrade[:40],), ()]:
            await stack.enter_async_context(await deaf_peer(server.url, *said))

        async def all_connected() -> bool:
            return server.said.count('"connected"') == len(phones)

        await eventually(all_connected)
        begun = trio.current_time()
        await server.drain()
        # That the drain kept its time, the server says itself (below); this is that its process ends, too.
        assert trio.current_time() - begun < drain_seconds + 5.0
        assert server.surprises == []
        assert "drain_cut_short" not in server.said
        assert "crashed" not in server.said
