"""Redis is emptied, or another one stands in its place: nothing there proves that anything is gone (promise 8)."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from pushctl.config.model import Config, Redis
from pushctl.errors import StoreUnavailable, Unreachable
from pushctl.identity.keys import installation_of
from pushctl.ids import DeviceId, SessionHash, UserId
from pushctl.registry import Registry, link, open_registry
from pushctl.testing.service import running
from tests.redises.process import RedisProcess
from tests.scenario.people import Closed, Person, Town, eventually


@pytest.fixture
async def town(own_redis: RedisProcess, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    monkeypatch.setattr(link, "MARKER_SECONDS", 0.5)  # the one thing that would have to be waited for
    quick = replace(
        Config(),
        redis=Redis(url=own_redis.url, connect_seconds=5, timeout_seconds=2),
        socket=replace(Config().socket, reconcile_seconds=1),
    )
    async with running(quick) as service, httpx.AsyncClient(timeout=30) as http:
        yield Town(service, http)


def flush(redis: RedisProcess) -> None:
    redis.ask("FLUSHALL")


def lose_the_disk(redis: RedisProcess) -> None:
    redis.kill()
    (redis.path.parent / "appendonly.aof").unlink(missing_ok=True)
    shutil.rmtree(redis.path.parent / "appendonlydir", ignore_errors=True)
    redis.start()


async def answers_of(town: Town, phone: Person, push_url: dict[str, str], location: str) -> dict[str, httpx.Response]:
    """What everybody is told who asks for something that was there."""
    bundle = {"Authorization": f"BrowserID {await town.bundle('ada')}"}
    login = {"device": {"name": "again", "id": phone.device}}
    return {
        "push": await town.push(push_url["url"], {"body": "hello?"}),
        "state": await town.http.get(town.service.api + location),
        "cancel": await town.http.delete(town.service.api + location),
        "messages": await phone.ask("GET", "/v1/messages"),
        "revoke": await phone.ask("DELETE", f"/v1/push-urls/{push_url['id']}"),
        "remove device": await phone.ask("DELETE", f"/v1/devices/{phone.device}"),
        "log in again": await town.http.post(town.service.api + "/v1/login", json=login, headers=bundle),
        "servers": await town.http.get(
            town.service.boxoffice + "/v1/servers", headers={"Authorization": f"Bearer {'x' * 43}"}
        ),
    }


async def why_not_ready(town: Town, role: str) -> str:
    answer = await town.http.get(town.service.admin[role] + "/readyz")
    reasons = [reason["detail"] for reason in answer.json()["reasons"]]
    assert (answer.status_code == 200) == (not reasons)
    return "; ".join(reasons)


@pytest.mark.parametrize("empty", [flush, lose_the_disk])
async def test_an_emptied_redis_is_503_for_everybody_and_proves_nothing(
    town: Town, own_redis: RedisProcess, empty: Callable[[RedisProcess], None]
) -> None:
    phone = await town.login("ada")
    push_url = await phone.allow()
    location = (await town.push(push_url["url"], {"body": "kept"})).headers["Location"]
    installation = installation_of(town.service.config.identity)
    assert installation is not None
    async with phone.connected() as socket:
        await socket.synced()
        empty(own_redis)
        for what, answer in (await answers_of(town, phone, push_url, location)).items():
            assert (answer.status_code, "Retry-After" in answer.headers) == (503, True), (what, answer.text)
        stranger = await town.http.post(
            town.service.api + "/v1/login",
            json={"device": {"name": "new", "id": None}},
            headers={"Authorization": f"BrowserID {await town.bundle('bob')}"},
        )
        assert stranger.status_code == 503
        async with phone.connected("s2") as late:
            with pytest.raises(Closed) as closed:
                await late.synced()
            assert 4000 <= closed.value.code < 4500
        for role in ("api", "s1", "router", "gc", "boxoffice"):

            async def says_why(role: str = role) -> bool:
                return "was emptied" in (reason := await why_not_ready(town, role)) and "doctor --adopt" in reason

            await eventually(says_why)
        assert await socket.silent()  # whoever was connected stays

        # The operator accepts the loss: what cannot be seen stays unknown, and is still not gone.
        async with open_registry(town.service.config, name="operator") as registry:
            await registry.adopt(installation)

        async def all_ready() -> bool:
            return not "".join([await why_not_ready(town, role) for role in ("api", "s1", "router", "gc")])

        await eventually(all_ready)
        assert (await town.push(push_url["url"], {"body": "?"})).status_code == 503
        assert (await phone.ask("GET", "/v1/messages")).status_code == 401
        again = await town.login("ada")
        assert again.user == phone.user
        assert (await town.push((await again.allow())["url"], {"body": "new"})).status_code == 201


async def test_another_installations_redis_is_refused_at_start(town: Town, tmp_path: Path) -> None:
    config = town.service.config
    with pytest.raises(BaseExceptionGroup) as caught:
        async with open_registry(
            replace(config, redis=replace(config.redis, connect_seconds=0.5)), name="test", installation="another"
        ):
            pass
    assert caught.group_contains(Unreachable, match=r"another installation's.*redis\.prefix")


async def test_an_empty_redis_is_adopted_only_when_nobody_has_used_it(own_redis: RedisProcess) -> None:
    wanted = replace(Config(), redis=Redis(url=own_redis.url, connect_seconds=0.5))
    strict = replace(wanted, redis=replace(wanted.redis, adopt_empty=False))
    with pytest.raises(BaseExceptionGroup) as caught:
        async with open_registry(strict, name="test", installation="ours"):
            pass
    assert caught.group_contains(Unreachable, match="accept the loss")
    async with open_registry(wanted, name="test", installation="ours") as registry:
        assert await registry.check() == []
        assert set((await registry.verdicts("ours")).values()) == {None}
    async with open_registry(strict, name="test", installation="ours"):
        pass


async def _log_in(registry: Registry, device: DeviceId | None) -> None:
    await registry.users.register(
        UserId("ada"), device=device, name="laptop", session=SessionHash("s"), identity="identity"
    )


QUESTIONS: dict[str, Callable[[Registry], Awaitable[object]]] = {
    "a new user": lambda registry: _log_in(registry, None),
    "a device that was there": lambda registry: _log_in(registry, DeviceId("d")),
    "a session that was there": lambda registry: registry.sessions.find(SessionHash("s")),
    "the session of an open connection": lambda registry: registry.sessions.live([SessionHash("s")]),
}


@pytest.mark.parametrize("question", QUESTIONS)
async def test_who_finds_nothing_looks_for_the_marker_at_once(own_redis: RedisProcess, question: str) -> None:
    config = replace(Config(), redis=Redis(url=own_redis.url))
    async with open_registry(config, name="test", installation="ours") as registry:
        own_redis.ask("FLUSHALL")
        with pytest.raises(StoreUnavailable, match="was emptied"):
            await QUESTIONS[question](registry)


async def test_a_redis_that_comes_back_empty_is_not_even_connected(
    own_redis: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "MARKER_SECONDS", 1000)  # nobody looks but who connects
    config = replace(Config(), redis=Redis(url=own_redis.url))
    async with open_registry(config, name="test", installation="ours") as registry:
        lose_the_disk(own_redis)

        async def refused() -> bool:
            return "was emptied" in "".join(map(str, registry.link.why_not()))

        await eventually(refused)
        assert not registry.connected
