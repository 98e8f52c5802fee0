"""What the benchmarks of the registry share: people with inboxes, callers, the CPU they cost, tables.

Promises: two things that are compared are measured alternately in one run, round by round, so that whatever else the
machine does hits both; what is printed is the median of the rounds, with how far they were apart. Figures of one
machine prove nothing about another; ratios say a little more.
"""

import os
import platform
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TypeVar

import trio

from pushctl.config.model import Config, Limits, Redis
from pushctl.ids import DeviceId, PushUrlId, SessionHash, UserId, new_id
from pushctl.registry import Registry, open_registry
from pushctl.registry.messages import NewMessage, Stored
from tests.redises.cluster import redis_cluster
from tests.redises.process import RedisProcess

T = TypeVar("T")

SITE = "https://news.example"
KEY_ID = "key1"
DAY_MS = 86_400_000
PREPARING_CALLERS = 256

UNLIMITED = replace(
    Limits(),
    unread_per_user=10**6,
    unread_per_push_url=10**6,
    unread_bytes_per_user=10**9,
    unread_bytes_per_push_url=10**9,
    push_url_per_second=10**6,
    push_url_burst=10**6,
    user_per_second=10**6,
    user_burst=10**6,
)
"""Limits of an inbox that is never full, whose rates are counted and never reached."""


# --- installations ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Installation:
    """A registry and the servers behind it."""

    name: str
    registry: Registry
    servers: Sequence[RedisProcess]

    def server_cpu_seconds(self) -> float:
        """Spent so far by all of its servers, in their own code and in the kernel for them."""
        cpu = [server.info("cpu") for server in self.servers]
        return sum(float(each["used_cpu_user"]) + float(each["used_cpu_sys"]) for each in cpu)


@contextmanager
def folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="pushctl-") as name:
        yield Path(name)


@asynccontextmanager
async def registry_on(
    url: str, *, limits: Limits = UNLIMITED, wait_replicas: int = 0, prefix: str = "pushctl"
) -> AsyncIterator[Registry]:
    """With a patient link: what is measured here is how much it takes, not when it gives up."""
    redis = Redis(url=url, prefix=prefix, timeout_seconds=30, queue_commands=100_000, wait_replicas=wait_replicas)
    async with open_registry(replace(Config(), redis=redis, limits=limits), name="benchmark") as registry:
        yield registry


@contextmanager
def one_redis(*lines: str) -> Iterator[RedisProcess]:
    """On TCP, as a Cluster must be; on disk once a second, as operators have it."""
    with folder() as here, ExitStack() as stack:
        process = RedisProcess(here, "appendfsync everysec", *lines, listen="port")
        stack.callback(process.kill)
        yield process


@asynccontextmanager
async def both() -> AsyncIterator[list[Installation]]:
    """One Redis, and a Cluster of three masters."""
    with one_redis() as single, folder() as here, redis_cluster(here, node_timeout_ms=15_000) as cluster:
        async with registry_on(single.url) as one, registry_on(cluster.url) as three:
            yield [Installation("one Redis", one, [single]), Installation("Cluster", three, cluster.masters)]


# --- people ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Person:
    """A user with one device and one push URL. `identity`: the entry of the identity that logged in."""

    user: UserId
    device: DeviceId
    session: SessionHash
    identity: str
    push_url: PushUrlId
    number: int

    def message(self, body: bytes = b"x" * 200) -> NewMessage:
        return NewMessage(self.push_url, self.number, DAY_MS, 2, None, KEY_ID, body, None, b"")


def new_session() -> SessionHash:
    return SessionHash(new_id(32))


async def new_user(registry: Registry) -> tuple[UserId, DeviceId, SessionHash, str]:
    """A user, its device, that one's session, and the entry of the identity that logged in."""
    user, identity = UserId(new_id(16)), new_id(32)
    name, session = "Firefox on laptop", new_session()
    registered = await registry.users.register(user, device=None, name=name, session=session, identity=identity)
    return user, registered.device, session, identity


