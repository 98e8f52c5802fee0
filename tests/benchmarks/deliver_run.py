"""Measuring what it takes to deliver a message: one service, and its devices, after the other (deliver.py says how).

Owns: the order of what is measured, its amounts. Promises: what was measured is sound, or Unsound is raised.
Must not know: what figures are made of it.
"""

import gc
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

import httpx
import trio

from pushctl.client.distribution import Latencies
from pushctl.client.load import LoadPlan
from pushctl.client.load_apart import load_apart
from pushctl.client.targets import Target
from pushctl.identity.keys import Keys
from pushctl.identity.sealing import Sealer
from tests.benchmarks.deliver_crowd import Devices
from tests.benchmarks.fleet_site import Site, Terms, site_on
from tests.benchmarks.rig import machine, registry_on, version
from tests.benchmarks.routing_site import cpu_seconds
from tests.benchmarks.unsound import Unsound
from tests.faults.arrivals import Metrics

PROCESSES = ("api", "router", "socket", "Redis")
"""Whose CPU a delivery costs."""

BODY_BYTES = 200
SPARE_CONNECTIONS = 1000

SENDERS = {"as many as go": 32, "paced": 64}
"""Connections of the sender, so messages under way at most."""

AFTERMATH_SECONDS = 1.0
"""After the last message came: by then acknowledgements are written and jobs are handed over."""


@dataclass(frozen=True, slots=True)
class Size:
    clients: Sequence[int] = (1_000, 10_000)
    rounds: int = 1
    per_second: float = 1_000
    seconds: float = 10
    """Of a stretch."""
    warmup_seconds: float = 2
    idle_seconds: float = 10


class Cpu(NamedTuple):
    """Seconds. `boxoffice` has no part in a delivery; `devices`: this process."""

    api: float
    router: float
    socket: float
    redis: float
    boxoffice: float
    devices: float

    def since(self, before: "Cpu") -> "Cpu":
        return Cpu(*(now - then for now, then in zip(self, before, strict=True)))


@dataclass(frozen=True, slots=True)
class Stretch:
    """Of a load, with its warm-up and what comes after; `sender`: seconds of CPU of the process that sent."""

    name: str
    per_second: float | None
    """None: a closed loop."""
    seconds: float
    cpu: Cpu
    sender: float
    messages: int
    until_last: float
    """From the beginning of the load until the last message was there."""
    posted_ms: tuple[float, float]
    """From a message's moment to the answer of its POST: median and p99; `delivered_ms`: to its frame; `late_ms`: to
    when it was sent."""
    delivered_ms: tuple[float, float]
    late_ms: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Life:
    """One service. `idle`: seconds, and CPU meanwhile."""

    clients: int
    idle: tuple[float, Cpu]
    stretches: Sequence[Stretch]


@dataclass(frozen=True, slots=True)
class Measured:
    """All there is to tell. `machine`: what it was, and how busy, when measuring began."""

    machine: str
    redis: str
    size: Size
    lives: Sequence[Life]


