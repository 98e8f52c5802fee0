"""One partition's work: jobs are taken from its stream, delivered by the strategy, handed over.

Owns: a consumer's life in one stream: joining, reading, age limits, hand-over, taking over from dead routers, leaving.
Promises: a job is tried at most twice; TTL 0 is acknowledged before it is delivered, and delivered only by whoever
acknowledged it, so at most once, and dropped when its moment has passed; a job older than one reconcile is dropped, for
reconcile has covered it; nothing is taken any more once a drain has begun.
Must not know: other partitions (a master that is away holds up its own and no other); how a strategy reaches servers.
"""

import math
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack

import msgspec
import trio

from pushctl.config.model import Config
from pushctl.errors import StoreUnavailable
from pushctl.liveness import Loop
from pushctl.log import get_logger
from pushctl.metrics import RouterMetrics
from pushctl.points import Point, passed
from pushctl.protocol.jobs import Appended, Ephemeral, Job, JobInvalid, decode_job
from pushctl.reasons import Code, Reason
from pushctl.registry.jobs import Backlog, HandedOver, Jobs, Taken
from pushctl.routing.strategy import Strategy
from pushctl.stages import Stage
from pushctl.traces import OFF, Traces

TAKE_OVER_SECONDS = 5.0
"""Between two looks for what dead routers left, and at the backlog."""

LATE_SECONDS = 20.0
"""Jobs that wait so long are late: longer than those of a router that died, which others take over."""

GATHER_SECONDS = 0.003
"""Jobs that follow each other this closely are taken together: a read and a hint cost much the same for one as for
many. A job that follows nothing waits for nothing."""

CLOCK_SECONDS = 10.0
"""So long our own pace stands for the time of Redis, after Redis has said it."""

PAUSE_SECONDS = 0.2
"""After Redis refused or went away, before the next attempt."""


