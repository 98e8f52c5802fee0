"""Measuring what connections cost a socket server: one service, and its swarm, after the other.

Owns: the order of what is measured, its amounts. Promises: what was measured is sound, or Unsound is raised.
Must not know: what figures are made of it.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx
import trio

from pushctl.client.report import Report
from tests.benchmarks.crowd import Sent, Swarm, send, swarm_at
from tests.benchmarks.fleet_site import Site, Terms, site_on
from tests.benchmarks.memory import Memory
from tests.benchmarks.rig import machine, version
from tests.benchmarks.routing_site import cpu_seconds
from tests.benchmarks.unsound import Unsound
from tests.faults.arrivals import Metrics

WAYS = ("ws", "wss")
"""Without TLS and with it."""

DEVICES = 2
"""Of each user."""

SPARE_CONNECTIONS = 1000
AFTERMATH_SECONDS = 3.0
"""After the last has arrived, or the last message was sent: acknowledgements are written by then."""

PATIENCE_SECONDS = 300.0
"""On a busy machine clients come more slowly than they set out."""


@dataclass(frozen=True, slots=True)
class Size:
    clients: int = 10_000
    rounds: int = 1
    arrivals: float = 100
    """A second."""
    idle_seconds: float = 60
    """As long as a round of reconcile, and two pings."""
    messages_per_second: float = 100
    """Each comes to both devices of a user."""
    messages_seconds: float = 20


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a socket server's process spent in a time. `pauses_ms`: of its garbage collector, full collections."""

    seconds: float
    cpu: float
    count: int
    """Of what it did meanwhile."""
    pauses_ms: Sequence[float]


@dataclass(frozen=True, slots=True)
class Life:
    """One service. `way`: how clients came to it."""

    way: str
    clients: int
    empty: Memory
    full: Memory
    arriving: Stretch
    idle: Stretch
    messages: Stretch
    sent: int
    report: Report


@dataclass(frozen=True, slots=True)
class Measured:
    """All there is to tell. `machine`: what it was, and how busy, when measuring began."""

    machine: str
    redis: str
    size: Size
    lives: Sequence[Life]


class Bench:
    """One service with one socket server, and its swarm."""

    def __init__(self, site: Site, swarm: Swarm, metrics: Metrics, size: Size) -> None:
        (self._server,) = site.sockets
        self._site = site
        self._swarm = swarm
        self._metrics = metrics
        self._size = size
        self._pauses = site.here / f"{self._server.label}.pauses"

    async def life(self) -> Life:
        """All that is measured, in order. Raises Unsound."""
        size, way = self._size, "wss" if self._site.terms.tls else "ws"
        await self._swarm.phase("arriving")
        watch, empty = self._watch(), Memory.of(self._server.pid)
        await self._swarm.phase("staying")
        await self._reached("pushctl_connections", size.clients)
        await trio.sleep(AFTERMATH_SECONDS)
        arriving = watch.stretch(size.clients)
        watch = self._watch()
        await trio.sleep(size.idle_seconds)
        idle, full = watch.stretch(0), Memory.of(self._server.pid)
        watch, sent = self._watch(), Sent()
        await send(
            self._swarm.push_urls(), per_second=size.messages_per_second, sent=sent, seconds=size.messages_seconds
        )
        await self._reached('pushctl_messages_total{stage="written"}', sent.accepted * DEVICES)
        await trio.sleep(AFTERMATH_SECONDS)
        messages = watch.stretch(sent.accepted * DEVICES)
        report = await self._swarm.report()
        self._check(report, sent)
        return Life(way, size.clients, empty, full, arriving, idle, messages, sent.accepted, report)

    def _watch(self) -> "_Watch":
        return _Watch(self._server.pid, self._pauses_ms)

    def _pauses_ms(self) -> list[float]:
        return [float(line) for line in self._pauses.read_text().split()]

    async def _reached(self, metric: str, count: float) -> None:
        """Until the server says so. Raises Unsound if it does not come to that."""
        found = 0.0
        with trio.move_on_after(PATIENCE_SECONDS):
            while (found := (await self._metrics.read(self._server)).get(metric, 0)) < count:  # noqa: ASYNC110 - nobody tells
                await trio.sleep(0.25)
        if found < count:
            raise Unsound(f"{metric} of the socket server is {found:g} and should be {count:g}; {self._server.tail()}")

    def _check(self, report: Report, sent: Sent) -> None:
        problems = self._site.problems()
        if sent.refused:
            problems.append(f"{sent.refused} messages were not accepted")
        if report.disconnects or not report.is_good or report.received != sent.accepted * DEVICES:
            problems.append(f"sent {sent.accepted} messages to {DEVICES} devices each, and the swarm says {report}")
        if problems:
            raise Unsound("; ".join(problems))


class _Watch:
    """Looks at the clock of a process from now on."""

    def __init__(self, pid: int, pauses_ms: Callable[[], list[float]]) -> None:
        self._pid = pid
        self._pauses_ms = pauses_ms
        self._known = len(pauses_ms())
        self._cpu = cpu_seconds(pid)
        self._start = trio.current_time()

    def stretch(self, count: int) -> Stretch:
        """What happened since, in the course of which it did so many."""
        pauses = self._pauses_ms()[self._known :]
        return Stretch(trio.current_time() - self._start, cpu_seconds(self._pid) - self._cpu, count, pauses)


async def measure(way: str, size: Size) -> tuple[Life, str]:
    """One life, and what Redis it was. Raises Unsound."""
    terms = Terms(size.clients + SPARE_CONNECTIONS, tls=way == "wss")
    async with (
        site_on(terms) as site,
        httpx.AsyncClient(timeout=PATIENCE_SECONDS, trust_env=False) as http,
        swarm_at(site, users=size.clients // DEVICES, devices=DEVICES, arrivals=size.arrivals) as swarm,
    ):
        return await Bench(site, swarm, Metrics(http), size).life(), version(site.redis)


async def measure_all(size: Size) -> Measured:
    """Each way in each round, in changing order. Raises Unsound."""
    lives: list[Life] = []
    redis, busy = "", machine()
    for number in range(size.rounds):
        for way in WAYS[:: -1 if number % 2 else 1]:
            life, redis = await measure(way, size)
            lives.append(life)
            print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return Measured(busy, redis, size, lives)
