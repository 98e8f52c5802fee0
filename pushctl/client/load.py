"""A sender of load: very many messages to very many push URLs, at a rate, and how long each took.

Owns: the phases (connect, warm up, measure, wait for the last answers), who sends what when, and what is counted.
Promises: in an open loop every message is due at a moment fixed beforehand, and its latency runs from then, so that a
service that stops for a while cannot hide it; what is due and finds no free place waits in a backlog that is bounded,
and what finds no room there, or waits too long, counts as not sent; a request is sent once; an open loop never waits
because it was told to (Retry-After), it counts; a push URL that is gone (410) gets nothing more; an interrupt ends it
and still gives a report. No push URL ever stands in an error.
Must not know: terminals, files, who receives.
"""

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Final
from urllib.parse import urlsplit

import trio
from msgspec import Struct

from pushctl.client.load_report import LoadReport, Tally, load_report
from pushctl.client.phase import Phase
from pushctl.client.schedule import Draw, Schedule, draws, marked
from pushctl.client.targets import Target
from pushctl.errors import Unreachable
from pushctl.keepalive import Answer, KeepAlive, NotConnected, Unanswered
from pushctl.webpush.encryption import seal_message

CONNECT_SECONDS: Final = 10.0
BACKLOG: Final = 10_000
"""Messages that are due and wait for their turn."""

LONGEST_PAUSE_SECONDS: Final = 5.0
"""In a closed loop, after a refusal that names a longer one."""

PUT_IN_A_ROW: Final = 64
"""Overdue messages are put into the backlog so many at a time, so that others get on, too."""


class LoadPlan(Struct, frozen=True, kw_only=True):
    """What is to be sent. `rate` None: a closed loop. `headers`: of every message; `authorization`: by origin.
    `answer_seconds`: as long as a message waits for its turn, and then for its answer, at most."""

    targets: list[Target]
    rate: float | None
    seconds: float
    count: int | None = None
    warmup_seconds: float = 0.0
    concurrency: int = 32
    sizes: tuple[int, int] = (200, 200)
    seed: int = 1
    answer_seconds: float = 10.0
    headers: dict[str, str]
    authorization: dict[str, str]


class Shot(Struct, frozen=True):
    """One message. `due`: trio.current_time."""

    due: float
    draw: Draw
    warm: bool


async def at_once() -> None:
    """The trigger of a load that waits for nobody."""
    await trio.lowlevel.checkpoint()


