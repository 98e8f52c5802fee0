"""Broadcasts from `pushctl broadcast` to the browsers that listen, on a real service."""

import pytest
import trio

from pushctl.config.model import Config
from pushctl.registry import Registry
from pushctl.registry.broadcasts import MAX_BROADCASTS, Broadcasts
from pushctl.testing.service import running
from tests.conftest import ON_BOTH
from tests.scenario.mozilla_peer import Browser, Talk
from tests.scenario.people import Town
from tests.unit.cli.commands import Ran, pushctl

pytestmark = ON_BOTH


async def broadcast(town: Town, *arguments: str) -> Ran:
    redis = town.service.config.redis
    return await pushctl(
        "broadcast", *arguments, "--set", f"redis.url={redis.url}", "--set", f"redis.prefix={redis.prefix}"
    )


async def heard(socket: Talk) -> object:
    return (await socket.reply("broadcast"))["broadcasts"]


async def test_connected_browsers_learn_a_new_version_at_once_and_others_with_their_hello(town: Town) -> None:
    browsers = [Browser(url) for url in town.service.sockets.values()]
    async with (
        browsers[0].connected(broadcasts={"remote-settings/monitor_changes": '"0"'}) as one,
        browsers[1].connected() as two,
        Browser(browsers[0].url).connected() as deaf,
    ):
        await two.send({"messageType": "broadcast_subscribe", "broadcasts": {"remote-settings/monitor_changes": ""}})
        assert await heard(two) == {"errors": {"remote-settings/monitor_changes": "Broadcast not found"}}
        for name in town.service.sockets:  # nothing but the hint brings it
            town.service.roles[name].heart.stop_beating()  # type: ignore[attr-defined]  # the socket role's
        done = await broadcast(town, "remote-settings/monitor_changes", '"1763900000000"')
        assert (done.code, done.out) == (0, 'remote-settings/monitor_changes is "1763900000000"\n')
        for socket in (one, two):
            assert await heard(socket) == {"remote-settings/monitor_changes": '"1763900000000"'}
        assert await deaf.silent()
        await broadcast(town, "remote-settings/monitor_changes", '"1763900000000"')
        assert await one.silent()
    wanted = {"remote-settings/monitor_changes": '"0"', "nothing": "1"}
    async with browsers[0].connected(broadcasts=wanted) as socket:
        assert socket.frames[0]["broadcasts"] == {
            "remote-settings/monitor_changes": '"1763900000000"',
            "errors": {"nothing": "Broadcast not found"},
        }
    async with browsers[0].connected(broadcasts={"remote-settings/monitor_changes": '"1763900000000"'}) as socket:
        assert socket.frames[0]["broadcasts"] == {}


async def test_a_change_whose_hint_is_lost_comes_with_a_heartbeat(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def says_nothing(_self: Broadcasts) -> None:
        await trio.lowlevel.checkpoint()

    async with (
        running(config, sockets=1) as service,
        Browser(service.sockets["s1"]).connected(broadcasts={"news": "1"}) as socket,
    ):
        registry: Registry = service.roles["s1"].registry  # type: ignore[attr-defined]
        monkeypatch.setattr(Broadcasts, "_tell", says_nothing)
        assert await registry.broadcasts.set("news", "2")
        assert await heard(socket) == {"news": "2"}


async def test_an_operator_lists_and_removes_them_and_there_are_not_too_many(town: Town) -> None:
    registry: Registry = town.service.roles["s1"].registry  # type: ignore[attr-defined]
    await broadcast(town, "b", "2")
    await broadcast(town, "a", "1")
    assert (await broadcast(town, "--list")).out == "a  1\nb  2\n"
    assert (await broadcast(town, "--list", "--json")).lines == [
        {"id": "a", "version": "1"},
        {"id": "b", "version": "2"},
    ]
    assert (await broadcast(town, "a", "1")).out == "a is 1 already\n"
    assert (await broadcast(town, "a", "--remove")).out == "a is removed\n"
    gone = await broadcast(town, "a", "--remove")
    assert (gone.code, gone.out) == (1, "")
    for n in range(MAX_BROADCASTS - 1):
        await registry.broadcasts.set(f"n{n}", "1")
    assert (await broadcast(town, "one-more", "1")).code == 1
    assert (await broadcast(town, "b", "3")).code == 0
