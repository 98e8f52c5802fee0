"""The service as a user of Redis with the rights of docs/operations.md, "A user for the service", and no others."""

from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import redis
import trio

from pushctl.checkup import examine_redis
from pushctl.config.model import Config
from pushctl.config.model import Redis as Settings
from pushctl.inbox.accounts import Accounts
from pushctl.overview import gather
from pushctl.registry import open_registry
from pushctl.testing.service import running
from roles.gc import run_once
from tests.conftest import RedisProcess
from tests.house.markdown import Document
from tests.scenario.mozilla_peer import Browser
from tests.scenario.people import Town, eventually
from tests.scenario.test_mozilla import everybody, push

OPERATIONS = Document(Path(__file__).parents[2] / "docs" / "operations.md")


@pytest.fixture(autouse=True, params=["wheel", pytest.param("debian", marks=pytest.mark.debian)])
def _server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the wheel's server (6.2) and on Debian's (7)."""
    if request.param == "debian":
        monkeypatch.setenv("PUSHCTL_REDIS_SERVER", "/usr/bin/redis-server")


@pytest.fixture
def admin(own_redis: RedisProcess) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(own_redis.path), decode_responses=True)


@pytest.fixture
def config(own_redis: RedisProcess, admin: redis.Redis) -> Config:
    """As the documented user, under the documented prefix."""
    (command,) = [block for block in OPERATIONS.blocks("text") if block.startswith("ACL SETUSER")]
    admin.execute_command(*command.split())  # type: ignore[no-untyped-call]
    url = f"unix://push:secret@{own_redis.path}"
    return replace(Config(), redis=Settings(url=url, prefix="pushctl", connect_seconds=5))


async def forget_the_browser(town: Town) -> None:
    """As gc does, once it is not connected any more."""
    async with open_registry(town.service.config, name="test") as registry:
        accounts = Accounts(registry, town.service.config)

        async def one_went() -> bool:
            return any([await accounts.forget_browser(user, 0) async for user in everybody(town)])

        await eventually(one_went)


def denied(admin: redis.Redis) -> list[str]:
    """What the user was refused, by command, key or channel."""
    log = admin.acl_log()
    assert isinstance(log, list)
    return [f"{row['reason']} {row['object']}" for row in log]


async def test_the_documented_rights_are_enough_for_all_that_the_service_does(
    config: Config, admin: redis.Redis
) -> None:
    with trio.fail_after(60):
        async with running(config) as service, httpx.AsyncClient() as http:
            town = Town(service, http)
            ada = await town.login("ada")
            push_url = await ada.allow()
            async with ada.connected("s1") as socket:
                await socket.synced()
                await town.push(push_url["url"], {"body": "one"}, Topic="t")
                await town.push(push_url["url"], {"body": "two"}, Topic="t")
                shown = await socket.until("message")
                await socket.send({"type": "ack", "cursor": shown["cursor"]})
                await socket.send({"type": "read", "ids": [shown["message"]["id"]]})
            await ada.ask("DELETE", f"/v1/push-urls/{push_url['id']}")
            browser = Browser(service.sockets["s1"])
            async with browser.connected(broadcasts={"news": "1"}) as firefox:
                await push(town, await browser.subscribe(firefox))
                await firefox.ack(await firefox.notification())
                for channel in browser.endpoints:
                    await firefox.unregister(channel)
                async with open_registry(service.config, name="broadcast") as registry:
                    await registry.broadcasts.set("news", "2")
                await firefox.reply("broadcast")
            await forget_the_browser(town)
            await run_once(service.config)
            assert (await ada.ask("DELETE", "/v1/account")).status_code == 204
            async with open_registry(service.config, name="test") as registry:
                await gather(registry, service.config)
                admin.config_set("appendfsync", "everysec")  # what nobody waits for here, and doctor asks for
                findings = await examine_redis(registry, service.config)
    assert {finding.verdict for finding in findings} == {"ok"}
    assert denied(admin) == []


@pytest.mark.parametrize(
    "command",
    [
        ("GET", "other:key"),
        ("FLUSHALL",),
        ("KEYS", "*"),
        ("CONFIG", "SET", "maxmemory", "1"),
        ("PUBLISH", "other:channel", "x"),
        ("EVAL", "return redis.call('SET', KEYS[1], '1')", "1", "other:key"),
    ],
    ids=lambda command: command[0],
)
async def test_and_not_for_anything_else(
    config: Config, own_redis: RedisProcess, admin: redis.Redis, command: tuple[str, ...]
) -> None:
    with redis.Redis(unix_socket_path=str(own_redis.path), username="push", password="secret") as user:
        assert user.set("pushctl:key", "value")
        with pytest.raises(redis.exceptions.ResponseError, match=r"permission|ACL"):
            user.execute_command(*command)
    assert denied(admin) != []
