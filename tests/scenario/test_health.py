"""Alive apart from ready: a stopped heart is found out, Redis away restarts nobody, clients go only to the ready."""

import os
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from typing import cast

import httpx
import pytest
import trio

from pushctl.config.model import Config, Redis
from pushctl.testing.service import Running, running
from roles.router import partition as partition_module
from roles.socket.serve import SocketRole
from tests.conftest import RedisProcess
from tests.scenario.people import Town, eventually

PATIENCE_SECONDS = 4.0
"""Of the watch over loops. The slowest of them here turns every two seconds, ±20 %, and is looked at in ticks of up to
0.6 s: that makes three."""


@asynccontextmanager
async def impatient(config: Config) -> AsyncIterator[tuple[Running, httpx.AsyncClient]]:
    """A whole service whose loops turn fast, and are soon taken for stuck."""
    config = replace(config, gc=replace(config.gc, tick_seconds=1))
    async with running(config, sockets=1) as service, httpx.AsyncClient(timeout=10) as http:
        for role in service.roles.values():
            role.health.liveness.patience_seconds = PATIENCE_SECONDS
        yield service, http


async def health(http: httpx.AsyncClient, service: Running, label: str, path: str = "/healthz") -> tuple[int, set[str]]:
    """The status, and the codes of the reasons."""
    answer = await http.get(service.admin[label] + path)
    return answer.status_code, {reason["code"] for reason in answer.json()["reasons"]}


@pytest.mark.slow
async def test_redis_away_makes_nobody_dead_and_a_stopped_heart_does(
    own_redis: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition_module, "TAKE_OVER_SECONDS", 1.0)
    config = replace(Config(), redis=Redis(url=own_redis.url, connect_seconds=5, timeout_seconds=1))
    async with impatient(config) as (service, http):
        own_redis.kill()
        await trio.sleep(PATIENCE_SECONDS + 2)
        for label in service.admin:
            assert await health(http, service, label) == (200, set())
            status, codes = await health(http, service, label, "/readyz")
            assert (status, "redis_away" in codes) == (503, True)
        own_redis.start()

        async def ready() -> bool:
            states = [await health(http, service, label, "/readyz") for label in service.admin]
            return all(status == 200 for status, _ in states)

        await eventually(ready)
        cast(SocketRole, service.roles["s1"]).heart.stop_beating()

        async def dead() -> bool:
            return await health(http, service, "s1") == (503, {"task_stuck"})

        await eventually(dead)
        said = (await http.get(service.admin["s1"] + "/healthz")).json()
        assert [reason["detail"].split(" has ")[0] for reason in said["reasons"]] == ["the heartbeat"]
        assert await health(http, service, "api") == (200, set())


@contextmanager
def hardly_any_files() -> Iterator[None]:
    """This process may open a few more, and no more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 5, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
async def test_a_socket_server_that_is_not_ready_is_given_no_clients(config: Config) -> None:
    async with running(config, sockets=1) as service, httpx.AsyncClient() as http:
        phone = await Town(service, http).login("ada")

        async def named() -> int:
            bearer = {"Authorization": f"Bearer {phone.token}"}
            return (await http.get(service.boxoffice + "/v1/servers", headers=bearer)).status_code

        async def named_is(status: int) -> bool:
            return await named() == status

        await eventually(partial(named_is, 200))
        assert await health(http, service, "s1", "/readyz") == (200, set())
        with hardly_any_files():
            assert await health(http, service, "s1", "/readyz") == (503, {"open_files_short"})
            await eventually(partial(named_is, 503))
        await eventually(partial(named_is, 200))
