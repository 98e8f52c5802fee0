"""One socket server, one sender and one router, all real but for the router's loop: the test says when a job is routed.

Owns: whose job and whose hint is whose, so that many users can be played at once on one Redis. Reconcile is an hour
away: what these tests see was brought by hints and by reads of the log alone.
"""

import math
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Generic, TypeVar

import trio

from pushctl.config.model import Config
from pushctl.identity.keys import Keys
from pushctl.identity.peers import PeerKeys
from pushctl.identity.sealing import Sealer
from pushctl.ids import UserId
from pushctl.inbox import Inbox
from pushctl.protocol.jobs import Batch, Job, decode_job
from pushctl.registry import Registry, open_registry
from pushctl.routing import open_strategy
from pushctl.routing.strategy import Strategy
from pushctl.testing.service import for_tests
from roles.socket.serve import SocketRole

CONSUMER = "the-scheduler"
AN_HOUR = 3600
PATIENCE_SECONDS = 30
"""What is asked waits behind what all other orders ask, on a machine that may be busy."""
SERVERS = 2

T = TypeVar("T")


class Boxes(Generic[T]):
    """A queue per name."""

    def __init__(self) -> None:
        self._queues: dict[str, tuple[trio.MemorySendChannel[T], trio.MemoryReceiveChannel[T]]] = defaultdict(
            lambda: trio.open_memory_channel[T](math.inf)
        )

    def put(self, name: str, item: T) -> None:
        self._queues[name][0].send_nowait(item)

    async def take(self, name: str) -> T:
        return await self._queues[name][1].receive()


class Server(SocketRole):
    """A socket server whose channel was read, and whose hub hears of it when the test says so."""

    def __init__(self, config: Config, arrived: "Boxes[tuple[Server, Batch]]") -> None:
        super().__init__(config)
        self._arrived = arrived

    def _hear(self, batch: Batch) -> None:
        self._arrived.put(batch.jobs[0].user, (self, batch))

    def hear_now(self, batch: Batch) -> None:
        super()._hear(batch)


class Scene:
    def __init__(self, registry: Registry, sealer: Sealer, strategy: Strategy, *, broadcasts: bool) -> None:
        self.registry = registry
        self._sealer = sealer
        self._strategy = strategy
        self._broadcasts = broadcasts
        self._jobs: Boxes[Job] = Boxes()
        self._arrived: Boxes[tuple[Server, Batch]] = Boxes()

    def inbox(self, kind: type[Inbox] = Inbox) -> Inbox:
        """A sender's, with nothing remembered."""
        return kind(
            self.registry,
            self._sealer,
            "http://api.example",
            count=lambda _stage, _count: None,
            ask_presence=not self._broadcasts,
        )

    async def add_server(self, nursery: trio.Nursery, config: Config, name: str) -> Server:
        server = Server(replace(config, socket=replace(config.socket, id=name)), self._arrived)
        await nursery.start(server.serve)
        return server

    async def take_jobs(self) -> None:
        """Until cancelled: what a router does, but that delivering is left to `route`."""
        await self.registry.jobs.join(CONSUMER, 0)
        reader = await self.registry.jobs.reader(CONSUMER, 0)
        try:
            while True:
                for taken in await reader.take(256) or []:
                    job = decode_job(taken.payload)
                    self._jobs.put(job.user, job)
        finally:
            with trio.CancelScope(shield=True):
                await reader.aclose()

    async def route_unheard(self, user: UserId, changes: int) -> None:
        """Be done with the jobs of so many changes that were made while nobody was connected; most strategies have
        none."""
        for _ in range(changes if self._broadcasts else 0):
            await self.route(user)

    async def route(self, user: UserId) -> None:
        """Take the user's next job, look up who holds the user, tell them."""
        job = await self._jobs.take(user)
        delivered = await self._strategy.deliver([job])
        assert delivered.unheard == 0
        for _ in range(delivered.hints * (SERVERS if self._broadcasts else 1)):
            server, batch = await self._arrived.take(user)
            server.hear_now(batch)


@asynccontextmanager
async def scene(config: Config) -> AsyncIterator[tuple[Scene, list[Server]]]:
    """A scene with two socket servers, s1 and s2."""
    with tempfile.TemporaryDirectory(prefix="pushctl-") as folder:
        config = for_tests(config, Path(folder))
        config = replace(
            config,
            socket=replace(config.socket, reconcile_seconds=AN_HOUR),
            redis=replace(config.redis, timeout_seconds=PATIENCE_SECONDS),
        )
        keys = Keys.needed(config.identity)
        async with (
            open_registry(config, name="test") as registry,
            open_strategy(config, registry, CONSUMER, PeerKeys(keys)) as strategy,
            trio.open_nursery() as nursery,
        ):
            sealer = Sealer(keys)
            played = Scene(registry, sealer, strategy, broadcasts=config.routing.strategy == "broadcast")
            nursery.start_soon(played.take_jobs)
            yield played, [await played.add_server(nursery, config, f"s{n + 1}") for n in range(SERVERS)]
            nursery.cancel_scope.cancel()