class Load:
    """Call `run` once, `interrupt` at any moment from another task."""

    def __init__(self, plan: LoadPlan, *, trigger: Callable[[], Awaitable[None]] = at_once) -> None:
        """`trigger`: what is waited for once everything is connected."""
        self.plan = plan
        self.tally = Tally()
        self.phase = Phase("connecting", 0)
        self.on_phase: Callable[[Phase], None] = lambda phase: None
        """Called when a phase begins."""
        self._trigger = trigger
        self._living: list[Target] = list(plan.targets)
        self._servers: dict[str, KeepAlive] = {}
        self._row = draws(plan.seed, plan.sizes)
        self._counted = 0
        self._under_way = 0
        self._began = self._answered_at = 0.0
        self._monotonic_us = 0.0
        self._acting = trio.CancelScope()

    def interrupt(self) -> None:
        """Nothing more is sent, and nobody waited for."""
        self._acting.cancel()

    async def run(self) -> LoadReport:
        """The whole of it. Raises Unreachable if a server takes no connection."""
        cpu = seconds = 0.0
        with self._acting:
            try:
                await self._connect()
                await self._trigger()
                self._began = self._answered_at = trio.current_time()
                self._monotonic_us = time.monotonic_ns() / 1000 - self._began * 1e6
                cpu = time.process_time()
                await self._send_all()
            finally:
                for server in self._servers.values():
                    server.close()
        if self._began:
            elapsed = trio.current_time() - self._began
            cpu = (time.process_time() - cpu) / elapsed if elapsed > 0 else 0.0
            seconds = max(0.0, self._answered_at - self._began - self.plan.warmup_seconds)
        self.tally.under_way = self._under_way
        return load_report(
            self.tally,
            wanted_rate=self.plan.rate,
            targets=len(self.plan.targets),
            seconds=seconds,
            cpu_share=cpu,
            interrupted=self._acting.cancelled_caught,
        )

    # --- connecting --------------------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        """All there will be, so that the first messages do not pay for it."""
        origins = origins_of(self.plan.targets)
        each = -(-self.plan.concurrency // len(origins))
        self._begin(Phase("connecting", len(origins)))
        for origin in origins:
            self._servers[origin] = server = _server_at(origin)
            try:
                with trio.fail_after(CONNECT_SECONDS):
                    await server.connect(each)
            except NotConnected as error:
                raise Unreachable(f"{origin}: {error}") from None
            except trio.TooSlowError:
                raise Unreachable(f"{origin}: no connection within {CONNECT_SECONDS:g} s") from None
            self.phase.done += 1

    def _begin(self, phase: Phase) -> None:
        self.phase = phase
        self.on_phase(phase)

    # --- sending -----------------------------------------------------------------------------------------------------

    async def _send_all(self) -> None:
        if self.plan.rate is None:
            await self._by_all(self._follow)
        else:
            schedule = Schedule(self.plan.rate, self.plan.seconds, self.plan.count, self.plan.warmup_seconds)
            put, take = trio.open_memory_channel[Shot](BACKLOG)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pace, schedule, put)
                await self._by_all(partial(self._take, take))
                nursery.cancel_scope.cancel()

    async def _by_all(self, work: Callable[[], Awaitable[None]]) -> None:
        """In every place at once, until all are through or nobody is left to send to."""
        async with trio.open_nursery() as nursery:
            for _ in range(self.plan.concurrency):
                nursery.start_soon(work)

    async def _pace(self, schedule: Schedule, backlog: trio.MemorySendChannel[Shot]) -> None:
        """Put every message into the backlog when it is due, however those before it fare."""
        if schedule.warm:
            self._begin(Phase("warming up", schedule.warm))
        with backlog:
            for draw in islice(self._row, schedule.total):
                due = self._began + schedule.due(draw.number)
                if draw.number == schedule.warm:
                    self._begin(Phase("sending", schedule.measured))
                if due > trio.current_time():
                    await trio.sleep_until(due)
                elif draw.number % PUT_IN_A_ROW == 0:
                    await trio.lowlevel.checkpoint()
                warm = draw.number < schedule.warm
                try:
                    backlog.send_nowait(Shot(due, draw, warm))
                except trio.WouldBlock:
                    self.tally.not_sent += not warm
                self.phase.done += 1
        self._begin(Phase("waiting for answers", 0, ends_at=trio.current_time() + 2 * self.plan.answer_seconds))

    async def _take(self, backlog: trio.MemoryReceiveChannel[Shot]) -> None:
        async for shot in backlog:
            if not self._living:
                return
            if trio.current_time() < shot.due + self.plan.answer_seconds:
                await self._send(shot)
            else:
                self.tally.not_sent += not shot.warm

    async def _follow(self) -> None:
        """A closed loop: the next message when this one is answered."""
        for shot in self._one_after_another():
            answer = await self._send(shot)
            if answer is not None and answer.status in (429, 503):
                await trio.sleep(_pause(answer))

    def _one_after_another(self) -> Iterator[Shot]:
        """Shots of a closed loop; all places draw from one row."""
        plan = self.plan
        end = self._began + plan.warmup_seconds + plan.seconds
        while self._living and (now := trio.current_time()) < end:
            warm = now < self._began + plan.warmup_seconds
            if not warm and plan.count is not None and self._counted >= plan.count:
                return
            self._counted += not warm
            self._show(warm, end)
            yield Shot(now, next(self._row), warm)

    def _show(self, warm: bool, end: float) -> None:
        name = "warming up" if warm else "sending"
        if self.phase.name != name:
            warm_end = self._began + self.plan.warmup_seconds
            total = 0 if warm else self.plan.count or 0
            self._begin(Phase(name, total, ends_at=warm_end if warm else end))
        self.phase.done += 1

    # --- one message -------------------------------------------------------------------------------------------------

    async def _send(self, shot: Shot) -> Answer | None:
        """The answer, which has been counted; None if there was none."""
        tally, warm = self.tally, shot.warm
        target = self._living[int(shot.draw.pick * len(self._living))]
        text = marked(shot.draw, round(shot.due * 1e6 + self._monotonic_us), warm=warm)
        headers, body = self._content(target, text)
        if not warm:
            tally.sent += 1
            tally.lateness.add((trio.current_time() - shot.due) * 1e6)
        answer = None
        self._under_way += not warm
        with trio.move_on_after(self.plan.answer_seconds) as waiting:
            try:
                answer = await self._servers[target.origin].post(target.path, headers, body)
            except Unanswered as error:
                self._under_way -= not warm
                if not warm:
                    tally.fail("not_connected" if isinstance(error, NotConnected) else "broke")
                return None
        self._under_way -= not warm
        if waiting.cancelled_caught:
            if not warm:
                tally.fail("timed_out")
            return None
        assert answer is not None
        self._count(shot, target, answer, len(text))
        return answer

    def _count(self, shot: Shot, target: Target, answer: Answer, size: int) -> None:
        tally = self.tally
        self._answered_at = now = trio.current_time()
        accepted = 200 <= answer.status < 300
        if answer.status == 410 and target in self._living:
            self._living.remove(target)
            tally.gone += 1
        if shot.warm:
            tally.warm += 1
            tally.warm_accepted += accepted
        elif accepted:
            tally.accepted += 1
            tally.accepted_bytes += size
            tally.latency.add((now - shot.due) * 1e6)
        else:
            tally.refuse(answer.status)

    def _content(self, target: Target, text: bytes) -> tuple[Mapping[str, str], bytes]:
        headers = dict(self.plan.headers)
        authorization = self.plan.authorization.get(target.origin)
        if authorization is not None:
            headers["Authorization"] = authorization
        if target.keys is None:
            headers["Content-Type"] = "text/plain"
            return headers, text
        headers |= {"Content-Type": "application/octet-stream", "Content-Encoding": "aes128gcm"}
        return headers, seal_message(text, target.keys)


def _pause(answer: Answer) -> float:
    said = answer.headers.get("retry-after", "")
    return min(float(said), LONGEST_PAUSE_SECONDS) if said.isascii() and said.isdigit() else 0.0


def origins_of(targets: Sequence[Target]) -> list[str]:
    return sorted({target.origin for target in targets})


def _server_at(origin: str) -> KeepAlive:
    parts = urlsplit(origin)
    if parts.scheme == "http":
        return KeepAlive(parts.hostname or "", parts.port or 80)
    from pushctl.client.http import trusted

    return KeepAlive(parts.hostname or "", parts.port or 443, trusted())