class Partition:
    """Join it, then `run` it until `draining` is set and what was taken is handed over."""

    def __init__(
        self,
        number: int,
        jobs: Jobs,
        *,
        consumer: str,
        config: Config,
        metrics: RouterMetrics,
        draining: trio.Event,
        traces: Traces = OFF,
    ) -> None:
        self._number = number
        self._traces = traces
        self._strategy_name = config.routing.strategy
        self._jobs = jobs
        self._consumer = consumer
        self._batch = config.router.batch
        self._keep_ms = int(config.socket.reconcile_seconds * 1000)
        self._metrics = metrics
        self._draining = draining
        self._log = get_logger(role="router", consumer=consumer, partition=number)
        self._asked_at, self._asked_ms = -math.inf, 0
        """When the time of this partition's master was asked for last, and what it said."""
        self._lag_ms = 0
        """Age of the oldest job at the last look."""
        self._reading = Loop(f"the reader of partition {number}")
        self._taking_over = Loop(f"the look for what dead routers left in partition {number}")
        self.loops = (self._reading, self._taking_over)

    async def join(self) -> None:
        """Share the work from now on. Without Redis: as soon as it is there."""
        try:
            await self._jobs.join(self._consumer, self._number)
        except StoreUnavailable as error:
            self._log.warning("router_waits", detail=error.detail)

    async def run(self, strategy: Strategy) -> None:
        """Read and take over side by side, until draining; then leave."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._take_over, strategy)
            nursery.start_soon(self._work, strategy)
        # Only now: whoever still took something would leave it pending under a name that is gone.
        try:
            await self._jobs.leave(self._consumer, self._number)
        except StoreUnavailable as error:
            self._log.warning("router_left_without_goodbye", detail=error.detail)

    # --- taking ------------------------------------------------------------------------------------------------------

    async def _work(self, strategy: Strategy) -> None:
        """A lost connection is built anew."""
        while not self._draining.is_set():
            self._reading.turn()  # trying is a step: a Redis that takes no more connections is no reason to restart
            try:
                await self._read(strategy)
            except StoreUnavailable as error:
                self._log.warning("router_waits", detail=error.detail)
                await self._pause(PAUSE_SECONDS)

    async def _read(self, strategy: Strategy) -> None:
        await self._until_connected()
        if self._draining.is_set():
            return
        reader = await self._jobs.reader(self._consumer, self._number)
        self._asked_at = -math.inf  # another Redis may have another time
        try:
            took_at = -math.inf
            while not self._draining.is_set():
                self._reading.turn()
                taken = await reader.take(self._batch)
                took_before, took_at = took_at, trio.current_time()
                if taken is None:
                    await self._jobs.join(self._consumer, self._number)
                elif taken:
                    await self._deliver(strategy, taken)
                    if took_at - took_before < 2 * GATHER_SECONDS and len(taken) < self._batch:
                        await trio.sleep_until(took_at + GATHER_SECONDS)
                # The reader's connection may be back before the link is: what it takes now could not be delivered.
                await self._until_connected()
        finally:
            with trio.CancelScope(shield=True):
                await reader.aclose()

    async def _until_connected(self) -> None:
        """Returns when this partition's master can be asked, which may be long away, or a drain begins."""
        if self._jobs.is_connected(self._number):
            return
        with self._reading.idle():
            await self._first_of(self._draining.wait, lambda: self._jobs.wait_connected(self._number))

    async def _first_of(self, *waits: Callable[[], Awaitable[object]]) -> None:
        async with trio.open_nursery() as nursery:

            async def wait(until: Callable[[], Awaitable[object]]) -> None:
                await until()
                nursery.cancel_scope.cancel()

            for each in waits:
                nursery.start_soon(wait, each)

    async def _pause(self, seconds: float) -> None:
        """So long, or until a drain begins."""
        with trio.move_on_after(seconds):
            await self._draining.wait()

    async def _take_over(self, strategy: Strategy) -> None:
        """What a router took and did not hand over is another's, once; at the second time it is dropped."""
        more = False
        while True:
            self._taking_over.turn()
            await self._pause(0 if more else TAKE_OVER_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - only jitter
            if self._draining.is_set():
                return
            try:
                found = await self._jobs.take_over(self._consumer, self._number, self._batch)
                more = len(found.jobs) + found.given_up >= self._batch
                self._metrics.jobs("given_up", found.given_up)
                self._note(found.backlog)
                if found.jobs:
                    self._log.info("taken_over", jobs=len(found.jobs))
                    await self._deliver(strategy, found.jobs)
            except StoreUnavailable as error:
                more = False
                self._log.warning("take_over_failed", detail=error.detail)

    def not_ready(self) -> list[Reason]:
        """Whether its jobs wait too long."""
        if self._lag_ms <= LATE_SECONDS * 1000:
            return []
        detail = (
            f"jobs of partition {self._number} wait for {self._lag_ms / 1000:.0f} s: start more routers, or see "
            "`pushctl stats routing` for who takes none"
        )
        return [Reason(Code.JOBS_LATE, detail)]

    def _note(self, backlog: Backlog) -> None:
        self._lag_ms = backlog.lag_ms
        metrics = self._metrics
        metrics.backlog.labels(self._number).set(backlog.length)
        metrics.backlog_bytes.labels(self._number).set(backlog.bytes)
        metrics.lag_seconds.labels(self._number).set(backlog.lag_ms / 1000)

    # --- delivering --------------------------------------------------------------------------------------------------

    async def _deliver(self, strategy: Strategy, taken: Sequence[Taken]) -> None:
        self._metrics.batches.inc()
        self._metrics.in_hand.inc(len(taken))
        try:
            await self._deliver_and_hand_over(strategy, taken)
        finally:
            self._metrics.in_hand.dec(len(taken))

    async def _deliver_and_hand_over(self, strategy: Strategy, taken: Sequence[Taken]) -> None:
        jobs = {item.id: job for item in taken if (job := self._decoded(item)) is not None}
        once = [item for item in taken if isinstance(jobs.get(item.id), Ephemeral)]
        lasting = [item for item in taken if not isinstance(jobs.get(item.id), Ephemeral)]
        # At most once: whoever dies between the two steps has delivered nothing. And if we were frozen before this one,
        # another router may have handed them over; only one of us is told that they were there.
        ours = {item.id for item in await self._hand_over(once)}
        await passed(Point.ACKNOWLEDGED)
        now_ms = await self._now_ms()
        due: list[Job] = []
        for item in taken:
            job = jobs.get(item.id)
            if job is None or (isinstance(job, Ephemeral) and item.id not in ours):
                continue
            if self._too_late(item, job, now_ms):
                self._metrics.jobs("too_late")
            else:
                due.append(job)
        brought = await self._bring(strategy, due, lasting) if due else False
        await passed(Point.DELIVERED)
        if not brought:
            await self._hand_over(lasting)

    async def _now_ms(self) -> float:
        """The time of this partition's master: as it said with what it handed over last, and by our own pace since, so
        that what happened to us meanwhile counts."""
        if trio.current_time() - self._asked_at > CLOCK_SECONDS:
            asked_at = trio.current_time()
            self._asked_ms = await self._jobs.now_ms(self._number)
            self._asked_at = asked_at
        return self._asked_ms + (trio.current_time() - self._asked_at) * 1000

    def _decoded(self, item: Taken) -> Job | None:
        try:
            return decode_job(item.payload)
        except JobInvalid as error:
            self._metrics.jobs("invalid")
            self._log.error("job_invalid", error=str(error))
            return None

    def _too_late(self, item: Taken, job: Job, now_ms: float) -> bool:
        if isinstance(job, Ephemeral):
            return job.until_ms < now_ms
        return item.written_ms < now_ms - self._keep_ms

    async def _bring(self, strategy: Strategy, jobs: Sequence[Job], done: Sequence[Taken]) -> bool:
        """Whether the strategy has handed over what is `done`."""
        asked_at = trio.current_time()
        with ExitStack() as steps:
            delivered = await strategy.deliver([self._followed(job, steps) for job in jobs], done)
        self._metrics.stage(Stage.ROUTED, len(jobs) - delivered.nobody)
        self._metrics.hints.inc(delivered.hints)
        self._metrics.jobs("nobody", delivered.nobody)
        self._metrics.jobs("pruned", delivered.pruned)
        self._metrics.jobs("unheard", delivered.unheard)
        self._metrics.jobs("detoured", delivered.detoured)
        self._log.debug(Stage.ROUTED, jobs=len(jobs), hints=delivered.hints, nobody=delivered.nobody)
        if delivered.handed_over is not None:
            self._note_handed_over(delivered.handed_over, asked_at)
        return delivered.handed_over is not None

    def _followed(self, job: Job, steps: ExitStack) -> Job:
        """The job, with a step of ours in its trace if its message is followed."""
        if not isinstance(job, Appended | Ephemeral) or not job.trace:
            return job
        step = steps.enter_context(self._traces.follow("route", job.trace, "consumer"))
        if not step:
            return job
        step.set(
            messaging__system="pushctl",
            messaging__operation__name="route",
            messaging__operation__type="process",
            messaging__destination__name="route",
            messaging__destination__partition__id=str(self._number),
            pushctl__routing__strategy=self._strategy_name,
        )
        return msgspec.structs.replace(job, trace=step.context)

    async def _hand_over(self, done: Sequence[Taken]) -> list[Taken]:
        """Those that were ours to hand over."""
        if not done:
            return []
        asked_at = trio.current_time()
        handed_over = await self._jobs.hand_over(done)
        self._note_handed_over(handed_over, asked_at)
        return handed_over.ours

    def _note_handed_over(self, handed_over: HandedOver, asked_at: float) -> None:
        self._asked_at, self._asked_ms = asked_at, handed_over.now_ms
        for item in handed_over.ours:
            self._metrics.job_seconds.add((handed_over.now_ms - item.written_ms) / 1000)
        self._metrics.jobs("handed_over", len(handed_over.ours))
