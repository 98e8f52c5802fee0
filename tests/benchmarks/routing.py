"""What it costs to route a message by each strategy, and how long it takes: with few and with many socket servers.

    python -m tests.benchmarks.routing [--servers 1,2,4,8,16] [--rounds 3] [--svg FILE] [--json FILE] [--quick]

Real processes: a Redis, a router, N socket servers. Users are sparse (each has one device, on one server) or dense
(each has a device on every server). A message is published by this process, which also plays the devices. Each strategy
in turn, round by round, has a fresh router; socket servers serve all three. While it runs:

- idle: nothing is sent; what that costs is taken off everything else.
- appends: messages to users who are connected nowhere: what Redis takes before anything is routed. Taken off, too.
- paced: a steady stream, so slow that a router finds one job at a time. Gives cost and latency.
- backlog: the router is stopped (SIGSTOP), messages are published, it goes on: how fast, how much cheaper in batches.

Ends with 3 when a message was lost, repeated or went another way than its strategy's. `--quick` takes seconds and
measures nothing worth quoting. docs/benchmarks.md quotes what it prints.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

import trio

from pushctl.config.model import Limits
from pushctl.identity.sealing import Sealer
from pushctl.runtime import raise_open_file_limit
from tests.benchmarks.rig import machine, print_table, registry_on, us, version
from tests.benchmarks.routing_chart import chart
from tests.benchmarks.routing_load import Addressee, Crowd, Ledger, Sender
from tests.benchmarks.routing_report import (
    DENSITIES,
    HEAD,
    STRATEGIES,
    Life,
    Stretch,
    append_us,
    curves,
    points,
    rows,
    sentences,
)
from tests.benchmarks.routing_site import Site, Unsound, site_with

UNSOUND_EXIT = 3

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


# --- measuring -------------------------------------------------------------------------------------------------------


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


async def measure_all(size: Size) -> tuple[list[Life], str]:
    lives: list[Life] = []
    redis = ""
    for servers in size.servers:
        more, redis = await measure(servers, size)
        lives += more
    print(file=sys.stderr)
    return lives, redis


# --- telling ---------------------------------------------------------------------------------------------------------


def tell(lives: Sequence[Life], size: Size, redis: str) -> None:
    found = points(lives)
    apart = sorted(point.apart for point in found)
    idle = {n: [life.idle for life in lives if life.servers == n] for n in size.servers}
    idle_ms = ", ".join(
        f"{n}: {median(each.cpu.sockets / each.seconds for each in idle[n]) * 1000:.1f}" for n in size.servers
    )
    print_table(
        "Routing strategies",
        HEAD,
        rows(found),
        f"CPU of router, socket servers and Redis. {USERS['sparse']} sparse users, {USERS['dense']} dense ones; "
        f"{size.per_second:g} deliveries/s for {size.paced_seconds:g} s, {size.backlogs} backlogs of {size.backlog:,} "
        f"deliveries; the middle one of {size.rounds} rounds; half of the costs are good to ±{median(apart):.0%}, the "
        f"worst to ±{apart[-1]:.0%}. {redis}.",
        f"Taken off: {us(append_us(lives))} µs of Redis for each message's append; what is spent when nothing is sent, "
        f"for all socket servers together (servers: ms per second): {idle_ms}. Sender and devices, which do not count: "
        f"{us(median(point.load_us for point in found))} µs per delivery.",
    )
    for title, backlog in (("", False), (", backlog", True)):
        print()
        for density in DENSITIES:
            for sentence in sentences(density + title, curves(found, density, backlog=backlog)):
                print(f"- {sentence}")


def servers_of(text: str) -> list[int]:
    try:
        found = sorted({int(part) for part in text.split(",")})
    except ValueError:
        found = [0]
    if not 1 <= found[0] <= found[-1] <= Limits().devices_per_user:
        raise argparse.ArgumentTypeError("expected numbers such as 1,2,4")
    return found


def leaves(group: BaseExceptionGroup[Unsound]) -> Iterator[Unsound]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", type=servers_of, help="how many; default: 1,2,4,8,16")
    parser.add_argument("--rounds", type=int, help="default: 3")
    parser.add_argument("--svg", type=Path, help="draw the costs into this file")
    parser.add_argument("--json", type=Path, help="write all that was measured into this file")
    parser.add_argument("--quick", action="store_true", help="seconds only: does it still work?")
    options = parser.parse_args()
    size = QUICK if options.quick else Size()
    size = replace(size, servers=options.servers or size.servers, rounds=options.rounds or size.rounds)
    raise_open_file_limit()
    print(machine())
    lives: list[Life] = []
    try:
        lives, redis = trio.run(measure_all, size)
    except* Unsound as group:
        print("".join(f"\nunsound: {problem}" for problem in leaves(group)), file=sys.stderr)
    if not lives:
        sys.exit(UNSOUND_EXIT)
    tell(lives, size, redis)
    if options.json:
        told = {"machine": machine(), "redis": redis, "size": asdict(size), "lives": [asdict(life) for life in lives]}
        options.json.write_text(json.dumps(told))
    if options.svg:
        found = points(lives)
        options.svg.write_text(chart({density: curves(found, density) for density in DENSITIES}))


if __name__ == "__main__":
    main()
