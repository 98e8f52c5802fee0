"""The gc role: three loops side by side (sweep, count, repair), shared between several daemons.

Owns: when each comes. Promises: an outage of Redis stops nothing for good; a backlog is worked off without a pause
between rounds, but never more than half of the time (pace.py); the leases of a daemon that stops are free at once.
Must not know: what a sweep, a count or a repair does.
"""

import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext, suppress

import trio

from pushctl.attendance import Attendance
from pushctl.config.model import Config
from pushctl.errors import StoreUnavailable
from pushctl.health import Health
from pushctl.identity.keys import installation_of
from pushctl.ids import new_id
from pushctl.inbox.accounts import Accounts
from pushctl.liveness import Loop
from pushctl.log import get_logger
from pushctl.metrics import GcMetrics
from pushctl.reasons import STARTING, Reason
from pushctl.registry import Registry, open_registry
from pushctl.runtime import Ready
from pushctl.stages import Stage
from roles.gc import sweeps
from roles.gc.census import Done, Idle, take_census
from roles.gc.repair import Repaired, Rounds
from roles.gc.sweeps import Swept


class GcRole:
    name = "gc"
    label = "gc"

    def __init__(self, config: Config) -> None:
        self._config = config
        self.admin_listen = config.gc.admin_listen
        self.drain_seconds = config.gc.drain_seconds
        self.metrics = GcMetrics()
        self.health = Health(config)
        self._sweeping = Loop("the sweep of what has expired")
        self._log = get_logger(role="gc")
        self._daemon = new_id()
        self._attendance = Attendance(
            "gc",
            self._daemon,
            counts=self.metrics.counts,
            late=self.health.liveness.latest_seconds,
            not_ready=self.not_ready,
        )
        self._registry: Registry | None = None
        self._repair_fence: int | None = None
        self._last: dict[int, Swept] = {}
        """What the last visit to each shard left; other daemons' visits since then are not in it."""
        self._draining = trio.Event()
        self._done = trio.Event()

    async def serve(self, *, task_status: trio.TaskStatus[Ready]) -> None:
        installation = installation_of(self._config.identity)
        liveness = self.health.liveness
        async with (
            open_registry(
                self._config, name="gc", installation=installation, tally=self.metrics.redis, liveness=liveness
            ) as registry,
            self._attendance.kept(registry),
        ):
            liveness.watch(self._sweeping)
            async with trio.open_nursery() as nursery:
                self._registry = registry
                task_status.started(Ready("gc", self.label, None, None))
                nursery.start_soon(self._repeat, lambda: self._count(registry))
                if self._config.gc.repair_seconds:
                    rounds = Rounds(registry, self._config.gc.repair_seconds)
                    nursery.start_soon(self._repeat, lambda: self._repair(registry, rounds))
                await self._repeat(lambda: self._sweep(registry), resting=self._sweeping.idle)
                # Counting and repairing may be cut off anywhere; whoever comes next begins them anew.
                nursery.cancel_scope.cancel()
            if self._repair_fence is not None:
                with suppress(StoreUnavailable):
                    await registry.index.give_back_repair(self._repair_fence)
            await self._attendance.leave(registry)
        self._done.set()

    async def drain(self) -> None:
        """Finish the visit at hand and leave."""
        self._draining.set()
        self._attendance.drains()
        await self._done.wait()

    async def not_ready(self) -> list[Reason]:
        return await self._registry.check() if self._registry else [STARTING]

    async def _repeat(
        self, work: Callable[[], Awaitable[bool]], resting: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> None:
        """Until draining: work, and again after a tick, or at once when it says that there is more. `resting`: entered
        between the two, for a tick may be as long as an operator likes."""
        while not self._draining.is_set():
            more = False
            try:
                more = await work()
            except StoreUnavailable as error:
                self.metrics.missed_ticks.inc()
                self._log.warning("tick_missed", detail=error.detail)
            pause = 0.0 if more else self._config.gc.tick_seconds * random.uniform(0.8, 1.2)  # noqa: S311 - only jitter
            with resting(), trio.move_on_after(pause):
                await self._draining.wait()

    async def _sweep(self, registry: Registry) -> bool:
        found = await sweeps.sweep(
            registry,
            self._daemon,
            limit=self._config.gc.batch,
            enough=self._draining.is_set,
            step=self._sweeping.turn,
        )
        self._last |= {shard: swept for shard, swept in found.items() if swept is not None}
        swept, known = sweeps.total(found.values()), sweeps.total(self._last.values())
        self.metrics.backlog.set(known.backlog)
        self.metrics.oldest_due_seconds.set(known.oldest_ms / 1000)
        self.metrics.stage(Stage.EXPIRED, swept.messages)
        self.metrics.removed.labels("message").inc(swept.messages)
        if swept.users:
            self._log.info("swept", users=swept.users, messages=swept.messages, backlog=swept.backlog)
        return swept.backlog > 0

    async def _count(self, registry: Registry) -> bool:
        gc = self._config.gc
        if await registry.index.take_turn("census", int(gc.census_seconds * 1000)):
            self.metrics.removed.labels("server").inc(await registry.servers.bury())
            accounts = Accounts(registry, self._config)
            _, done = await take_census(registry, accounts, Idle.configured(gc))
            self._note(done, Repaired())
        return False

    async def _repair(self, registry: Registry, rounds: Rounds) -> bool:
        """One daemon walks; the others look at every tick whether it still does."""
        self._repair_fence = await registry.index.take_repair(self._daemon)
        if self._repair_fence is None:
            rounds.abandon()
        else:
            self._note(Done(), await rounds.catch_up())
        return False

    def _note(self, done: Done, repaired: Repaired) -> None:
        """Count and log what a count or a repair put right."""
        removed = {
            "device": done.devices,
            "browser": done.browsers,
            "listing": done.unlisted,
            "identity": repaired.strays,
        }
        put_right = {
            "deletion": done.deletions + repaired.deletions,
            "listing": repaired.users,
            "identity": repaired.identities,
            "orphan": repaired.faded,
        }
        for counter, counts in ((self.metrics.removed, removed), (self.metrics.repaired, put_right)):
            for what, count in counts.items():
                counter.labels(what).inc(count)
        if any((*removed.values(), *put_right.values())):
            self._log.info("put_right", removed=removed, repaired=put_right)
