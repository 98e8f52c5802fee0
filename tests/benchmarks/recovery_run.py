"""Taking socket servers away from a swarm, in one way or another, and watching how it comes back.

Owns: the order of things, and what is looked at. Promises: what was measured is sound, or Unsound is raised: nothing
was lost, nobody stayed away, and no more came than is configured.
Must not know: how figures are shown.
"""

import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import httpx
import trio

from pushctl.client.report import Report
from pushctl.rates import Rate
from tests.benchmarks.bystanders import Bystanders, bystanders_at
from tests.benchmarks.crowd import Sent, Swarm, send, swarm_at
from tests.benchmarks.fleet_site import PREFIX, Site, Terms, site_on
from tests.benchmarks.rig import machine
from tests.benchmarks.unsound import Unsound
from tests.faults.arrivals import LOOK_SECONDS, Metrics, Watch, together
from tests.faults.processes import RoleProcess, drained_by_command

Way = Literal["kill -9", "drain", "SIGTERM"]

DEVICES = 2
"""Of each user."""

SPARE_CONNECTIONS = 1000
PATIENCE_SECONDS = 300.0
OFFICE = "boxoffice"


@dataclass(frozen=True, slots=True)
class Size:
    """`killed` clients at two servers, one of which is killed; `restarted` at three, which are restarted one after the
    other by each of the other ways. A pair of rates is per second, and at once."""

    killed: int = 10_000
    restarted: int = 3_000
    arrivals: tuple[float, int] = (200, 200)
    """boxoffice.arrivals_per_second, boxoffice.arrivals_burst."""
    accepts: tuple[float, int] = (200, 400)
    """socket.accept_rate, socket.accept_burst."""
    over_seconds: float = 30
    drain_seconds: float = 16
    messages_per_second: float = 50
    calm_seconds: float = 3
    """Before each server, and at the end."""
    bystanders: int = 50
    """Devices of their own at the other server when one is killed."""
    bystanders_per_second: float = 50
    """Messages to them, for so long before the kill, and until all are back."""
    bystanders_seconds: float = 20


