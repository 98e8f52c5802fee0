"""Browsers (push-notification) through faults: an acknowledged message never comes again, any other always does, and a
UAID is replaced only on proof."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import trio

from pushctl.config.model import Config, Redis
from pushctl.identity.keys import Keys
from pushctl.registry import open_registry
from pushctl.testing.service import running
from tests.conftest import RedisProcess
from tests.faults.socket_process import socket_process
from tests.scenario.mozilla_peer import Browser, Talk, never_answered
from tests.scenario.people import Closed, Town, eventually
from tests.scenario.test_mozilla import push, state, status

pytestmark = pytest.mark.slow

QUICK = {"socket.browser_ping_seconds": 0, "socket.reconcile_seconds": 2}


@pytest.fixture
def impatient(own_redis: RedisProcess) -> Config:
    """On a Redis of its own, with deadlines short enough for a test."""
    return replace(
        Config(),
        redis=Redis(url=own_redis.url, connect_seconds=5, timeout_seconds=1),
        socket=replace(Config().socket, reconcile_seconds=2, browser_ping_seconds=0),
    )


@pytest.fixture
async def town(impatient: Config) -> AsyncIterator[Town]:
    async with running(impatient) as service, httpx.AsyncClient(timeout=30) as http:
        yield Town(service, http)


@asynccontextmanager
async def subscribed(town: Town, browser: Browser) -> AsyncIterator[tuple[Talk, str]]:
    async with browser.connected() as socket:
        yield socket, await browser.subscribe(socket)


class Reader:
    """A browser that reads and acknowledges for as long as it can, over however many connections."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.came: list[str] = []
        self.settled: set[str] = set()
        """Acknowledged, and the server answered something that was said after it."""
        self.again: list[str] = []
        """What came although it had been settled."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with suppress(OSError, Closed, BaseExceptionGroup):
                async with self.browser.connected() as socket:
                    await self._read(socket)
            await trio.sleep(0.05)

    async def _read(self, socket: Talk) -> None:
        while True:
            notification = await socket.notification()
            version = notification["version"]
            if version in self.settled:
                self.again.append(version)
            self.came.append(version)
            await socket.ack(notification)
            await socket.send("{}")
            while (frame := await socket.receive()) != {}:
                assert frame["messageType"] == "notification"
                self.came.append(frame["version"])
                self.again += [frame["version"]] if frame["version"] in self.settled else []
                await socket.ack(frame)
            self.settled.add(version)


async def sending(town: Town, endpoint: str, sent: list[str], count: int) -> None:
    """So many messages, each until it is accepted."""
    while len(sent) < count:
        answer = await town.http.post(endpoint, headers={"TTL": "600"})
        assert answer.status_code in (201, 503), answer.text
        if answer.status_code == 201:
            sent.append(answer.headers["Location"].rpartition("/")[2])
        await trio.sleep(0.01)


async def sent_and_read_while(
    disturbed: Callable[[], Awaitable[None]], town: Town, endpoint: str, reader: Reader
) -> list[str]:
    """150 messages, which have all been accepted and read at the end."""
    sent: list[str] = []

    async def all_came() -> bool:
        return len(sent) == 150 and set(reader.came) >= set(sent)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.run)
        nursery.start_soon(sending, town, endpoint, sent, 150)
        await disturbed()
        with trio.fail_after(30):
            await eventually(all_came)
        nursery.cancel_scope.cancel()
    return sent


async def test_a_socket_server_killed_again_and_again_loses_and_repeats_nothing(config: Config, tmp_path: Path) -> None:
    async with running(config, sockets=0) as service, httpx.AsyncClient() as http:
        town = Town(service, http)
        async with socket_process(service.config, "s1", tmp_path, more=QUICK) as server:
            browser = Browser(server.url)
            async with subscribed(town, browser) as (_, endpoint):
                pass
            uaid, reader = browser.uaid, Reader(browser)

            async def killed() -> None:
                for _ in range(3):
                    await trio.sleep(0.6)
                    await server.kill()
                    await server.start()

            sent = await sent_and_read_while(killed, town, endpoint, reader)
            assert reader.again == []
            assert browser.uaid == uaid
            await nothing_waits(town, reader, sent)
            assert uaid is not None
            assert uaid not in server.said


async def nothing_waits(town: Town, reader: Reader, sent: list[str]) -> None:
    """What a browser settled is gone; what it did not comes again."""
    unsettled = [each for each in sent if each not in reader.settled]
    for each in set(sent) & reader.settled:
        assert await state(town, each) == "delivered"
    left = [each for each in unsettled if await state(town, each) == "stored"]
    async with reader.browser.connected() as socket:
        assert [each["version"] for each in await socket.notifications(len(left))] == left


async def test_redis_killed_and_back_loses_and_repeats_nothing(town: Town, own_redis: RedisProcess) -> None:
    browser = Browser(town.service.sockets["s1"])
    async with subscribed(town, browser) as (_, endpoint):
        pass
    uaid, reader = browser.uaid, Reader(browser)

    async def killed() -> None:
        for _ in range(2):
            await trio.sleep(0.7)
            own_redis.kill()
            await trio.sleep(0.3)
            own_redis.start()

    await sent_and_read_while(killed, town, endpoint, reader)
    assert reader.again == []
    assert browser.uaid == uaid


async def test_while_redis_is_away_no_hello_is_answered_and_a_connection_stays(
    town: Town, own_redis: RedisProcess
) -> None:
    browser = Browser(town.service.sockets["s1"])
    async with subscribed(town, browser) as (socket, endpoint):
        first, second = [await push(town, endpoint) for _ in range(2)]
        notifications = await socket.notifications(2)
        with own_redis.frozen():
            await socket.ack(notifications[0])
            for uaid in (browser.uaid, None, "f" * 32):
                assert await never_answered(town.service.sockets["s2"], uaid) == 1013
            assert await socket.silent(1)
        await socket.ping()
        assert await state(town, first) == "delivered"
        uaid = browser.uaid
    async with browser.connected() as socket:
        assert browser.uaid == uaid
        assert (await socket.notification())["version"] == second


async def test_what_was_acknowledged_as_redis_went_away_is_settled_though_the_connection_is_over(
    town: Town, own_redis: RedisProcess
) -> None:
    browser = Browser(town.service.sockets["s1"])
    async with subscribed(town, browser) as (socket, endpoint):
        first, second = [await push(town, endpoint) for _ in range(2)]
        notifications = await socket.notifications(2)
        own_redis.freeze()
        await socket.ack(notifications[0])
        await trio.sleep(0.2)
    await trio.sleep(1)  # until the server has seen that it is gone
    own_redis.thaw()

    async def came() -> bool:
        with suppress(BaseExceptionGroup):
            async with browser.connected() as socket:
                assert (await socket.notification())["version"] == second
                return await socket.silent()
        return False

    await eventually(came)
    assert await state(town, first) == "delivered"


async def test_an_emptied_redis_gives_nobody_a_new_uaid_until_an_operator_says_that_it_is_ours(
    town: Town, own_redis: RedisProcess, impatient: Config
) -> None:
    browser = Browser(town.service.sockets["s1"])
    async with subscribed(town, browser) as (_, endpoint):
        pass
    own_redis.ask("FLUSHALL")
    for uaid in (browser.uaid, None):
        assert await never_answered(browser.url, uaid) == 1013
    assert await status(town, endpoint) == 503
    uaid = browser.uaid
    async with open_registry(impatient, name="doctor") as tool:
        await tool.adopt(Keys.load(Path(town.service.config.identity.keys_file)).installation)

    async def answered() -> bool:
        with suppress(BaseExceptionGroup):
            async with browser.connected():
                return True
        return False

    await eventually(answered)
    assert browser.uaid != uaid


async def test_a_claim_whose_answer_is_lost_leaves_no_lease_and_answers_no_hello(
    town: Town, own_redis: RedisProcess
) -> None:
    browser = Browser(town.service.sockets["s1"])
    async with subscribed(town, browser):
        pass
    own_redis.freeze()
    try:
        assert await never_answered(browser.url, browser.uaid) == 1013
    finally:
        own_redis.thaw()

    async def alone() -> bool:
        with suppress(BaseExceptionGroup):
            async with browser.connected() as socket:
                return await socket.silent(0.5)
        return False

    await eventually(alone)
