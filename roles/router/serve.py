"""The router role: takes jobs from the streams and has a strategy bring them to socket servers.

Owns: the role's life: one consumer that works on every partition, until told to drain.
Promises: a drain finishes what was taken and takes no more; what is in the streams is other routers' work.
Must not know: what becomes of a job (partition.py); how a strategy reaches servers.
"""

from contextlib import AbstractAsyncContextManager, nullcontext

import trio

from pushctl.attendance import Attendance
from pushctl.config.model import Config
from pushctl.health import Health
from pushctl.identity.keys import installation_of
from pushctl.ids import new_id
from pushctl.keyring import KeyRing
from pushctl.metrics import RouterMetrics
from pushctl.reasons import STARTING, Reason
from pushctl.registry import Registry, open_registry
from pushctl.routing import open_strategy
from pushctl.runtime import Ready
from pushctl.traces import open_traces
from roles.router.partition import Partition


class RouterRole:
    name = "router"
    label = "router"

    def __init__(self, config: Config) -> None:
        self._config = config
        self.admin_listen = config.router.admin_listen
        self.drain_seconds = config.router.drain_seconds
        self.metrics = RouterMetrics(config.routing.strategy)
        self.metrics.backlog_limit.set(config.routing.max_jobs)
        self.metrics.backlog_bytes_limit.set(config.routing.max_job_bytes)
        self.health = Health(config)
        self.traces = open_traces(config, "router", self.label, self.metrics.traces.ended)
        self._partitions: list[Partition] = []
        self._consumer = f"{config.routing.strategy}-{new_id()}"
        """Begins with the strategy: `pushctl stats` shows what each router runs."""
        rpc = config.routing.strategy == "rpc"
        self._ring = KeyRing(config.identity, "router", self._consumer) if rpc else None
        if self._ring is not None and self.metrics.keys is not None:
            self.metrics.keys.look(self._ring.states, self._ring.lacking)
        self._attendance = Attendance(
            "router",
            self._consumer,
            counts=self.metrics.counts,
            late=self.health.liveness.latest_seconds,
            not_ready=self.not_ready,
        )
        self._registry: Registry | None = None
        self._draining = trio.Event()
        self._idle = trio.Event()

    async def serve(self, *, task_status: trio.TaskStatus[Ready]) -> None:
        async with (
            open_registry(
                self._config,
                name="router",
                installation=installation_of(self._config.identity),
                liveness=self.health.liveness,
                tally=self.metrics.redis,
            ) as registry,
            self._keys_shown(registry),
            self._attendance.kept(registry),
            open_strategy(
                self._config,
                registry,
                judge=f"router-{self._consumer}",
                peers=self._ring.peers if self._ring else None,
                metrics=self.metrics.rpc,
            ) as strategy,
        ):
            self._registry = registry
            partitions = [self._partition(registry, number) for number in range(registry.jobs.partitions)]
            self._partitions = partitions
            async with trio.open_nursery() as joining:
                for partition in partitions:
                    joining.start_soon(partition.join)
            task_status.started(Ready("router", self.label, None, None))
            async with trio.open_nursery() as work:
                for partition in partitions:
                    self.health.liveness.watch(*partition.loops)
                    work.start_soon(partition.run, strategy)
            self._idle.set()

    def _keys_shown(self, registry: Registry) -> AbstractAsyncContextManager[None]:
        """Only a router that signs calls needs keys."""
        return nullcontext() if self._ring is None else self._ring.shown(registry)

    def reload(self) -> None:
        """See pushctl.runtime.Reloads."""
        if self._ring is not None:
            self._ring.reload()

    def _partition(self, registry: Registry, number: int) -> Partition:
        return Partition(
            number,
            registry.jobs,
            consumer=self._consumer,
            config=self._config,
            metrics=self.metrics,
            draining=self._draining,
            traces=self.traces,
        )

    async def drain(self) -> None:
        """Finish the batch at hand and take no more; what is in the streams is other routers' work."""
        self._draining.set()
        self._attendance.drains()
        await self._idle.wait()
        if self._registry is None:
            return
        if self._ring is not None:
            await self._ring.leave(self._registry)
        await self._attendance.leave(self._registry)

    async def not_ready(self) -> list[Reason]:
        if self._registry is None:
            return [STARTING]
        late = [reason for partition in self._partitions for reason in partition.not_ready()]
        return [*await self._registry.check(), *(self._ring.not_ready() if self._ring else ()), *late]
