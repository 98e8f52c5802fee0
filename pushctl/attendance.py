"""A role says that it runs, every few seconds, so that operators see every process and its age.

Owns: the reports of one role to the registry (registry/processes.py). Promises: costs Redis one short script in three
seconds; without Redis the role does not notice. Socket servers say all this with their heartbeats.
Must not know: what the role does.
"""

import os
import platform
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import trio

from pushctl import __version__
from pushctl.clock import rfc3339, system_clock
from pushctl.errors import StoreUnavailable
from pushctl.ids import new_id
from pushctl.load import LoadMeter
from pushctl.log import get_logger
from pushctl.reasons import Reason
from pushctl.registry import Registry
from pushctl.registry.processes import REPORT_SECONDS, ProcessRow, ProcessState

HURRIED_SECONDS = 0.5
"""Until the next report of a role that is not ready: it may only be starting, and who watches a start wants to know."""

MAX_WHY = 300
"""Characters of why a role is not ready."""


class Attendance:
    def __init__(
        self,
        role: str,
        label: str,
        *,
        counts: Callable[[], Mapping[str, int]],
        late: Callable[[], float],
        not_ready: Callable[[], Awaitable[Sequence[Reason]]],
    ) -> None:
        """`counts`, `late`: see LoadMeter; `not_ready`: see Role."""
        self._id = f"{role}-{new_id()}"
        self._role, self._label = role, label
        self._started_at = rfc3339(system_clock())
        self._meter = LoadMeter(counts, late)
        self._not_ready = not_ready
        self._draining = False
        self._changed = trio.Event()
        self._reporting = trio.CancelScope()
        self._log = get_logger(role=role)

    @asynccontextmanager
    async def kept(self, registry: Registry) -> AsyncIterator[None]:
        """Report while the block lasts."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._meter.run)
            nursery.start_soon(self._keep_reporting, registry)
            yield
            nursery.cancel_scope.cancel()

    def drains(self) -> None:
        self._draining = True
        self._changed.set()

    async def leave(self, registry: Registry) -> None:
        """The role has drained: what is not seen any more is not missed."""
        self._reporting.cancel()
        with suppress(StoreUnavailable):
            await registry.processes.leave(self._id)

    async def _keep_reporting(self, registry: Registry) -> None:
        with self._reporting:
            while True:
                row = await self._row()
                try:
                    await registry.processes.report(self._id, row)
                except StoreUnavailable as error:
                    self._log.debug("attendance_missed", detail=error.detail)
                pause = HURRIED_SECONDS if row.state == "not_ready" else REPORT_SECONDS
                with trio.move_on_after(pause * random.uniform(0.8, 1.2)):  # noqa: S311 - jitter is no secret
                    await self._changed.wait()
                self._changed = trio.Event()

    async def _row(self) -> ProcessRow:
        reasons = [] if self._draining else await self._not_ready()
        state: ProcessState = "draining" if self._draining else "not_ready" if reasons else "ready"
        return ProcessRow(
            role=self._role,
            label=self._label,
            host=platform.node(),
            pid=os.getpid(),
            version=__version__,
            started_at=self._started_at,
            state=state,
            why="; ".join(map(str, reasons))[:MAX_WHY],
            load=self._meter.load(),
            clock_ms=system_clock(),
        )