async def allow(registry: Registry, user: UserId, site: str = SITE, *, key_id: str = KEY_ID) -> tuple[PushUrlId, int]:
    _, record, _ = await registry.push_urls.allow(
        user, new_id=PushUrlId(new_id()), site=site, vapid_key=None, icon=None, key_id=key_id
    )
    return record.id, record.number


async def new_person(registry: Registry) -> Person:
    somebody = await new_user(registry)
    return Person(*somebody, *await allow(registry, somebody[0]))


async def for_each(items: Collection[T], work: Callable[[T], Awaitable[object]]) -> None:
    """Do it for all of them, many at a time."""
    left = iter(items)

    async def caller() -> None:
        for item in left:
            await work(item)

    async with trio.open_nursery() as nursery:
        for _ in range(min(PREPARING_CALLERS, len(items))):
            nursery.start_soon(caller)


async def people(registry: Registry, count: int) -> list[Person]:
    found: list[Person] = []

    async def one(_: int) -> None:
        found.append(await new_person(registry))

    await for_each(range(count), one)
    return found


async def fill(registry: Registry, person: Person, messages: int) -> list[Stored]:
    """So many messages in one inbox, in order."""
    stored: list[Stored] = []

    async def one(_: int) -> None:
        stored.append(await registry.messages.append(person.user, person.message()))

    await for_each(range(messages), one)
    return sorted(stored, key=lambda each: each.ref.seq)


# --- callers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Figures:
    """Operations per second; CPU of this process and of all servers, in microseconds per operation."""

    rate: float
    client_us: float
    servers_us: float


Operation = Callable[[], Awaitable[bool]]
"""Do one; False: there is nothing left to do."""


async def measure(operation: Operation, installation: Installation, *, callers: int, seconds: float) -> Figures:
    """So many callers, each with one operation under way at any moment, for so long."""
    done = 0
    servers_before, client_before = installation.server_cpu_seconds(), time.process_time()
    start = trio.current_time()

    async def caller() -> None:
        nonlocal done
        while trio.current_time() - start < seconds and await operation():
            done += 1

    async with trio.open_nursery() as nursery:
        for _ in range(callers):
            nursery.start_soon(caller)
    elapsed = trio.current_time() - start
    client = time.process_time() - client_before
    servers = installation.server_cpu_seconds() - servers_before
    done = max(done, 1)
    return Figures(done / elapsed, client * 1e6 / done, servers * 1e6 / done)


def middle(rounds: Sequence[Figures]) -> Figures:
    return Figures(
        median(each.rate for each in rounds),
        median(each.client_us for each in rounds),
        median(each.servers_us for each in rounds),
    )


def spread(rounds: Sequence[float]) -> float:
    """How far the rounds were apart: half of (largest - smallest), as a part of the median."""
    return (max(rounds) - min(rounds)) / 2 / median(rounds)


# --- tables ----------------------------------------------------------------------------------------------------------


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], *notes: str) -> None:
    """As Markdown, aligned: the first column to the left, figures to the right."""
    widths = [max(len(row[n]) for row in (head, *rows)) for n in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        aligned = [
            cell.rjust(width) if n else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(aligned)} |"

    rules = [("-" * (width - 1) + ":") if n else "-" * width for n, width in enumerate(widths)]
    print(f"\n### {title}\n", line(head), line(rules), *map(line, rows), *(f"\n{note}" for note in notes), sep="\n")


def us(microseconds: float) -> str:
    """Three digits, more or less: what one of a large batch costs is less than one."""
    return f"{microseconds:,.0f}" if microseconds >= 10 else f"{microseconds:.1f}"


def machine() -> str:
    """What the figures are of, and how busy it was with other things."""
    model = subprocess.run(
        ["sed", "-n", "s/^model name.*: //p", "/proc/cpuinfo"], capture_output=True, text=True, check=False
    ).stdout.splitlines()
    return (
        f"{os.cpu_count()} x {model[0] if model else platform.processor()}, Python {platform.python_version()}, "
        f"trio {trio.__version__}, load average {os.getloadavg()[0]:.1f}"
    )


def version(server: RedisProcess) -> str:
    return f"Redis {server.info('server')['redis_version']}, {server.info('memory')['mem_allocator']}"
