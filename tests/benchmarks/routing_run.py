"""Measuring what routing costs: every strategy in turn on one site after the other (routing.py says how and why).

Owns: the order of what is measured, its amounts. Promises: what was measured is sound, or Unsound is raised.
Must not know: what figures are made of it.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import trio

from pushctl.identity.sealing import Sealer
from tests.benchmarks.rig import machine, registry_on, version
from tests.benchmarks.routing_load import Addressee, Crowd, Ledger, Sender
from tests.benchmarks.routing_report import DENSITIES, STRATEGIES, Life, Stretch
from tests.benchmarks.routing_site import Site, site_with

USERS = {"sparse": 64, "dense": 32}
"""Connected users, by density."""

ABSENT_USERS = 32

AFTERMATH_SECONDS = 0.1
"""After the last message came: by then the router has handed over its jobs, too."""


@dataclass(frozen=True, slots=True)
class Size:
    """`per_second` and `backlog` count deliveries, so that a dense stream has fewer messages; `appends` messages."""

    servers: Sequence[int] = (1, 2, 4, 8, 16)
    rounds: int = 3
    idle_seconds: float = 4
    paced_seconds: float = 6
    per_second: float = 200
    appends: int = 500
    backlog: int = 4_000
    backlogs: int = 3


QUICK = Size(servers=(1, 2), rounds=1, idle_seconds=0.5, paced_seconds=0.5, appends=100, backlog=200, backlogs=1)


@dataclass(frozen=True, slots=True)
class Measured:
    """All there is to tell. `machine`: what it was, and how busy, when measuring began."""

    machine: str
    redis: str
    size: Size
    lives: Sequence[Life]


class Bench:
    """One site with its crowd."""

    def __init__(self, site: Site, size: Size, ledger: Ledger, sender: Sender) -> None:
        self._site = site
        self._size = size
        self._ledger = ledger
        self._sender = sender
        self._connected: dict[str, list[Addressee]] = {}
        self._absent: list[Addressee] = []

    async def populate(self, crowd: Crowd) -> None:
        for density in DENSITIES:
            self._connected[density] = await crowd.join(USERS[density], everywhere=density == "dense")
        self._absent = await crowd.absent(ABSENT_USERS)

    async def life(self, strategy: str) -> Life:
        """All that is measured of one strategy in one round. Raises Unsound."""
        async with self._site.routed_by(strategy):
            await self._warm_up()
            return Life(
                len(self._site.ports),
                strategy,
                idle=await self._idle(),
                appends=await self._paced(self._absent, self._size.appends, self._size.per_second),
                paced={density: await self._stream(density) for density in DENSITIES},
                backlog={
                    density: [await self._backlog(density) for _ in range(self._size.backlogs)] for density in DENSITIES
                },
            )

    async def _warm_up(self) -> None:
        """Everybody is sent something: connections are made, scripts known."""
        for addressees in self._connected.values():
            await self._sender.at_once(addressees, len(addressees))
            await self._ledger.settled()
        await trio.sleep(AFTERMATH_SECONDS)

    async def _idle(self) -> Stretch:
        watch = Watch(self._site, self._ledger)
        await trio.sleep(self._size.idle_seconds)
        return watch.stretch(0)

    async def _stream(self, density: str) -> Stretch:
        messages = self._messages(density, self._size.per_second * self._size.paced_seconds)
        return await self._paced(self._connected[density], messages, messages / self._size.paced_seconds)

    async def _paced(self, addressees: Sequence[Addressee], messages: int, per_second: float) -> Stretch:
        watch = Watch(self._site, self._ledger)
        await self._sender.paced(addressees, messages, per_second)
        return await self._settled(watch, messages)

    async def _backlog(self, density: str) -> Stretch:
        messages = self._messages(density, self._size.backlog)
        self._site.router.freeze()
        try:
            await self._sender.at_once(self._connected[density], messages)
            watch = Watch(self._site, self._ledger)
        finally:
            self._site.router.thaw()
        return await self._settled(watch, messages)

    async def _settled(self, watch: "Watch", messages: int) -> Stretch:
        await self._ledger.settled()
        await trio.sleep(AFTERMATH_SECONDS)
        return watch.stretch(messages)

    def _messages(self, density: str, deliveries: float) -> int:
        """How many make so many deliveries."""
        return max(1, round(deliveries / len(self._connected[density][0].devices)))


class Watch:
    """Looks at clocks and ledger from now on."""

    def __init__(self, site: Site, ledger: Ledger) -> None:
        self._site = site
        self._ledger = ledger
        self._arrivals = len(ledger.arrivals)
        self._cpu = site.cpu()
        self._start = trio.current_time()

    def stretch(self, messages: int) -> Stretch:
        """What happened since, in the course of which so many messages were sent or delivered."""
        arrivals = self._ledger.arrivals[self._arrivals :]
        return Stretch(
            trio.current_time() - self._start,
            self._site.cpu().since(self._cpu),
            messages,
            max((arrival.at for arrival in arrivals), default=self._start) - self._start,
            [arrival.seconds for arrival in arrivals],
        )


async def measure(servers: int, size: Size) -> tuple[list[Life], str]:
    """Every strategy in each round, in changing order; and what Redis it was. Raises Unsound."""
    lives = []
    async with site_with(servers) as site, registry_on(site.redis.url) as registry, trio.open_nursery() as nursery:
        sealer = Sealer(site.keys)
        crowd = Crowd(registry, sealer, site.ports, nursery)
        bench = Bench(site, size, crowd.ledger, Sender(registry, sealer, crowd.ledger))
        await bench.populate(crowd)
        for strategy in order(size.rounds):
            lives.append(await bench.life(strategy))
            print(".", end="", file=sys.stderr, flush=True)
        nursery.cancel_scope.cancel()
        redis = version(site.redis)
    return lives, redis


def order(rounds: int) -> list[str]:
    """In each round another begins, and every other round goes backwards."""
    found: list[str] = []
    for n in range(rounds):
        way = STRATEGIES[::-1] if n % 2 else STRATEGIES
        at = n % len(STRATEGIES)
        found += way[at:] + way[:at]
    return found


async def measure_all(size: Size) -> Measured:
    lives: list[Life] = []
    redis = ""
    busy = machine()
    for servers in size.servers:
        more, redis = await measure(servers, size)
        lives += more
    print(file=sys.stderr)
    return Measured(busy, redis, size, lives)