@dataclass(frozen=True, slots=True)
class Deliveries:
    """To bystanders: how long they took, from POST to frame."""

    count: int
    p50_ms: float
    p99_ms: float

    @classmethod
    def of(cls, sorted_ms: Sequence[float]) -> "Deliveries":
        count = len(sorted_ms)
        return cls(count, sorted_ms[count // 2], sorted_ms[count * 99 // 100])


@dataclass(frozen=True, slots=True)
class Return:
    """One server was taken away: what became of its clients."""

    way: Way
    server: str
    held: int
    """Clients that it had."""
    seconds: float
    """From the beginning until all clients were connected again."""
    came: int
    """To the other servers in that time."""
    peak: float
    """Arrivals a second there, at most, and how many the Box Office sent on."""
    office_peak: float
    put_off: int
    """Refusals by the Box Office, for more came than may, and `turned_away` by socket servers."""
    turned_away: int
    before: Deliveries | None = None
    """To devices of the other server, which lose nothing, and `meanwhile`; only when one is killed."""
    meanwhile: Deliveries | None = None


@dataclass(frozen=True, slots=True)
class Life:
    """One service."""

    clients: int
    returns: Sequence[Return]
    sent: int
    report: Report


@dataclass(frozen=True, slots=True)
class Measured:
    """All there is to tell. `machine`: what it was, and how busy, when measuring began."""

    machine: str
    size: Size
    lives: Sequence[Life]


class Fleet:
    """A service, its swarm, and who looks at it."""

    def __init__(
        self, site: Site, swarm: Swarm, size: Size, clients: int, metrics: Metrics, bystanders: Bystanders | None
    ) -> None:
        self._site = site
        self._swarm = swarm
        self._size = size
        self._clients = clients
        self._metrics = metrics
        self._bystanders = bystanders
        self._connected = clients
        self.watch = Watch(metrics, (site.office, *site.sockets))

    async def run(self, ways: Sequence[Way]) -> Life:
        """Takes servers away while messages flow. Raises Unsound."""
        sent = Sent()
        await self._swarm.phase("staying")
        await self._all_connected(self._site.sockets)
        async with trio.open_nursery() as nursery:
            if self._bystanders is not None:
                await self._bystanders.come(nursery)
                self._connected += self._size.bystanders
            nursery.start_soon(self.watch.run)
            async with trio.open_nursery() as sending:
                sending.start_soon(self._send, sent)
                returns = [await self._watched(way, server) for way, server in self._victims(ways)]
                await trio.sleep(self._size.calm_seconds)
                sent.over = True
            await trio.sleep(self._size.calm_seconds)
            nursery.cancel_scope.cancel()
        report = await self._swarm.report()
        self._check(report, sent)
        return Life(self._clients, returns, sent.accepted, report)

    def _victims(self, ways: Sequence[Way]) -> Iterator[tuple[Way, RoleProcess]]:
        for way in ways:
            yield from ((way, server) for server in self._site.sockets[: 1 if way == "kill -9" else None])

    async def _send(self, sent: Sent) -> None:
        await send(self._swarm.push_urls(), per_second=self._size.messages_per_second, sent=sent)

    async def _watched(self, way: Way, server: RoleProcess) -> Return:
        """What became of its clients, and how the bystanders fared."""
        bystanders = self._bystanders
        if bystanders is None:
            return await self._taken(way, server)
        over = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bystanders.hear, self._size.bystanders_per_second, over)
            await trio.sleep(self._size.bystanders_seconds)
            killed = bystanders.next
            found = await self._taken(way, server)
            over.set()
        before = await bystanders.latencies_ms(0, killed)
        meanwhile = await bystanders.latencies_ms(killed, bystanders.next)
        return replace(found, before=Deliveries.of(before), meanwhile=Deliveries.of(meanwhile))

    async def _taken(self, way: Way, server: RoleProcess) -> Return:
        await trio.sleep(self._size.calm_seconds)
        held, refused = await self._connections([server]), self._refused()
        others = [each for each in self._site.sockets if each is not server]
        began = trio.current_time()
        await self._ways()[way](server)
        await self._all_connected(others)
        seconds = trio.current_time() - began
        await trio.sleep(2 * LOOK_SECONDS)
        span = began - 2 * LOOK_SECONDS, trio.current_time()
        found = together([self.watch.lives[each.label][-1] for each in others], *span)
        office = self.watch.lives[OFFICE][-1].between(*span)
        put_off, turned_away = (now - before for now, before in zip(self._refused(), refused, strict=True))
        if way == "drain":
            await server.drain()
        if way != "kill -9":
            await server.start()
        print(".", end="", file=sys.stderr, flush=True)
        peaks = found.peak(), office.peak()
        return Return(way, server.label, held, seconds, found.total, *peaks, put_off, turned_away)

    def _refused(self) -> tuple[int, int]:
        """So far: by the Box Office and by socket servers, for too many came."""
        return self.watch.refused("arrivals"), self.watch.refused("accept_rate")

    def _ways(self) -> dict[Way, Callable[[RoleProcess], Awaitable[None]]]:
        return {"kill -9": RoleProcess.kill, "SIGTERM": RoleProcess.drain, "drain": self._drain}

    async def _drain(self, server: RoleProcess) -> None:
        await drained_by_command(
            server.label, over_seconds=self._size.over_seconds, redis_url=self._site.redis.url, prefix=PREFIX
        )

    async def _connections(self, servers: Sequence[RoleProcess]) -> int:
        return sum([int((await self._metrics.read(server))["pushctl_connections"]) for server in servers])

    async def _all_connected(self, servers: Sequence[RoleProcess]) -> None:
        """Returns when every client is at one of these. Raises Unsound if it does not come to that."""
        found = 0
        with trio.move_on_after(PATIENCE_SECONDS):
            while (found := await self._connections(servers)) < self._connected:  # noqa: ASYNC110 - nobody tells
                await trio.sleep(0.1)
        if found < self._connected:
            said = await self._swarm.report()
            raise Unsound(f"{found} of {self._connected} clients are connected after {PATIENCE_SECONDS:g} s: {said}")

    def _check(self, report: Report, sent: Sent) -> None:
        terms, problems = self._site.terms, self._site.problems()
        rates = {server.label: terms.accepts for server in self._site.sockets} | {OFFICE: terms.arrivals}
        problems += [f"{excess:g} too many came to {label}" for label, excess in self.watch.excess(rates).items()]
        if sent.refused:
            problems.append(f"{sent.refused} messages were not accepted")
        if not report.is_good or report.received != sent.accepted * DEVICES:
            problems.append(f"sent {sent.accepted} messages to {DEVICES} devices each, and the swarm says {report}")
        if problems:
            raise Unsound("; ".join(problems))


async def measure(clients: int, servers: int, ways: Sequence[Way], size: Size) -> Life:
    """One service, to which so many clients come. Raises Unsound."""
    arrivals = Rate(*size.arrivals)
    terms = Terms(
        clients + SPARE_CONNECTIONS,
        sockets=servers,
        arrivals=arrivals,
        accepts=Rate(*size.accepts),
        drain_seconds=size.drain_seconds,
    )
    async with (
        site_on(terms) as site,
        httpx.AsyncClient(timeout=PATIENCE_SECONDS, trust_env=False) as http,
        swarm_at(site, users=clients // DEVICES, devices=DEVICES, arrivals=arrivals.per_second * 0.75) as swarm,
        bystanders_at(site, site.sockets[-1], size.bystanders) as bystanders,
    ):
        watched = bystanders if ways == ["kill -9"] else None
        return await Fleet(site, swarm, size, clients, Metrics(http), watched).run(ways)


async def measure_all(size: Size) -> Measured:
    """Those ways for which there are clients. Raises Unsound."""
    busy, lives = machine(), []
    if size.killed:
        lives.append(await measure(size.killed, 2, ["kill -9"], size))
    if size.restarted:
        lives.append(await measure(size.restarted, 3, ["drain", "SIGTERM"], size))
    print(file=sys.stderr)
    return Measured(busy, size, lives)
