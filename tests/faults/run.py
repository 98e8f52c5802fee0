"""One run: an installation, its devices and sites, faults in turn, and then the books are balanced.

Owns: the order of things, and how long everything may take to settle. Promises: the same seed makes the same decisions
(not the same timing); what is wrong at the end is in the outcome, nothing is raised for it.
Must not know: how results are shown.
"""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import trio

from tests.faults.deployment import PREFIX, Deployment, Pace, deployed
from tests.faults.ledger import Ledger, Problem
from tests.faults.plan import SHORT, Struck
from tests.faults.senders import Mail, Site, Target
from tests.faults.swarm import Device, Manners, World
from tests.faults.unruly import misbehave
from tests.scenario.people import Person, Town

SETTLE_SECONDS = 45.0
"""After the last fault, until every device has everything."""

LEFTOVER_SECONDS = 30.0
"""After the last device has gone, until no lease and no job is left."""

QUIET_SECONDS = 1.5
"""Listened on after everything is there: what comes twice comes late."""

SITES = 8
PER_SECOND = 28


@dataclass(frozen=True, slots=True)
class Size:
    users: int = 16
    unruly: int = 4
    """Users of whose two devices one does not behave."""
    freeze_seconds: float = SHORT.freeze
    """The longest that a server may be frozen: some devices are more patient."""


def patient(size: Size) -> float:
    """Seconds of silence that a patient device takes; it survives a freeze."""
    return size.freeze_seconds + 2


def all_manners(size: Size) -> list[Manners]:
    """Of devices that keep to the protocol. Some leave a frozen server, some stay."""
    return [
        Manners(patience_seconds=patient(size)),
        Manners(patience_seconds=3),
        Manners(patience_seconds=3, vanishes_after_seconds=5),
        Manners(patience_seconds=patient(size), vanishes_after_seconds=8, forgets=True),
        Manners(patience_seconds=patient(size), frame_seconds=0.2),
    ]


class Lag:
    """When this process was not listening: it judges others by its own clock."""

    def __init__(self) -> None:
        self._missed: list[tuple[float, float]] = []

    async def watch(self) -> None:
        while True:
            before = trio.current_time()
            await trio.sleep(0.05)
            late = trio.current_time() - before - 0.05
            if late > 0.01:
                self._missed.append((trio.current_time(), late))

    def between(self, begin: float, end: float) -> float:
        """Seconds of this time, all told."""
        return sum(late for at, late in self._missed if begin <= at <= end + 0.2)

    @property
    def worst(self) -> float:
        return max((late for _, late in self._missed), default=0.0)


@dataclass(slots=True)
class Outcome:
    """What a run was and what is wrong. Times of one monotonic clock."""

    strategy: str
    seed: str
    ledger: Ledger
    mail: Mail
    world: World
    began: float
    struck: list[Struck] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    calm: list[tuple[float, float]] = field(default_factory=list)
    """When nothing was wrong with the service."""
    ended: float = 0.0
    lag_seconds: float = 0.0

    async def calm_for(self, seconds: float) -> None:
        """Let messages flow; nothing is wrong with the service."""
        began = trio.current_time()
        await trio.sleep(seconds)
        self.calm.append((began, trio.current_time()))


Trouble = Callable[[Deployment, Outcome], Awaitable[None]]
"""What happens while messages flow. It notes in the outcome what it struck."""


async def run(
    strategy: str, seed: str, trouble: Trouble, *, size: Size | None = None, pace: Pace | None = None
) -> Outcome:
    """From the first start to the last leftover."""
    chance = random.Random(f"{seed} {strategy}")
    async with deployed(strategy, pace or Pace()) as deployment:
        ledger = Ledger()
        async with _households(deployment, ledger, size or Size(), chance) as (world, devices, mail):
            outcome = Outcome(strategy, seed, ledger, mail, world, trio.current_time())
            lag = Lag()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lag.watch)
                async with trio.open_nursery() as sites:
                    for number in range(SITES):
                        sites.start_soon(Site(f"site{number}", mail, random.Random(chance.random())).run)
                    await trouble(deployment, outcome)
                    mail.over = True
                await _settle(world, devices, ledger)
                nursery.cancel_scope.cancel()
            await _compare(devices, ledger)
            outcome.problems = ledger.judge(lag.between, outcome.calm)
            outcome.problems += _unexplained(deployment, outcome, patient(size or Size()))
            outcome.lag_seconds = lag.worst
        outcome.problems += await _leftovers(deployment)
        await deployment.stop()
        outcome.problems += [Problem("process", text, trio.current_time()) for text in deployment.problems()]
        outcome.ended = trio.current_time()
        return outcome


