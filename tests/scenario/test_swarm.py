"""A swarm before a real service: it loses nothing while servers come and go, and it would notice if it did."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any

import httpx
import pytest
import trio

from pushctl.client import fleet as fleet_module
from pushctl.client.fleet import Fleet, Plan
from pushctl.client.http import open_client
from pushctl.client.report import Report
from pushctl.config.model import Config
from pushctl.runtime import run_role
from pushctl.testing.service import Running, running

PATIENCE_SECONDS = 50


@pytest.fixture(autouse=True)
def _soon_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_module, "SETTLE_SECONDS", 0.5)


class Traffic:
    """Messages to the users' push URLs, in turn, until they are gone."""

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second
        self.sent = 0
        self._push_urls: list[str] = []
        self._ready = trio.Event()

    def ready(self, push_urls: list[str]) -> None:
        self._push_urls = push_urls
        self._ready.set()

    async def run(self) -> None:
        await self._ready.wait()
        async with httpx.AsyncClient() as http:
            while True:
                url = self._push_urls[self.sent % len(self._push_urls)]
                answer = await http.post(url, content=f"number {self.sent}", headers={"Content-Type": "text/plain"})
                if answer.status_code == 410:
                    return
                assert answer.status_code == 201, answer.text
                self.sent += 1
                await trio.sleep(1 / self.per_second)


@asynccontextmanager
async def socket_server(service: Running, number: int) -> AsyncIterator[Callable[[], None]]:
    """Another one. What is yielded begins its drain; it is over when the block is."""
    config = replace(service.config, socket=replace(service.config.socket, id=f"s{number}"))
    leave = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(run_role, import_module("roles.socket").build(config), until=leave.wait))
        yield leave.set
        leave.set()


def plan(service: Running, **changed: Any) -> Plan:
    least = Plan(
        api_url=service.api, boxoffice_url=service.boxoffice, users=4, devices=2, seconds=1, arrivals=100.0,
        site="https://news.example",
    )  # fmt: skip
    return replace(least, **changed)


async def coming_and_going(service: Running, fleet: Fleet, traffic: Traffic, *, began: trio.Event) -> None:
    """One server goes under traffic, its like comes back under its name, then the fleet has seen enough."""
    devices = fleet.plan.users * fleet.plan.devices
    boxoffice: Any = service.roles["boxoffice"]
    async with socket_server(service, 9) as drain:
        await boxoffice.wait_for_servers({"s1", "s9"})
        began.set()
        await everybody(fleet, devices)
        drain()
    await everybody(fleet, devices)
    async with socket_server(service, 9):
        sent = traffic.sent
        await eventually_true(lambda: traffic.sent > sent + 20)
        await everybody(fleet, devices)
        fleet.interrupt()
        await trio.sleep_forever()  # it is stopped when the fleet has left


async def everybody(fleet: Fleet, devices: int) -> None:
    await eventually_true(lambda: fleet.tally.connected == devices)


async def eventually_true(truth: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        while not truth():  # noqa: ASYNC110 - counts tell nobody
            await trio.sleep(0.02)


@pytest.mark.parametrize(
    ("users", "per_second"), [(4, 50), pytest.param(50, 200, marks=pytest.mark.slow)], ids=["few", "many"]
)
async def test_a_drain_and_a_restart_under_traffic_lose_nothing(config: Config, users: int, per_second: float) -> None:
    traffic = Traffic(per_second)
    async with running(config, sockets=1) as service, open_client(service.api) as client:
        fleet = Fleet(plan(service, users=users, seconds=3600, read_share=0.3), client, ready=traffic.ready)
        with trio.fail_after(PATIENCE_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(traffic.run)
                began = trio.Event()
                nursery.start_soon(partial(coming_and_going, service, fleet, traffic, began=began))
                await began.wait()
                found = await fleet.run()
                nursery.cancel_scope.cancel()
    assert found.disconnects.keys() <= {"4001", "1000"}  # 1000: it left by itself, at the moment it was told
    assert found.disconnects
    assert found.is_good, found
    assert found.received >= traffic.sent  # twice each, but for what is read on one before the other knows of it
    assert found.reads_confirmed


async def test_a_message_that_the_service_lost_on_its_way_to_a_device_is_noticed(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server here leaves out what it should say, once, and says what follows: a hole that no sync fills."""
    from roles.socket.tail import Tail

    left_out: list[object] = []
    take = Tail.take

    def careless(tail: Tail) -> Any:
        prepared = take(tail)
        if prepared is not None and prepared.is_message and not left_out:
            left_out.append(prepared)
            return take(tail)
        return prepared

    monkeypatch.setattr(Tail, "take", careless)
    found = await under_a_little_traffic(config)
    assert left_out
    assert (found.lost, found.skipped, found.is_good) == (1, 1, False)


async def test_a_message_that_comes_twice_is_noticed(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    from roles.socket.wire import Wire

    said_twice: list[bytes] = []
    write = Wire.write

    def stammering(wire: Wire, *messages: bytes) -> None:
        if b'"type":"message"' in messages[0] and not said_twice:
            said_twice.append(messages[0])
            write(wire, messages[0])
        write(wire, *messages)

    monkeypatch.setattr(Wire, "write", stammering)
    found = await under_a_little_traffic(config)
    assert said_twice
    assert (found.lost, found.skipped, found.duplicate, found.is_good) == (0, 0, 1, False)


async def under_a_little_traffic(config: Config) -> Report:
    traffic = Traffic(50)
    async with running(config, sockets=1) as service, open_client(service.api) as client:
        fleet = Fleet(plan(service, users=2), client, ready=traffic.ready)
        with trio.fail_after(PATIENCE_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(traffic.run)
                found = await fleet.run()
                nursery.cancel_scope.cancel()
    return found


async def test_the_accounts_of_a_swarm_are_gone_afterwards(config: Config) -> None:
    async with running(config, sockets=1) as service, open_client(service.api) as client:
        fleet = Fleet(plan(service, seconds=0), client)
        await fleet.run()
        users = [member.token for user in fleet.users for member in user.members]
        async with httpx.AsyncClient() as http:
            for token in users:
                answer = await http.get(f"{service.api}/v1/messages", headers={"Authorization": f"Bearer {token}"})
                assert answer.status_code == 401
