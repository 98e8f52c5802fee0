"""Pushes, acknowledgements and reconnections of browsers in any order: what was acknowledged never comes again, what
was not always does, in order, once on a connection."""

import random
from contextlib import AsyncExitStack

import httpx
import trio

from pushctl.config.model import Config
from pushctl.testing.service import running
from tests.scenario.mozilla_peer import Browser, Talk
from tests.scenario.people import Frame, Town
from tests.scenario.test_mozilla import push, quick

BROWSERS = 8
STEPS = 30


class Play:
    """One browser, and the model of its inbox: what was accepted and not acknowledged, oldest first."""

    def __init__(self, town: Town, seed: int) -> None:
        self._town = town
        self._chance = random.Random(seed)
        self._browser = Browser("")
        self._stack = AsyncExitStack()
        self._socket: Talk
        self._unread: list[str] = []
        self._shown: dict[str, Frame] = {}
        """On this connection: what was not acknowledged, by version."""

    async def run(self) -> None:
        async with self._stack:
            await self._connect()
            endpoint = await self._browser.subscribe(self._socket)
            for _ in range(STEPS):
                match self._chance.choice(["push", "ack", "ack", "reconnect"]):
                    case "push":
                        count = self._chance.randint(1, 4)
                        self._unread += [await push(self._town, endpoint) for _ in range(count)]
                    case "ack":
                        await self._acknowledge()
                    case "reconnect":
                        await self._connect()
                await self._catch_up()

    async def _connect(self) -> None:
        """Anywhere, and often before the other connection is over, or the server has seen that it is."""
        older = self._stack.pop_all()
        if self._chance.random() < 0.5:
            await older.aclose()
        uaid = self._browser.uaid
        self._browser.url = self._chance.choice(list(self._town.service.sockets.values()))
        self._socket = await self._stack.enter_async_context(self._browser.connected())
        await older.aclose()
        assert uaid in (None, self._browser.uaid)
        self._shown.clear()

    async def _catch_up(self) -> None:
        """All that is due comes, oldest first, and nothing else."""
        for version in [version for version in self._unread if version not in self._shown]:
            notification = await self._socket.notification()
            assert notification["version"] == version
            self._shown[version] = notification
        before = len(self._socket.frames)
        await self._socket.ping()
        assert self._socket.frames[before:] == [{}]

    async def _acknowledge(self) -> None:
        chosen = [version for version in self._shown if self._chance.random() < 0.4]
        if self._chance.random() < 0.7:
            await self._socket.ack(*[self._shown.pop(version) for version in chosen])
        else:  # one frame each, as Firefox does it, in another order
            for version in reversed(chosen):
                await self._socket.ack(self._shown.pop(version), code=self._chance.choice([100, 101, 102]))
        self._unread = [version for version in self._unread if version not in chosen]
        await self._socket.ping()  # a frame on its way is lost with its connection


async def test_in_any_order_what_was_acknowledged_never_comes_again_and_the_rest_always_does(config: Config) -> None:
    seeds = [random.randrange(10**6) for _ in range(BROWSERS)]
    print(f"seeds: {seeds}")
    async with running(quick(config)) as service, httpx.AsyncClient(timeout=30) as http:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for seed in seeds:
                    nursery.start_soon(Play(Town(service, http), seed).run)