@asynccontextmanager
async def _households(
    deployment: Deployment, ledger: Ledger, size: Size, chance: random.Random
) -> AsyncIterator[tuple[World, list[Device], Mail]]:
    """Everybody logged in, with a push URL each and every device connected. Gone at the end, without a goodbye."""
    async with httpx.AsyncClient(timeout=10, trust_env=False) as http, trio.open_nursery() as nursery:
        town = Town(deployment.service, http)
        world = World(deployment.service.boxoffice, http, ledger)
        kinds = all_manners(size)
        devices: list[Device] = []
        targets: list[Target] = []
        doors = [link.door for link in deployment.device_links.values()]
        for number in range(size.users + size.unruly):
            people = [await town.login(f"user{number}") for _ in range(2)]
            targets.append(await _allow(people[0], deployment))
            for n, person in enumerate(people):
                unruly = n == 1 and number >= size.users
                manners = Manners() if unruly else chance.choice(kinds)
                label = f"user{number}/{n}{' (unruly)' if unruly else ''}"
                device = Device(person, label, world, manners, random.Random(chance.random()))
                devices.append(device)
                if unruly:
                    nursery.start_soon(misbehave, device, world, doors, random.Random(chance.random()))
                else:
                    nursery.start_soon(device.run)
                    with trio.fail_after(20):
                        await device.live.wait()
        yield world, devices, Mail(deployment.apis, targets, ledger, SITES / PER_SECOND)
        nursery.cancel_scope.cancel()


async def _allow(person: Person, deployment: Deployment) -> Target:
    push_url = await person.allow()
    return Target(person.user, push_url["url"].removeprefix(deployment.service.api))


async def _settle(world: World, devices: list[Device], ledger: Ledger) -> None:
    """Until every device has everything, for SETTLE_SECONDS at most: then what is missing is lost."""
    world.calm = True
    with trio.move_on_after(SETTLE_SECONDS):
        while any(ledger.missing()) or not all(each.settled for each in devices):  # noqa: ASYNC110 - nobody tells
            await trio.sleep(0.1)
    await trio.sleep(QUIET_SECONDS)
    for device in devices:
        if not device.settled:
            ledger.note("read", f"{device.book.label} is not settled: {device.state()}", trio.current_time())


async def _compare(devices: list[Device], ledger: Ledger) -> None:
    for user, person in {device.person.user: device.person for device in devices}.items():
        stored: dict[str, str] = {}
        since: str | None = None
        while True:
            answer = await person.ask(
                "GET", "/v1/messages", params={"limit": 500} | ({"since": since} if since else {})
            )
            assert answer.status_code == 200, answer.text
            stored |= {message["id"]: message["notification"]["body"] for message in answer.json()["messages"]}
            since = answer.json()["next"]
            if since is None:
                break
        ledger.compare_unread(user, stored, trio.current_time())


def _unexplained(deployment: Deployment, outcome: Outcome, patience_seconds: float) -> Iterator[Problem]:
    """Connections lost though nothing was done to their server, nor to its link with devices: whatever is done to
    Redis, and to others, costs no connection."""
    servers = {link.door: label for label, link in deployment.device_links.items()}
    for loss in outcome.world.losses:
        server = servers[loss.server]
        if not any(
            server in struck.servers and struck.began <= loss.at <= struck.ended + patience_seconds
            for struck in outcome.struck
        ):
            yield Problem("closed", f"{loss.device} lost its connection to {server}: {loss.how}", loss.at)


async def _leftovers(deployment: Deployment) -> list[Problem]:
    """Leases and jobs that are still there LEFTOVER_SECONDS after everybody left."""
    found: list[str] = []

    def look() -> list[str]:
        redis = deployment.redis
        leases = [f"a lease: {key.decode()}" for key in redis.ask("KEYS", f"{PREFIX}:{{u:*}}:presence")]
        jobs = []
        for key in redis.ask("KEYS", f"{PREFIX}:{{route:*}}"):
            groups = [dict(zip(group[::2], group[1::2], strict=True)) for group in redis.ask("XINFO", "GROUPS", key)]
            if (length := redis.ask("XLEN", key)) or any(group[b"pending"] for group in groups):
                jobs.append(f"jobs: {length} in {key.decode()}, {groups}")
        return leases + jobs

    with trio.move_on_after(LEFTOVER_SECONDS):
        while found := await trio.to_thread.run_sync(look):  # noqa: ASYNC110 - Redis tells nobody
            await trio.sleep(0.2)
    return [Problem("leftover", text, trio.current_time()) for text in found]
