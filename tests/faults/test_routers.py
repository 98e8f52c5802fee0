"""Routers that are killed, frozen, stopped or alone with a Redis that is not well: nothing is lost, and what may come
only once comes once."""

import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import get_args, get_type_hints

import httpx
import pytest
import trio

from pushctl.config.model import Config, Routing
from pushctl.points import Point
from pushctl.registry import Registry, jobs, open_registry
from pushctl.runtime import run_role
from pushctl.testing.service import running
from roles.router import partition
from roles.router.serve import RouterRole
from tests.backlogs import backlogs
from tests.faults.routers import forge
from tests.scenario.people import Socket, Town, eventually

STRATEGIES = get_args(get_type_hints(Routing)["strategy"])
EPHEMERAL_SECONDS = 2
AN_HOUR = 3600


@pytest.fixture(params=STRATEGIES)
def by_strategy(config: Config, request: pytest.FixtureRequest) -> Config:
    """By every strategy; hints alone bring it, reconcile is an hour away."""
    socket = replace(config.socket, reconcile_seconds=AN_HOUR)
    return replace(config, socket=socket, routing=replace(config.routing, strategy=request.param))


@asynccontextmanager
async def town_without_router(config: Config) -> AsyncIterator[Town]:
    async with running(config, sockets=1, without={"router"}) as service, httpx.AsyncClient(timeout=30) as http:
        yield Town(service, http)


@asynccontextmanager
async def router(config: Config) -> AsyncIterator[RouterRole]:
    """A router in this process, which is drained at the end."""
    stop = trio.Event()
    role = RouterRole(config)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(run_role, role, until=stop.wait))
        yield role
        stop.set()


class Arrivals:
    """What one device was sent, and when."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self.at: dict[str, list[float]] = {}

    async def listen(self) -> None:
        while True:
            frame = json.loads(await self._socket.websocket.get_message())  # for as long as it takes
            if frame["type"] == "message":
                self.at.setdefault(frame["message"]["notification"]["body"], []).append(trio.current_time())

    def of(self, kind: str) -> dict[str, list[float]]:
        return {body: at for body, at in self.at.items() if body.startswith(kind)}


async def send(town: Town, url: str, body: str, ttl: int) -> float:
    """When it was accepted."""
    assert (await town.push(url, {"body": body}, TTL=str(ttl))).status_code == 201
    return trio.current_time()


async def drained(registry: Registry) -> bool:
    """Nothing is left in any stream."""
    return not any(backlog.length or any(c.pending for c in them) for backlog, them in await backlogs(registry))


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Routers of this process take over after half a second."""
    monkeypatch.setattr(jobs, "IDLE_MS", 500)
    monkeypatch.setattr(partition, "TAKE_OVER_SECONDS", 0.2)


# --- killed ----------------------------------------------------------------------------------------------------------

ROUNDS = 100
"""Kills, by each strategy."""


@pytest.mark.slow
async def test_a_router_killed_beside_a_delivery_delivers_ttl_0_once_or_never_and_all_else_in_the_end(
    by_strategy: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [Point.DELIVERED, Point.ACKNOWLEDGED] * (ROUNDS // 2)
    async with town_without_router(by_strategy) as town, forge(town.service.config) as made:
        phone = await town.login("ada")
        url = (await phone.allow())["url"]
        accepted: dict[str, float] = {}
        async with phone.connected() as socket, trio.open_nursery() as nursery:
            await socket.synced()
            arrivals = Arrivals(socket)
            nursery.start_soon(arrivals.listen)
            for n, point in enumerate(points):
                accepted[f"now {n}"] = await send(town, url, f"now {n}", 0)
                accepted[f"kept {n}"] = await send(town, url, f"kept {n}", 600)
                killed = await made.router(point)
                assert await killed.ended() == "signal 9"
            impatient(monkeypatch)
            async with router(town.service.config), open_registry(town.service.config, name="test") as registry:

                async def settled() -> bool:
                    return await drained(registry) and len(arrivals.of("kept")) == len(points)

                await eventually(settled)
            nursery.cancel_scope.cancel()
    assert all(len(at) == 1 for at in arrivals.at.values()), arrivals.at
    assert arrivals.of("kept").keys() == {f"kept {n}" for n in range(len(points))}
    delays = [at[0] - accepted[body] for body, at in arrivals.of("now").items()]
    assert max(delays) < EPHEMERAL_SECONDS
    may_come = {f"now {n}" for n, point in enumerate(points) if point is Point.DELIVERED}
    assert arrivals.of("now").keys() <= may_come
    assert len(delays) > len(may_come) / 2, "the kills came before anything was delivered"
    print(f"{len(points)} kills, {len(delays)} of {len(may_come)} came at once, after {max(delays):.2f} s at most")


# --- frozen ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("by_strategy", ["rpc"], indirect=True)  # it costs 15 s, and they differ in nothing here
async def test_a_router_frozen_for_15_s_and_continued_delivers_nothing_twice_and_goes_on(by_strategy: Config) -> None:
    async with (
        town_without_router(by_strategy) as town,
        forge(town.service.config) as made,
        open_registry(town.service.config, name="test") as registry,
    ):
        phone = await town.login("ada")
        url = (await phone.allow())["url"]
        async with phone.connected() as socket, trio.open_nursery() as nursery:
            await socket.synced()
            arrivals = Arrivals(socket)
            nursery.start_soon(arrivals.listen)
            await send(town, url, "now", 0)
            await send(town, url, "kept", 600)
            frozen = await made.router(Point.ACKNOWLEDGED, signal.SIGSTOP)
            assert await frozen.ended() == "stopped"
            stopped_at = trio.current_time()
            async with router(town.service.config):
                with trio.fail_after(30):  # IDLE_MS, and up to TAKE_OVER_SECONDS until somebody looks
                    while not (await drained(registry) and arrivals.at):  # noqa: ASYNC110 - a loop of the router
                        await trio.sleep(0.1)
            assert arrivals.at.keys() == {"kept"}
            await trio.sleep_until(stopped_at + 15)
            frozen.send(signal.SIGCONT)
            await send(town, url, "after", 600)

            async def came() -> bool:
                return "after" in arrivals.at

            await eventually(came)
            await eventually(lambda: drained(registry))  # a message is handed over behind its delivery
            ((_, (reader,)),) = await backlogs(registry)
            assert (reader.name.partition("-")[0], reader.pending) == (by_strategy.routing.strategy, 0)
            frozen.send(signal.SIGTERM)
            assert await frozen.ended() == "exit 0"
            assert await drained(registry)
            nursery.cancel_scope.cancel()
    assert {body: len(at) for body, at in arrivals.at.items()} == {"kept": 1, "after": 1}
