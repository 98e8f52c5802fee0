"""The router role: takes jobs from the streams and has a strategy bring them to socket servers.

Owns: the consumer's life: taking, age limits, hand-over, taking over from dead routers.
Promises: a job is tried at most twice; TTL 0 is acknowledged before it is delivered, so at most once, and dropped when
its moment has passed; a job older than one reconcile is dropped, for reconcile has covered it.
Must not know: how a strategy reaches servers; what events say.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import trio

from pushctl.config.model import Config
from pushctl.errors import StoreUnavailable
from pushctl.identity.keys import installation_of
from pushctl.ids import new_id
from pushctl.log import get_logger
from pushctl.metrics import Metrics
from pushctl.protocol.jobs import Ephemeral, Job, JobInvalid, decode_job
from pushctl.registry import Registry, open_registry
from pushctl.registry.jobs import Taken
from pushctl.routing import open_strategy
from pushctl.routing.strategy import Strategy
from pushctl.runtime import Ready
from pushctl.stages import Stage

TAKE_OVER_SECONDS = 5.0
PAUSE_SECONDS = 0.2
"""After Redis refused or went away, before the next attempt."""


class RouterRole:
    name = "router"
    label = "router"

    def __init__(self, config: Config) -> None:
        self._config = config
        self.admin_listen = config.router.admin_listen
        self.drain_seconds = config.router.drain_seconds
        self.metrics = Metrics("router")
        self._consumer = f"router-{new_id()}"
        self._log = get_logger(role="router", consumer=self._consumer)
        self._registry: Registry | None = None
        self._draining = trio.Event()
        self._idle = trio.Event()
        self._waits: set[trio.CancelScope] = set()

    async def serve(self, *, task_status: trio.TaskStatus[Ready]) -> None:
        async with (
            open_registry(
                self._config, name="router", installation=installation_of(self._config.identity.keys_file)
            ) as registry,
            open_strategy(self._config, registry, self._consumer) as strategy,
            trio.open_nursery() as nursery,
        ):
            self._registry = registry
            partitions = range(registry.jobs.partitions)
            for partition in partitions:
                await self._join(registry, partition)
            task_status.started(Ready("router", self.label, None, None))
            async with trio.open_nursery() as readers:
                for partition in partitions:
                    # Each on its own: a master that is away holds up its own partition and no other.
                    nursery.start_soon(self._take_over, registry, strategy, partition)
                    readers.start_soon(self._work, registry, strategy, partition)
            self._idle.set()
            nursery.cancel_scope.cancel()

    async def _join(self, registry: Registry, partition: int) -> None:
        try:
            await registry.jobs.join(self._consumer, partition)
        except StoreUnavailable as error:
            self._log.warning("router_waits", partition=partition, detail=error.detail)

    async def drain(self) -> None:
        """Finish the batch at hand and take no more; what is in the streams is other routers' work."""
        self._draining.set()
        for wait in self._waits:
            wait.cancel()
        await self._idle.wait()

    async def not_ready(self) -> list[str]:
        return await self._registry.check() if self._registry else ["it is starting"]

    async def _work(self, registry: Registry, strategy: Strategy, partition: int) -> None:
        """Read and deliver until told to drain; a lost connection is built anew."""
        while not self._draining.is_set():
            try:
                await self._read(registry, strategy, partition)
            except StoreUnavailable as error:
                self._log.warning("router_waits", partition=partition, detail=error.detail)
                await trio.sleep(PAUSE_SECONDS)
        try:
            await registry.jobs.leave(self._consumer, partition)
        except StoreUnavailable as error:
            self._log.warning("router_left_without_goodbye", partition=partition, detail=error.detail)

    async def _read(self, registry: Registry, strategy: Strategy, partition: int) -> None:
        with self._until_draining():
            await registry.jobs.wait_connected(partition)
        reader = await registry.jobs.reader(self._consumer, partition)
        try:
            while not self._draining.is_set():
                # The reader's connection may be back before the link is: what it takes now could not be delivered.
                with self._until_draining():
                    await registry.jobs.wait_connected(partition)
                taken = await reader.take(self._config.router.batch)
                if taken is None:
                    await registry.jobs.join(self._consumer, partition)
                elif taken:
                    await self._deliver(registry, strategy, taken)
        finally:
            with trio.CancelScope(shield=True):
                await reader.aclose()

    @contextmanager
    def _until_draining(self) -> Iterator[None]:
        """A wait that a drain ends: a master may be away for long."""
        with trio.CancelScope() as scope:
            self._waits.add(scope)
            try:
                yield
            finally:
                self._waits.discard(scope)

    async def _take_over(self, registry: Registry, strategy: Strategy, partition: int) -> None:
        """Jobs that a router took and did not hand over are ours, once; at the second time they are dropped."""
        while True:
            await trio.sleep(TAKE_OVER_SECONDS)
            try:
                again, hopeless = await registry.jobs.take_over(self._consumer, partition, self._config.router.batch)
                await self._hand_over(registry, hopeless)
                self.metrics.jobs.labels("given_up").inc(len(hopeless))
                if again:
                    await self._deliver(registry, strategy, again)
            except StoreUnavailable as error:
                self._log.warning("take_over_failed", partition=partition, detail=error.detail)

    async def _deliver(self, registry: Registry, strategy: Strategy, taken: Sequence[Taken]) -> None:
        """Jobs of one partition."""
        now_ms = await registry.jobs.now_ms(taken[0].partition)
        oldest_ms = now_ms - int(self._config.socket.reconcile_seconds * 1000)
        ephemeral: list[Taken] = []
        lasting: list[Taken] = []
        jobs: list[Job] = []
        for item in taken:
            try:
                job = decode_job(item.payload)
            except JobInvalid as error:
                self._log.error("job_invalid", error=str(error))
                lasting.append(item)
                continue
            (ephemeral if isinstance(job, Ephemeral) else lasting).append(item)
            too_late = job.until_ms < now_ms if isinstance(job, Ephemeral) else item.written_ms < oldest_ms
            if too_late:
                self.metrics.jobs.labels("too_late").inc()
            else:
                jobs.append(job)
        # At most once: whoever dies between the two steps has delivered nothing.
        await self._hand_over(registry, ephemeral)
        if jobs:
            delivered = await strategy.deliver(jobs)
            self.metrics.stage(Stage.ROUTED, len(jobs) - delivered.nobody)
            self.metrics.jobs.labels("nobody").inc(delivered.nobody)
            self.metrics.jobs.labels("pruned").inc(delivered.pruned)
            self.metrics.jobs.labels("unheard").inc(delivered.unheard)
            self.metrics.jobs.labels("detoured").inc(delivered.detoured)
            self._log.debug(Stage.ROUTED, jobs=len(jobs), hints=delivered.hints, nobody=delivered.nobody)
        await self._hand_over(registry, lasting)

    async def _hand_over(self, registry: Registry, done: Sequence[Taken]) -> None:
        if done:
            await registry.jobs.hand_over(done[0].partition, [item.id for item in done])
        self.metrics.jobs.labels("handed_over").inc(len(done))
