"""A swarm and a sender together: users are made, their devices connect, messages flow, something may go wrong, and one
report tells of all of it.

Owns: the order of things, one trigger for all, and which device had which message when.
Promises: nothing is sent before every device is up to date and every connection of the sender stands; the sender is a
process of its own; accounts are deleted at the end; an interrupt still gives a report.
Must not know: terminals, the registry (what a storm is, and how much memory servers take, is asked of who knows).
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import httpx
import trio
from msgspec.structs import replace

from pushctl.client.bench_report import BenchReport, Delivery, Form, ServerMemory, Storm
from pushctl.client.distribution import Distribution
from pushctl.client.fleet import Fleet, Plan
from pushctl.client.ledger import DeviceLedger
from pushctl.client.load import LoadPlan
from pushctl.client.load_apart import Apart, load_apart
from pushctl.client.load_report import LoadReport
from pushctl.client.member import Member
from pushctl.client.phase import Phase
from pushctl.client.schedule import Schedule, read_mark
from pushctl.client.targets import Target
from pushctl.protocol.frames import Message

CONNECT_SECONDS: Final = 60.0
"""For the last device to be up to date, after all set out."""

BACK_SECONDS: Final = 60.0
"""For the last device to be back, after a storm and the messages meanwhile."""

SETTLE_SECONDS: Final = 5.0
"""For messages that are on their way when the last was accepted."""

STORM_SHARE: Final = 0.25
"""The storm begins when so much of the time is over."""

SITE: Final = "https://bench.example"

Trouble = Callable[["Bench"], Awaitable[None]]
"""Begins a storm; returns when all that will happen has happened, but for clients coming back."""

Look = Callable[[], Awaitable[list[ServerMemory]]]


async def look_at_nothing() -> list[ServerMemory]:
    """The registry is out of reach."""
    await trio.lowlevel.checkpoint()
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPlan:
    """`load` without targets, they are made here; None: nothing is sent. `trouble` None: there is no storm."""

    form: Form
    swarm: Plan
    load: LoadPlan | None = None
    trouble: Trouble | None = None


class Bench:
    """Call `run` once, `interrupt` at any moment from another task."""

    def __init__(self, plan: BenchPlan, client: httpx.AsyncClient, look: Look = look_at_nothing) -> None:
        self.plan = plan
        self.on_phase: Callable[[Phase], None] = lambda phase: None
        self._look = look
        self.fleet = Fleet(
            plan.swarm,
            client,
            ready=self._take_targets,
            meanwhile=self._act,
            heard=self._hear,
            moved=self._note_move,
        )
        self.fleet.on_phase = lambda phase: self.on_phase(phase)
        self.interrupted = False
        self._targets: list[Target] = []
        self._sender: Apart | None = None
        self._load: LoadReport | None = None
        self._delivered, self._others = Distribution(), Distribution()
        self._all_delivered = trio.Event()
        self._expected: int | None = None
        self._connected_after: float | None = None
        self._left_at: dict[Member, float] = {}
        self._gone: set[DeviceLedger] = set()
        self._back = Distribution()
        self._storm_at: float | None = None
        self._last_back_at = 0.0
        self._trouble_is_over = False
        self._everybody_back = trio.Event()
        self._servers: list[ServerMemory] = []
        self._is_over = False
        """What devices do from then on is leaving, no storm."""

    @property
    def phase(self) -> Phase:
        return self.fleet.phase

    def interrupt(self) -> None:
        """Once: nothing more is sent, or waited for; the check follows. Again: neither that, nor clearing up."""
        first, self.interrupted = not self.interrupted, True
        if first and self._sender is not None:
            self._sender.stop()
        else:
            self.fleet.interrupt()

    async def run(self) -> BenchReport:
        """The whole of it. Raises Unreachable, Failed."""
        swarm = await self.fleet.run()
        devices = self.plan.swarm.users * self.plan.swarm.devices
        seconds, after = self.fleet.login_seconds, self._connected_after
        return BenchReport(
            form=self.plan.form,
            logins_per_second=round(swarm.logged_in / seconds, 1) if seconds else 0.0,
            connections_per_second=round(devices / after, 1) if after else None,
            swarm=swarm,
            load=self._load,
            delivery=self._delivery(swarm.received_later),
            storm=self._storm(),
            servers=self._servers,
            interrupted=self.interrupted,
        )

    def _take_targets(self, push_urls: list[str]) -> None:
        self._targets = [Target(push_url) for push_url in push_urls]

    # --- while they are connected ------------------------------------------------------------------------------------

    async def _act(self) -> None:
        try:
            await self._act_out()
        finally:
            self._is_over = True

    async def _act_out(self) -> None:
        plan = self.plan
        if plan.swarm.connects:
            self.fleet.begin(Phase("connecting", 0, ends_at=trio.current_time() + CONNECT_SECONDS))
            with trio.move_on_after(CONNECT_SECONDS) as waiting:
                self._connected_after = await self.fleet.all_up_to_date()
            if waiting.cancelled_caught:
                return
        if plan.load is not None:
            await self._send(plan.load)
        elif plan.form == "idle":
            self.fleet.begin(Phase("holding", 0, ends_at=trio.current_time() + plan.swarm.seconds))
            await trio.sleep(plan.swarm.seconds)
        self._servers = await self._look()

    async def _send(self, load: LoadPlan) -> None:
        phase = Phase("sending", _messages(load))

        def on_progress(done: int) -> None:
            phase.done = done

        async with (
            load_apart(replace(load, targets=self._targets), on_progress) as sender,
            trio.open_nursery() as nursery,
        ):
            self._sender = sender
            self.fleet.begin(phase)
            if self.plan.trouble is not None:
                nursery.start_soon(self._have_trouble, self.plan.trouble, load)
            self._load = await sender.run()
            self._sender = None
            if self.plan.swarm.connects and not self.interrupted:
                await self._settle(self._load)
            nursery.cancel_scope.cancel()

    async def _settle(self, load: LoadReport) -> None:
        if self.plan.trouble is not None:
            self.fleet.begin(Phase("coming back", 0, ends_at=trio.current_time() + BACK_SECONDS))
            with trio.move_on_after(BACK_SECONDS):
                await self._everybody_back.wait()
        self.fleet.begin(Phase("settling", 0, ends_at=trio.current_time() + SETTLE_SECONDS))
        self._expected = load.accepted * self.plan.swarm.devices
        if self._delivered.count < self._expected:
            with trio.move_on_after(SETTLE_SECONDS):
                await self._all_delivered.wait()

    # --- a storm -----------------------------------------------------------------------------------------------------

    async def _have_trouble(self, trouble: Trouble, load: LoadPlan) -> None:
        await trio.sleep(load.warmup_seconds + STORM_SHARE * load.seconds)
        self._storm_at = trio.current_time()
        await trouble(self)
        self._trouble_is_over = True
        self._look_whether_all_are_back()

    def _note_move(self, member: Member) -> None:
        if self._storm_at is None or self._is_over:
            return
        now = trio.current_time()
        if not member.is_up_to_date:
            self._left_at[member] = now
            self._gone.add(member.ledger)
        elif member in self._left_at:
            self._back.add((now - self._left_at.pop(member)) * 1000)
            self._last_back_at = now
        self._look_whether_all_are_back()

    def has_left(self, member: Member) -> bool:
        """Since the storm began, whether or not it is back."""
        return member.ledger in self._gone

    def _look_whether_all_are_back(self) -> None:
        if self._trouble_is_over and not self._left_at:
            self._everybody_back.set()

    def _storm(self) -> Storm | None:
        if self._storm_at is None:
            return None
        seconds = self._last_back_at - self._storm_at if self._everybody_back.is_set() and self._gone else None
        return Storm(
            gone=len(self._gone),
            back=len(self._gone) - len(self._left_at),
            back_ms=self._back.latencies(),
            all_back_seconds=None if seconds is None else round(seconds, 3),
            others_us=self._others.latencies(),
        )

    # --- messages ----------------------------------------------------------------------------------------------------

    def _hear(self, device: DeviceLedger, message: Message) -> None:
        mark = read_mark(message.notification.body or "") if message.notification else None
        if mark is None or mark[1]:
            return
        latency_us = time.monotonic_ns() / 1000 - mark[0]
        self._delivered.add(latency_us)
        if self._storm_at is not None and device not in self._gone:
            self._others.add(latency_us)
        if self._delivered.count == self._expected:
            self._all_delivered.set()

    def _delivery(self, received_later: int) -> Delivery | None:
        if self._load is None or not self.plan.swarm.connects:
            return None
        expected = self._load.accepted * self.plan.swarm.devices
        received = self._delivered.count
        return Delivery(
            expected=expected,
            received=received,
            missing=max(0, expected - received - received_later),
            latency_us=self._delivered.latencies(),
            histogram=self._delivered.buckets(),
        )


def _messages(load: LoadPlan) -> int:
    """How many there will be; 0: nobody knows."""
    if load.rate is None:
        return load.count or 0
    return Schedule(load.rate, load.seconds, load.count, load.warmup_seconds).total


def cut(share: float) -> Trouble:
    """A storm of clients who lose their connections, this share of them, all at once."""

    async def trouble(bench: Bench) -> None:
        members = [member for user in bench.fleet.users for member in user.members if member.is_up_to_date]
        chosen = members[: max(1, round(share * len(members)))]
        for member in chosen:
            member.cut()
        await bench.fleet.until(lambda: all(bench.has_left(member) for member in chosen))

    return trouble
