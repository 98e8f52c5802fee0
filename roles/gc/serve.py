"""The gc role: rounds of sweeps.py at a steady pace, shared between several daemons.

Owns: the pace. Promises: bounded work per tick; an outage of Redis stops nothing for good.
Must not know: what a sweep does.
"""

import random

import trio

from pushctl.config.model import Config
from pushctl.errors import StoreUnavailable
from pushctl.identity.keys import installation_of
from pushctl.log import get_logger
from pushctl.metrics import Metrics
from pushctl.registry import Registry, open_registry
from pushctl.runtime import Ready
from pushctl.stages import Stage
from roles.gc import sweeps


class GcRole:
    name = "gc"
    label = "gc"

    def __init__(self, config: Config) -> None:
        self._config = config
        self.admin_listen = config.gc.admin_listen
        self.drain_seconds = config.gc.drain_seconds
        self.metrics = Metrics("gc")
        self._log = get_logger(role="gc")
        self._registry: Registry | None = None
        self._draining = trio.Event()
        self._done = trio.Event()

    async def serve(self, *, task_status: trio.TaskStatus[Ready]) -> None:
        async with open_registry(
            self._config, name="gc", installation=installation_of(self._config.identity.keys_file)
        ) as registry:
            self._registry = registry
            task_status.started(Ready("gc", self.label, None, None))
            while not self._draining.is_set():
                try:
                    await self._tick(registry)
                except StoreUnavailable as error:
                    self._log.warning("tick_missed", detail=error.detail)
                pause = self._config.gc.tick_seconds * random.uniform(0.8, 1.2)  # noqa: S311 - jitter is no secret
                with trio.move_on_after(pause):
                    await self._draining.wait()
            self._done.set()

    async def drain(self) -> None:
        """Finish the tick at hand."""
        self._draining.set()
        await self._done.wait()

    async def not_ready(self) -> list[str]:
        return await self._registry.check() if self._registry else ["it is starting"]

    async def _tick(self, registry: Registry) -> None:
        gc = self._config.gc
        swept = await sweeps.sweep(registry, limit=gc.batch)
        self._note(swept)
        if await registry.index.take_turn("census", int(gc.census_seconds * 1000)):
            await registry.servers.bury()
            await sweeps.take_census(registry)

    def _note(self, swept: sweeps.Swept) -> None:
        self.metrics.stage(Stage.EXPIRED, swept.messages)
        self.metrics.gc_removed.labels("message").inc(swept.messages)
        if swept.users:
            self._log.info("swept", users=swept.users, messages=swept.messages, backlog=swept.backlog)


async def run_once(config: Config) -> sweeps.Swept:
    """Sweep until nothing is due, count, and return what was done: for cron."""
    async with open_registry(
        config, name="gc-once", installation=installation_of(config.identity.keys_file)
    ) as registry:
        total = sweeps.Swept()
        while True:
            swept = await sweeps.sweep(registry, limit=config.gc.batch)
            total = sweeps.Swept(total.users + swept.users, total.messages + swept.messages, swept.backlog)
            if not swept.users:
                break
        await registry.servers.bury()
        await sweeps.take_census(registry)
        return total
