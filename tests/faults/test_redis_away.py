"""Redis freezes, dies and comes back under a running service: nothing promised is lost, nothing is stored twice."""

import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
import trio

from pushctl.config.model import Config, Redis
from pushctl.testing.service import running
from tests.conftest import RedisProcess
from tests.scenario.people import Socket, Town, eventually

PATIENCE = 20


@pytest.fixture
def impatient(own_redis: RedisProcess) -> Config:
    """On a Redis of its own, with deadlines short enough for a test."""
    return replace(
        Config(),
        redis=Redis(url=own_redis.url, connect_seconds=5, timeout_seconds=1),
        socket=replace(Config().socket, reconcile_seconds=2),
    )


@pytest.fixture
async def town(impatient: Config) -> AsyncIterator[Town]:
    async with running(impatient) as service, httpx.AsyncClient(timeout=30) as http:
        yield Town(service, http)


async def test_a_frozen_redis_gives_503_and_stores_nothing_twice(town: Town, own_redis: RedisProcess) -> None:
    phone = await town.login("ada")
    push_url = await phone.allow()
    answers: list[httpx.Response] = []

    async def post(n: int) -> None:
        answers.append(await town.push(push_url["url"], {"body": f"message {n}"}))

    async with phone.connected() as socket:
        await socket.synced()
        os.kill(own_redis.pid, signal.SIGSTOP)
        try:
            with trio.fail_after(PATIENCE):
                async with trio.open_nursery() as nursery:
                    for n in range(10):
                        nursery.start_soon(post, n)
            refused = await phone.ask("GET", "/v1/messages")
        finally:
            os.kill(own_redis.pid, signal.SIGCONT)
        for answer in (*answers, refused):
            assert answer.status_code == 503, answer.text
            assert answer.json()["code"] == "store_unavailable"
            assert int(answer.headers["Retry-After"]) >= 1

        async def accepted() -> bool:
            return (await town.push(push_url["url"], {"body": "after"})).status_code == 201

        await eventually(accepted)
        # Each of the ten may have arrived in spite of its 503, but none of them twice; the connection is still there.
        bodies = await bodies_until(socket, "after")
        assert len(bodies) == len(set(bodies))
        assert {message["notification"]["body"] for message in await phone.unread()} == set(bodies)


async def bodies_until(socket: Socket, last: str) -> list[str]:
    bodies: list[str] = []
    while last not in bodies:
        bodies.append((await socket.until("message"))["message"]["notification"]["body"])
    return bodies


async def test_an_idempotent_retry_over_a_freeze_stores_once(town: Town, own_redis: RedisProcess) -> None:
    phone = await town.login("ada")
    push_url = await phone.allow()
    os.kill(own_redis.pid, signal.SIGSTOP)
    try:
        first = await town.push(push_url["url"], {"body": "once"}, Idempotency_Key="k")
    finally:
        os.kill(own_redis.pid, signal.SIGCONT)
    assert first.status_code == 503

    async def retried() -> httpx.Response | None:
        answer = await town.push(push_url["url"], {"body": "once"}, Idempotency_Key="k")
        return answer if answer.status_code == 201 else None

    accepted = await eventually(retried)
    again = await town.push(push_url["url"], {"body": "once"}, Idempotency_Key="k")
    assert again.headers["Location"] == accepted.headers["Location"]
    assert len(await phone.unread()) == 1


async def test_a_redis_that_was_killed_and_restarted_costs_no_message_and_no_connection(
    town: Town, own_redis: RedisProcess
) -> None:
    phone, laptop = await town.login("ada"), await town.login("ada")
    push_url = await phone.allow()
    async with phone.connected("s1") as on_phone, laptop.connected("s2") as on_laptop:
        await on_phone.synced()
        await on_laptop.synced()
        await town.push(push_url["url"], {"body": "before"})
        assert await bodies_until(on_phone, "before") == ["before"]
        own_redis.kill()
        assert (await town.push(push_url["url"], {"body": "refused"})).status_code == 503
        unready = await town.http.get(town.service.admin["api"] + "/readyz")
        assert unready.status_code == 503
        assert (await town.http.get(town.service.admin["api"] + "/healthz")).status_code == 200
        own_redis.start()

        async def accepted() -> bool:
            return (await town.push(push_url["url"], {"body": "after"})).status_code == 201

        await eventually(accepted)
        assert await bodies_until(on_phone, "after") == ["after"]
        assert await bodies_until(on_laptop, "after") == ["before", "after"]

        async def ready() -> bool:
            answers = [await town.http.get(url + "/readyz") for url in town.service.admin.values()]
            return all(answer.status_code == 200 for answer in answers)

        await eventually(ready)


async def test_lost_hints_cost_only_time(impatient: Config) -> None:
    """Nobody routes: reconcile finds the message, and the end of the session, in the registry."""
    async with running(impatient, without={"router"}) as service, httpx.AsyncClient(timeout=30) as http:
        town = Town(service, http)
        phone = await town.login("ada")
        push_url = await phone.allow()
        async with phone.connected() as socket:
            await socket.synced()
            assert (await town.push(push_url["url"], {"body": "unrouted"})).status_code == 201
            assert await bodies_until(socket, "unrouted") == ["unrouted"]
            await phone.ask("DELETE", "/v1/login")
            assert await socket.close_code() == 4504
