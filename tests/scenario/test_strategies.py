"""The same story by every strategy: hints alone bring it, reconcile is an hour away."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from importlib import import_module

import httpx
import pytest
import trio

from pushctl.config.model import Config
from pushctl.runtime import run_role
from pushctl.testing.service import running
from tests.scenario.people import Socket, Town, eventually

STRATEGIES = ["rpc", "channel", "broadcast"]
AN_HOUR = 3600


def by(config: Config, strategy: str) -> Config:
    routing = replace(config.routing, strategy=strategy)  # type: ignore[arg-type]  # one of its words
    return replace(config, routing=routing, socket=replace(config.socket, reconcile_seconds=AN_HOUR))


@pytest.fixture(params=STRATEGIES)
async def town(config: Config, request: pytest.FixtureRequest, slow_to_suspect: None) -> AsyncIterator[Town]:
    async with running(by(config, request.param)) as service, httpx.AsyncClient() as http:
        yield Town(service, http)


async def jobs_that(town: Town, outcome: str, role: str = "router") -> int:
    """The router's count of jobs with this outcome."""
    metrics = (await town.http.get(f"{town.service.admin[role]}/metrics")).text
    found = re.search(rf'^pushctl_jobs_total{{outcome="{outcome}",.*}} (\S+)$', metrics, re.MULTILINE)
    return int(float(found[1])) if found else 0


async def bodies(socket: Socket, count: int) -> list[str]:
    return [(await socket.until("message"))["message"]["notification"]["body"] for _ in range(count)]


async def test_messages_and_read_marks_reach_every_device_on_every_server_and_nobody_else(town: Town) -> None:
    laptop, phone, stranger = await town.login("ada"), await town.login("ada"), await town.login("bob")
    push_url = await laptop.allow()
    async with laptop.connected("s1") as one, phone.connected("s2") as other, stranger.connected("s1") as third:
        for socket in (one, other, third):
            await socket.synced()
        wanted = [f"message {n}" for n in range(20)]
        for body in wanted:
            assert (await town.push(push_url["url"], {"body": body})).status_code == 201
        assert (await bodies(one, 20), await bodies(other, 20)) == (wanted, wanted)
        ids = [frame["message"]["id"] for frame in one.frames if frame["type"] == "message"]
        await one.send({"type": "read", "ids": ids})
        for socket in (one, other):
            assert (await socket.until("read"))["ids"] == ids
        assert await third.silent()
    assert await jobs_that(town, "detoured") == 0  # rpc is rpc


async def test_large_batches_travel_as_small_ones_do(town: Town) -> None:
    phone = await town.login("ada")
    icon = "data:image/png;base64," + "A" * 12_000
    async with phone.connected() as socket:
        await socket.synced()
        async with trio.open_nursery() as nursery:
            for n in range(100):
                nursery.start_soon(phone.allow, f"https://site{n}.example", icon)
        for _ in range(100):
            await socket.until("push_url")
    assert await jobs_that(town, "detoured") == 0


async def test_ttl_0_comes_once_to_those_connected(town: Town) -> None:
    laptop, phone = await town.login("ada"), await town.login("ada")
    push_url = await laptop.allow()
    async with laptop.connected("s1") as one, phone.connected("s2") as other:
        await one.synced()
        await other.synced()
        assert (await town.push(push_url["url"], {"body": "now"}, TTL="0")).status_code == 201
        assert (await town.push(push_url["url"], {"body": "stored"})).status_code == 201
        for socket in (one, other):
            assert sorted(await bodies(socket, 2)) == ["now", "stored"]
            assert await socket.silent()


async def test_the_newest_connection_wins_and_a_sign_out_ends_it_wherever_they_are(town: Town) -> None:
    phone = await town.login("ada")
    async with phone.connected("s1") as older:
        await older.synced()
        async with phone.connected("s2") as newer:
            await newer.synced()
            assert await older.close_code() == 4503
            assert (await phone.ask("DELETE", "/v1/login")).status_code == 204
            assert await newer.close_code() == 4504


async def test_broadcast_reaches_a_device_whose_lease_was_lost(config: Config) -> None:
    """It looks nobody up: not when the job is written, nor when it is routed."""
    async with running(by(config, "broadcast")) as service, httpx.AsyncClient() as http:
        town = Town(service, http)
        phone = await town.login("ada")
        push_url = await phone.allow()
        async with phone.connected("s2") as socket:
            await socket.synced()
            link = service.roles["s2"].registry.link  # type: ignore[attr-defined]  # the socket role's
            assert await link.ask("DEL", f"{config.redis.prefix}:{{u:{phone.user}}}:presence") == 1
            await town.push(push_url["url"], {"body": "stored"})
            await town.push(push_url["url"], {"body": "now"}, TTL="0")
            assert sorted(await bodies(socket, 2)) == ["now", "stored"]


async def test_routers_change_the_strategy_one_after_another_under_traffic(config: Config) -> None:
    """A router of another mind joins, the older one leaves; every message comes, at once and in order."""
    async with (
        running(by(config, "channel"), without={"router"}) as service,
        httpx.AsyncClient() as http,
        trio.open_nursery() as routers,
    ):
        town = Town(service, http)
        laptop, phone = await town.login("ada"), await town.login("ada")
        push_url = await laptop.allow()
        sent: list[str] = []
        stop = await start_router(routers, by(service.config, "channel"))

        async def send_until(enough: trio.Event) -> None:
            while not enough.is_set():
                sent.append(f"message {len(sent)}")
                assert (await town.push(push_url["url"], {"body": sent[-1]})).status_code == 201

        async def some_more() -> None:
            seen = len(sent)

            async def came() -> bool:
                return len(sent) > seen + 10

            await eventually(came)

        async with laptop.connected("s1") as one, phone.connected("s2") as other:
            await one.synced()
            await other.synced()
            async with trio.open_nursery() as sending:
                enough = trio.Event()
                sending.start_soon(send_until, enough)
                for strategy in ("rpc", "broadcast", "channel", "broadcast", "rpc"):
                    following = await start_router(routers, by(service.config, strategy))
                    await some_more()
                    stop.set()
                    stop = following
                    await some_more()
                enough.set()
            for socket in (one, other):
                assert await bodies(socket, len(sent)) == sent
        stop.set()


async def start_router(nursery: trio.Nursery, config: Config) -> trio.Event:
    """A router that drains and ends when the event is set."""
    stop = trio.Event()
    await nursery.start(partial(run_role, import_module("roles.router").build(config), until=stop.wait))
    return stop
