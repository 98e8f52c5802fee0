"""Who a socket server lets in: refused before TLS or a WebSocket cost anything, with 503 and when to come again."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import trio

from pushctl.config.model import Config
from pushctl.testing.service import running
from tests.scenario.people import Town, eventually
from tests.scenario.raw_frames import RawPeer, close_code, raw_peer, text

NOBODY_EXEMPT = ("192.0.2.0/24",)


@asynccontextmanager
async def limited(config: Config, *, limits: dict[str, Any] | None = None, **socket: Any) -> AsyncIterator[Town]:
    """One socket server; limits by address count this machine, too, but for its connections in a second."""
    by_address: dict[str, Any] = {"exempt_networks": NOBODY_EXEMPT, "arrivals_per_second_per_address": 0}
    by_address.update(limits or {})
    config = replace(
        config,
        limits=replace(config.limits, **by_address),
        socket=replace(config.socket, **({"hello_seconds": 30} | socket)),
    )
    async with running(config, sockets=1) as service, httpx.AsyncClient(timeout=30) as http:
        yield Town(service, http)


async def comes(town: Town, headers: bytes = b"") -> tuple[int, RawPeer, bytes]:
    """(status, the connection, head of the answer)."""
    peer = await raw_peer(town.service.sockets["s1"])
    head = await peer.upgrade(extra=headers)
    return int(head.split()[1]), peer, head


async def refusals(town: Town) -> dict[str, float]:
    metrics = (await town.http.get(town.service.admin["s1"] + "/metrics")).text
    found = re.findall(r'pushctl_refusals_total\{reason="(\w+)"\} (\S+)', metrics)
    return {reason: float(count) for reason, count in found if float(count)}


async def test_an_address_with_too_many_connections_is_refused_until_one_has_gone(config: Config) -> None:
    async with limited(config, limits={"connections_per_address": 2}) as town:
        status, first, _ = await comes(town)
        assert status == 101
        _, second, _ = await comes(town)
        status, third, head = await comes(town)
        assert status == 503
        seconds = re.search(rb"(?i)retry-after: (\d+)", head)
        assert seconds
        assert 30 <= int(seconds[1]) <= 60
        assert b"too many connections" in await third.closed()
        assert await refusals(town) == {"address": 1}
        await first.stream.aclose()

        async def room() -> bool:
            status, peer, _ = await comes(town)
            await peer.stream.aclose()
            return status == 101

        await eventually(room)
        await second.stream.aclose()


async def test_connections_that_say_nothing_count_and_are_dropped_in_time(config: Config) -> None:
    async with limited(config, max_connections=2, handshake_seconds=3) as town:
        url = town.service.sockets["s1"]
        silent = [await raw_peer(url) for _ in range(2)]

        async def both_inside() -> bool:
            role = town.service.roles["s1"]
            return bool(role.reception.inside == 2)  # type: ignore[attr-defined]  # the socket role's

        await eventually(both_inside)  # of those that are accepted together anybody may be the first
        status, refused, _ = await comes(town)
        assert status == 503
        await refused.stream.aclose()
        silent.append(await raw_peer(url))  # refused, counted once
        assert [await peer.closed() for peer in silent] == [b""] * 3
        status, peer, _ = await comes(town)
        assert status == 101
        await peer.stream.aclose()
        assert await refusals(town) == {"full": 2, "too_slow": 2}


async def test_behind_a_trusted_proxy_each_client_is_an_address_of_its_own(config: Config) -> None:
    limits = {"connections_per_address": 1}
    async with limited(config, limits=limits, trusted_proxies=("127.0.0.1",)) as town:
        peers = []
        for header, expected in (
            (b"X-Forwarded-For: 198.51.100.1\r\n", 101),
            (b"X-Forwarded-For: 198.51.100.2\r\n", 101),
            (b"X-Forwarded-For: 203.0.113.5, 198.51.100.2\r\n", 503),
            (b"Forwarded: for=203.0.113.5, for=198.51.100.1\r\n", 503),
            (b'Forwarded: for="[2001:db8::1]"\r\n', 101),
            (b'Forwarded: for="[2001:db8::2]"\r\n', 503),
        ):
            status, peer, _ = await comes(town, header)
            assert status == expected, header
            peers.append(peer)
        for peer in peers:
            await peer.stream.aclose()


async def test_what_a_client_forges_changes_nothing(config: Config) -> None:
    async with limited(config, limits={"connections_per_address": 1}) as town:
        _, first, _ = await comes(town)
        status, second, _ = await comes(town, b"X-Forwarded-For: 198.51.100.1\r\nForwarded: for=198.51.100.1\r\n")
        assert status == 503
        await first.stream.aclose()
        await second.stream.aclose()


async def test_those_who_come_too_fast_are_told_when_to_come(config: Config) -> None:
    async with limited(config, accept_rate=0.01, accept_burst=3) as town:
        statuses = []
        for _ in range(6):
            status, peer, head = await comes(town)
            statuses.append(status)
            assert status == 101 or b"retry-after" in head.lower()
            await peer.stream.aclose()
        assert statuses == [101] * 3 + [503] * 3
        assert await refusals(town) == {"accept_rate": 3}
        metrics = (await town.http.get(town.service.admin["s1"] + "/metrics")).text
        assert "\npushctl_arrivals_total 3.0\n" in metrics


async def test_one_address_cannot_use_up_the_turns_of_all(config: Config) -> None:
    limits = {"arrivals_per_second_per_address": 0.01, "arrivals_burst_per_address": 20}
    async with limited(config, limits=limits, accept_rate=0.01, accept_burst=30) as town:
        async with trio.open_nursery() as nursery:

            async def knock() -> None:
                _, peer, _ = await comes(town)
                await peer.stream.aclose()

            for _ in range(40):
                nursery.start_soon(knock)
        assert await refusals(town) == {"address_rate": 20}


async def test_hundreds_who_find_no_room_are_told_so_or_dropped_and_the_one_inside_notices_nothing(
    config: Config,
) -> None:
    async with limited(config, max_connections=1) as town:
        honest = await town.login("ada")
        push_url = await honest.allow()
        async with honest.connected() as socket:
            await socket.synced()
            peers = [await raw_peer(town.service.sockets["s1"]) for _ in range(300)]
            await town.push(push_url["url"], {"body": "hello"})
            await socket.until("message")
            for peer in peers:
                await peer.closed()
            assert (await refusals(town))["full"] == 300


async def test_a_user_with_too_many_devices_on_one_server_is_closed_with_4505(config: Config) -> None:
    async with limited(config, limits={"connections_per_user": 2}) as town:
        devices = [await town.login("ada") for _ in range(3)]
        other = await town.login("bob")
        async with devices[0].connected() as first, devices[1].connected() as second, other.connected() as bobs:
            await first.synced()
            await second.synced()
            await bobs.synced()
            async with devices[2].connected() as third:
                assert await third.close_code() == 4505
            async with devices[0].connected() as again:
                await again.synced()
            assert await first.close_code() == 4503


async def test_of_thirty_hellos_of_one_device_at_once_one_stays(config: Config) -> None:
    async with limited(config) as town:
        device = await town.login("mallory")
        peers = [await raw_peer(town.service.sockets["s1"]) for _ in range(30)]
        codes: list[int | None] = []

        async def watch(peer: RawPeer) -> None:
            codes.append(close_code(await peer.closed()))

        async with trio.open_nursery() as nursery:
            for peer in peers:
                await peer.upgrade()
                await peer.send(text({"type": "hello", "token": device.token, "cursor": None}))
            for peer in peers:
                nursery.start_soon(watch, peer)

            async def one() -> bool:
                return len(codes) == 29

            await eventually(one)
            nursery.cancel_scope.cancel()
        assert codes == [4503] * 29
        for peer in peers:
            await peer.stream.aclose()
