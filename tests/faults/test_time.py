"""Redis stands still for a while, or its clock steps by a minute: no connection is closed, and nobody is declared dead.

Deadlines are shortened to match, and with them what they are made of; once everything is as it is in life.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import httpx
import pytest
import trio

from pushctl.config.model import Config, Redis
from pushctl.ids import UserId
from pushctl.registry import open_registry
from pushctl.registry.presence import Holder
from pushctl.testing.service import running
from roles.router.serve import RouterRole
from roles.socket.serve import SocketRole
from tests.conftest import RedisProcess
from tests.metrics import values
from tests.scenario.people import Person, Socket, Town, eventually
from tests.scenario.test_socket import body_of

pytestmark = pytest.mark.alone

SHARE = 0.3
"""Of what each of these is in life."""


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats, judges and what they call silence, all quicker by the same factor."""
    for name, value in {
        "pushctl.registry.servers.QUIET_MS": 7000,
        "pushctl.registry.servers.JUDGE_GAP_MS": 4000,
        "pushctl.routing.picture.PICTURE_SECONDS": 1.5,
        "roles.boxoffice.serve.REFRESH_SECONDS": 1.0,
        "roles.socket.heart.HEARTBEAT_SECONDS": 2.0,
        "roles.socket.heart.QUIET_SECONDS": 7.0,
    }.items():
        monkeypatch.setattr(name, type(value)(value * SHARE))


class Watched:
    """Two socket servers with a device each, and what must not change about them."""

    def __init__(self, town: Town, people: list[Person], sockets: list[Socket], push_urls: list[str]) -> None:
        self.town = town
        self._people = people
        self._sockets = sockets
        self._push_urls = push_urls
        self._bodies = iter(range(1000))

    async def leases(self) -> list[list[Holder]]:
        role = self.town.service.roles["s1"]
        assert isinstance(role, SocketRole)
        return await role.registry.presence.holders_of([UserId(person.user) for person in self._people])

    async def servers(self) -> list[str]:
        """Whom the Box Office names. Asked by the first person alone, so that their session is known to it."""
        bearer = {"Authorization": f"Bearer {self._people[0].token}"}
        answer = await self.town.http.get(self.town.service.boxoffice + "/v1/servers", headers=bearer)
        assert answer.status_code == 200, answer.text
        return sorted(answer.json()["servers"])

    async def all_named_for(self, seconds: float) -> None:
        """At every moment."""
        with trio.move_on_after(seconds):
            while True:
                assert await self.servers() == sorted(self.town.service.sockets.values())
                await trio.sleep(0.02)

    def pruned(self) -> float:
        router = self.town.service.roles["router"]
        assert isinstance(router, RouterRole)
        strategy = self.town.service.config.routing.strategy
        return values(router.metrics)["pushctl_jobs_total", ("pruned", strategy)]

    async def both_hear(self) -> None:
        """Of a message each, at once: reconcile is far away."""
        for push_url, socket in zip(self._push_urls, self._sockets, strict=True):
            body = str(next(self._bodies))

            async def accepted(push_url: str = push_url, body: str = body) -> bool:
                return (await self.town.push(push_url, {"body": body}, Idempotency_Key=body)).status_code == 201

            await eventually(accepted)
            assert body_of(await socket.until("message")) == body


@asynccontextmanager
async def watched(config: Config) -> AsyncIterator[Watched]:
    config = replace(config, socket=replace(config.socket, reconcile_seconds=3600))
    async with running(config) as service, httpx.AsyncClient(timeout=30) as http:
        town = Town(service, http)
        people = [await town.login(name) for name in ("ada", "bob")]
        push_urls = [(await person.allow())["url"] for person in people]
        async with people[0].connected("s1") as one, people[1].connected("s2") as other:
            for socket in (one, other):
                await socket.synced()
            yield Watched(town, people, [one, other], push_urls)


async def stand_still(own_redis: RedisProcess, seconds: float, settle_seconds: float, settings: Redis) -> None:
    async with watched(replace(Config(), redis=replace(settings, url=own_redis.url))) as seen:
        await seen.both_hear()
        before = await seen.leases()
        await seen.all_named_for(settle_seconds)
        with own_redis.frozen():
            await seen.all_named_for(seconds)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(seen.all_named_for, settle_seconds)
            nursery.start_soon(seen.both_hear)
        await seen.both_hear()
        assert (await seen.leases(), seen.pruned()) == (before, 0)


@pytest.mark.slow
@pytest.mark.usefixtures("hurried")
async def test_a_redis_that_stands_still_costs_nobody_anything(own_redis: RedisProcess) -> None:
    await stand_still(own_redis, 10 * SHARE, 2 * SHARE, Redis(timeout_seconds=2 * SHARE))


@pytest.mark.long
async def test_a_redis_that_stands_still_for_20_s_costs_nobody_anything(own_redis: RedisProcess) -> None:
    await stand_still(own_redis, 20, 2, Redis())


@pytest.mark.slow
@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("step_ms", [60_000, -60_000])
async def test_a_clock_that_steps_by_a_minute_costs_nobody_anything(
    config: Config, step_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shift = [0]
    for role in ("api", "boxoffice", "router", "socket", "gc"):
        opening = partial(open_registry, shift_ms=lambda: shift[0])
        monkeypatch.setattr(f"roles.{role}.serve.open_registry", opening)
    async with watched(config) as seen:
        await seen.both_hear()
        before = await seen.leases()
        for now_ms in (step_ms, 0):
            shift[0] = now_ms
            async with trio.open_nursery() as nursery:
                nursery.start_soon(seen.all_named_for, 8 * SHARE)  # longer than silence may last
                nursery.start_soon(seen.both_hear)
        await seen.both_hear()
        assert (await seen.leases(), seen.pruned()) == (before, 0)
