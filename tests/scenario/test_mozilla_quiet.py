"""What browsers leave behind, and what is never said of them."""

from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
import trio

from pushctl.config.model import Config
from pushctl.testing.service import running
from roles.socket import browser as browser_module
from tests.faults.socket_process import socket_process
from tests.scenario.mozilla_peer import Browser, talk
from tests.scenario.people import Town, eventually
from tests.scenario.test_inspect import inspect, report
from tests.scenario.test_mozilla import everybody, push
from tests.unit.cli.commands import pushctl


async def keys(town: Town) -> set[bytes]:
    """All there are, but for what roles themselves keep."""
    prefix = town.service.config.redis.prefix
    replies = await town.service.roles["s1"].registry.link.ask_masters("KEYS", f"{prefix}:*")  # type: ignore[attr-defined]
    return {key for reply in replies.values() for key in reply if b"{u:" in key or b":identity:" in key}


async def test_hellos_without_a_register_leave_no_key_behind(town: Town) -> None:
    url = town.service.sockets["s1"]
    async with trio.open_nursery() as nursery:
        limit = trio.CapacityLimiter(20)

        async def greet(uaid: str | None) -> None:
            async with limit, talk(url) as socket:
                await socket.hello(uaid)
                await socket.send({"messageType": "broadcast_subscribe", "broadcasts": {"a": "1"}})

        for n in range(200):
            nursery.start_soon(greet, None if n % 2 else f"{n:032x}")
    assert await keys(town) == set()


async def test_a_browser_that_was_just_given_a_uaid_is_not_dropped_in_the_same_breath(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Firefox' own state machine stops for good if it is."""
    monkeypatch.setattr(browser_module, "SETTLE_SECONDS", 0.5)
    role = town.service.roles["s1"]
    async with talk(town.service.sockets["s1"]) as socket:
        asked = trio.current_time()  # the breath begins after this, and before we have the answer
        await socket.hello()
        for connection in role.hub:  # type: ignore[attr-defined]
            connection.drain(0)
        assert await socket.close_code() == 1001
        assert trio.current_time() - asked >= 0.5


async def test_a_drain_sends_browsers_away_and_they_come_back_elsewhere_to_what_waits(town: Town) -> None:
    browser = Browser(town.service.sockets["s1"])
    async with browser.connected() as socket:
        endpoint = await browser.subscribe(socket)
        uaid = browser.uaid
        settings = [f"redis.{name}={getattr(town.service.config.redis, name)}" for name in ("url", "prefix")]
        sets = [part for each in settings for part in ("--set", each)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pushctl, "drain", "s1", "--over", "1s", "--by", "test", *sets)
            assert await socket.close_code() == 1001
    message_id = await push(town, endpoint)
    browser.url = town.service.sockets["s2"]
    async with browser.connected() as socket:
        assert browser.uaid == uaid
        assert (await socket.notification())["version"] == message_id


@pytest.mark.slow
async def test_no_uaid_stands_in_anything_that_is_said(config: Config, tmp_path: Path) -> None:
    more = {"socket.browser_ping_seconds": 0, "log.level": "debug"}
    async with running(config, sockets=1) as service, httpx.AsyncClient() as http:
        town = Town(service, http)
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(socket_process(service.config, "s9", tmp_path, more=more))
            browser = Browser(server.url)
            async with browser.connected() as socket:
                endpoint = await browser.subscribe(socket)
                await push(town, endpoint)
                await socket.ack(await socket.notification())
                await socket.ping()
            for frames in (["{}", "{}"], ["nonsense"]):
                async with browser.connected() as socket:
                    for frame in frames:
                        await socket.send(frame)
            assert browser.uaid is not None
            (user,) = [user async for user in everybody(town)]

            async def has_said() -> bool:
                return server.said.count('"disconnected"') == 3

            await eventually(has_said)
            said = server.said
        for what in (("user", user), ("push-url", endpoint), ("user", browser.uaid)):
            shown = await inspect(town, *what)
            said += shown.out + shown.err.replace(f"user {browser.uaid}", "")
        assert user in said
        assert browser.uaid not in said


async def test_an_operator_sees_a_browser_for_what_it_is(town: Town) -> None:
    browser = Browser(town.service.sockets["s1"])
    async with browser.connected() as socket:
        endpoint = await browser.subscribe(socket)
        taken, waiting = await push(town, endpoint), await push(town, endpoint)
        await socket.ack((await socket.notifications(2))[0])
        await socket.ping()
        (user,) = [user async for user in everybody(town)]
        (device,) = (await report(town, "user", user))["devices"]
        assert (device["next_sync"], device["behind_unread"], device["sessions"]) == ("unread", 1, 0)
        assert device["why"] == "browser has 1 unread message to come: connected to s1 (generation 1)"
        for message_id, words in (
            (taken, "the browser it was for acknowledged it, and it went"),
            (waiting, "no device has acknowledged it"),
        ):
            about = await report(town, "message", message_id)
            assert words in about["why"][0]
        assert about["devices"][0]["status"] == "waiting"
        assert "it comes with every connection until it is" in about["devices"][0]["why"]