class Bench:
    """One service with one socket server, and its devices."""

    def __init__(self, site: Site, devices: Devices, metrics: Metrics, size: Size) -> None:
        self._site = site
        self._devices = devices
        self._metrics = metrics
        self._size = size
        self._ledger = devices.ledger

    async def life(self, clients: int) -> Life:
        """All that is measured, in order. Raises Unsound."""
        size = self._size
        await self._devices.join(clients)
        await trio.sleep(AFTERMATH_SECONDS)
        gc.collect()
        gc.freeze()  # what lives now would be looked through again and again while messages come
        await self._load("warming up", size.per_second / 2)
        before, began = self._cpu(), trio.current_time()
        await trio.sleep(size.idle_seconds)
        idle = (trio.current_time() - began, self._cpu().since(before))
        paced = await self._load(f"{size.per_second:,.0f}/s", size.per_second)
        most = await self._load("as many as go", None)
        half = ceil(most.messages / most.until_last / 2)
        stretches = [paced, most, await self._load("half of that", half)]
        await self._check(clients)
        return Life(clients, idle, stretches)

    def _cpu(self) -> Cpu:
        api, router = self._site.others
        (socket,) = self._site.sockets
        return Cpu(
            cpu_seconds(api.pid),
            cpu_seconds(router.pid),
            cpu_seconds(socket.pid),
            cpu_seconds(self._site.redis.pid),
            cpu_seconds(self._site.office.pid),
            time.process_time(),
        )

    async def _load(self, name: str, per_second: float | None) -> Stretch:
        """Send for so long, until all has come and is acknowledged. Raises Unsound."""
        size = self._size
        plan = LoadPlan(
            targets=[Target(url) for url in self._devices.push_urls],
            rate=per_second,
            seconds=size.seconds,
            warmup_seconds=size.warmup_seconds if per_second else 0,
            concurrency=SENDERS["paced" if per_second else "as many as go"],
            sizes=(BODY_BYTES, BODY_BYTES),
            headers={"TTL": "3600"},
            authorization={},
        )
        self._ledger.begin()
        async with load_apart(plan, lambda _: None) as sender:
            before, began = self._cpu(), trio.current_time()
            report = await sender.run()
            if report.errors or report.refused:
                raise Unsound(f"{name}: not all was accepted: {report}")
            await self._ledger.settled(report.warmup_accepted + report.accepted)
            until_last = self._ledger.last_at - began
            await trio.sleep(AFTERMATH_SECONDS)
            cpu = self._cpu().since(before)
        return Stretch(
            name,
            per_second,
            trio.current_time() - began,
            cpu,
            report.cpu_share * (report.seconds + plan.warmup_seconds),
            report.warmup_accepted + report.accepted,
            until_last,
            _ms(report.latency_us),
            _quantiles_ms(self._ledger.latencies),
            _ms(report.late_us),
        )

    async def _check(self, clients: int) -> None:
        """That nobody was left behind or cut off, and that all of it went the way that is measured."""
        (server,) = self._site.sockets
        said = await self._metrics.read(server)
        problems = self._site.problems()
        if said["pushctl_connections"] != clients:
            problems.append(f"{said['pushctl_connections']:g} of {clients} are still connected")
        hinted, found = (said[f'pushctl_delivery_seconds_count{{way="{way}"}}'] for way in ("hint", "log"))
        if found > hinted / 100:
            problems.append(f"{hinted:g} messages were brought by hints, and {found:g} found in the log")
        if problems:
            raise Unsound("; ".join(problems))


def _ms(latencies: Latencies) -> tuple[float, float]:
    return (latencies.p50 or 0) / 1000, (latencies.p99 or 0) / 1000


def _quantiles_ms(seconds: Sequence[float]) -> tuple[float, float]:
    in_order = sorted(seconds)
    return in_order[len(in_order) // 2] * 1000, in_order[len(in_order) * 99 // 100] * 1000


async def measure(clients: int, size: Size) -> tuple[Life, str]:
    """One life, and what Redis it was. Raises Unsound."""
    async with (
        site_on(Terms(clients + SPARE_CONNECTIONS, pauses=False)) as site,
        httpx.AsyncClient(trust_env=False) as http,
        registry_on(site.redis.url) as registry,
        trio.open_nursery() as nursery,
    ):
        (server,) = site.sockets
        sealer = Sealer(Keys.load(site.here / "keys.toml"))
        port = int(server.settings["socket.listen"].rpartition(":")[2])
        devices = Devices(registry, sealer, port, site.api, nursery)
        life = await Bench(site, devices, Metrics(http), size).life(clients)
        nursery.cancel_scope.cancel()
        redis = version(site.redis)
    gc.unfreeze()
    return life, redis


async def measure_all(size: Size) -> Measured:
    """Raises Unsound."""
    lives: list[Life] = []
    redis, busy = "", machine()
    for _ in range(size.rounds):
        for clients in size.clients:
            life, redis = await measure(clients, size)
            lives.append(life)
            print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return Measured(busy, redis, size, lives)
