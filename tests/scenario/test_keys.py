"""Keys while a service runs: read again at SIGHUP, shown to other roles, lacking, and the commands that change them."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from pushctl.config.model import Config
from pushctl.errors import Unreachable
from pushctl.identity.keys import Key, Keys, change
from pushctl.registry import Registry, key_holders, open_registry
from pushctl.registry.key_holders import About, Report
from pushctl.rotation import without
from pushctl.runtime import Reloads
from pushctl.testing.service import running
from tests.json_lines import valid_json_lines
from tests.scenario.people import Town, eventually
from tests.scenario.test_strategies import by
from tests.unit.cli.commands import pushctl


@pytest.fixture
async def town(config: Config, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    # How long a new key waits for roles not heard of yet: two reports and a moment, they come every 2 s, ±20 %.
    monkeypatch.setattr(key_holders, "FRESH_MS", 5000)
    async with running(by(config, "rpc"), sockets=1) as service, httpx.AsyncClient(timeout=30) as http:
        yield Town(service, http)


def file_of(town: Town) -> Path:
    return Path(town.service.config.identity.keys_file)


def hang_up(town: Town) -> None:
    for role in town.service.roles.values():
        if isinstance(role, Reloads):
            role.reload()


async def reasons(town: Town, role: str) -> list[str]:
    said = (await town.http.get(f"{town.service.admin[role]}/readyz")).json()
    return [reason["detail"] for reason in said["reasons"]]


async def keys(town: Town, *words: str) -> tuple[int, str, str]:
    """`pushctl keys …`: (exit code, stdout, stderr)."""
    config = town.service.config
    settings = {
        "redis.url": config.redis.url,
        "redis.prefix": config.redis.prefix,
        "identity.keys_file": str(file_of(town)),
    }
    sets = [f"--set={name}={value}" for name, value in settings.items()]
    ran = await pushctl("keys", *words, *sets)
    return ran.code, ran.out, ran.err


async def has_everywhere(town: Town, key_id: str) -> bool:
    async with open_registry(town.service.config, name="test") as registry:
        return all(key_id in holder.known for holder in await registry.key_holders.running())


async def seals_everywhere(town: Town, key_id: str) -> bool:
    async with open_registry(town.service.config, name="test") as registry:
        return {holder.seals_with for holder in await registry.key_holders.running()} == {key_id}


async def test_a_key_is_rotated_and_what_the_old_one_sealed_goes_on(town: Town) -> None:
    old = Keys.load(file_of(town)).sealing_keys[0].id
    ada = await town.login("ada")
    first = await ada.allow("https://one.example")
    message = (await town.push(first["url"], {"body": "1"})).headers["Location"]
    code, out, said = await keys(town, "rotate", "sealing")
    assert (code, "--continue" in said) == (0, True)
    new = out.strip()
    code, _, said = await keys(town, "rotate", "sealing", "--continue")
    assert code == 3
    assert all(f"{role}@" in said for role in ("api api", "socket s1"))
    hang_up(town)
    await eventually(lambda: has_everywhere(town, new))
    assert (await keys(town, "rotate", "sealing", "--continue"))[0] == 0
    hang_up(town)
    await eventually(lambda: seals_everywhere(town, new))
    second = await ada.allow("https://two.example")
    async with ada.connected() as socket:
        await socket.synced()
        for push_url in (first, second):
            assert (await town.push(push_url["url"], {"body": "2"})).status_code == 201
            await socket.until("message")
    assert (await town.http.get(town.service.api + message)).status_code == 200
    assert {each["url"] for each in (await ada.ask("GET", "/v1/push-urls")).json()["push_urls"]} == {
        first["url"],
        second["url"],
    }
    code, out, _ = await keys(town, "status", "--json", "--count")
    rows = {row["id"]: row for row in valid_json_lines("keys status", out)}
    assert [(rows[key]["state"], rows[key]["push_urls"]) for key in (old, new)] == [("opens", 1), ("seals", 1)]
    assert len(rows[new]["sealing_roles"]) == 3  # api, router and s1
    shown = (await keys(town, "status"))[1]
    assert old in shown
    assert new in shown
    for refused in (old, new):
        assert (await keys(town, "retire", refused))[0] == 3
    code, _, said = await keys(town, "retire", old, "--force")
    assert (code, "it took 1 with it" in said) == (0, True)
    hang_up(town)
    gone = await town.push(first["url"], {"body": "3"})
    assert (gone.status_code, gone.json()["code"]) == (503, "store_unavailable")
    assert (await town.push(second["url"], {"body": "3"})).status_code == 201


async def test_a_file_that_cannot_be_read_again_changes_nothing(town: Town) -> None:
    ada = await town.login("ada")
    push_url = await ada.allow()
    for bad in ("garbage", Keys.generate().text()):
        file_of(town).write_text(bad)
        hang_up(town)
        assert (await town.push(push_url["url"], {"body": "on"})).status_code == 201
    assert await reasons(town, "api") == []


async def test_a_role_that_lacks_a_key_in_use_is_not_ready_until_it_has_it(town: Town) -> None:
    newer = Key.generate()
    keys_now = Keys.load(file_of(town))
    async with open_registry(town.service.config, name="test") as registry:
        await _claim(registry, newer.id)
        for role in ("api", "s1", "router"):

            async def says_so(role: str = role) -> bool:
                return any(f"lack {newer.id}" in reason for reason in await reasons(town, role))

            await eventually(says_so)
        change(file_of(town), lambda keys: keys.with_sealing(*keys.sealing_keys, newer))
        hang_up(town)
        for role in ("api", "s1", "router"):

            async def is_ready(role: str = role) -> bool:
                return await reasons(town, role) == []

            await eventually(is_ready)
    assert without(Keys.load(file_of(town)), newer.id) == keys_now


async def _claim(registry: Registry, key_id: str) -> None:
    """As one that sealed with it while all others were away."""
    about = About("api", "other", "host", 1, "0")
    await registry.link.ask("DEL", registry.users._store.keys.servers("key_holders"))
    await registry.link.ask("HSET", registry.users._store.keys.servers("key_uses"), key_id, "1 1 0")
    await registry.key_holders.report("other", Report([key_id], [key_id], [], []), about)
    await registry.key_holders.leave("other")


async def test_a_role_that_has_drained_keeps_nobody_waiting(config: Config) -> None:
    async with running(by(config, "rpc"), sockets=1) as service, open_registry(service.config, name="test") as registry:
        assert len(await registry.key_holders.running()) == 3
    async with open_registry(service.config, name="test") as registry:
        assert await registry.key_holders.running() == []


async def test_a_role_does_not_start_without_a_key_that_others_use(config: Config) -> None:
    async with open_registry(config, name="test") as registry:
        await _claim(registry, "NEW1")
    with pytest.raises(BaseExceptionGroup) as caught:
        async with running(config, sockets=1):
            pass
    assert caught.group_contains(Unreachable, match="lack what others use by now: NEW1")
