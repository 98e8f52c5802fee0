"""What an operator's look costs Redis: `pushctl stats` and each `pushctl inspect`, with few users and with many.

A registry with so many users, twenty socket servers and ten other processes; one user with a thousand unread messages.
Each look is made again and again; the figures are of one. Redis counts its commands (those in scripts, too), its CPU
and the bytes it answers; what asking it for these figures costs is measured first, and left out.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from pushctl.clock import system_clock
from pushctl.config.model import Config
from pushctl.ids import ServerId
from pushctl.inspection import inspect_message, inspect_push_url, inspect_server, inspect_user
from pushctl.inspection.targets import MessageTarget, PushUrlTarget
from pushctl.load import Load
from pushctl.overview import gather
from pushctl.registry import Registry
from pushctl.registry.index import Census
from pushctl.registry.processes import ProcessRow
from pushctl.registry.servers import Row
from tests.benchmarks.rig import fill, new_person, one_redis, people, print_table, registry_on, us, version
from tests.redises.process import RedisProcess

Look = Callable[[], Awaitable[object]]

SERVERS, OTHERS = 20, 10
MESSAGES = 10
FULL_INBOX = 1000
LOAD = Load(
    0.25,
    90_000_000,
    12,
    {"written": 123_456, "frames": 200_000, "acknowledged": 120_000, "arrivals": 5_000, "closes": 4_000},
    {"written": 12.5, "frames": 20.1, "acknowledged": 12.1, "arrivals": 0.5},
)


@dataclass(frozen=True, slots=True)
class Size:
    """`users`: at each of which all looks are made; `looks`: how often each."""

    users: Sequence[int] = (1_000, 100_000)
    looks: int = 200


QUICK = Size(users=(10, 20), looks=3)


@dataclass(frozen=True, slots=True)
class Counted:
    commands: float
    cpu_us: float
    answered_bytes: float
    wall_ms: float = 0

    @classmethod
    def of(cls, server: RedisProcess) -> "Counted":
        """So far."""
        cpu, stats = server.info("cpu"), server.info("stats")
        calls = sum(
            int(str(said).split(",")[0].removeprefix("calls=")) for said in server.info("commandstats").values()
        )
        seconds = float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])
        return cls(calls, seconds * 1e6, int(stats["total_net_output_bytes"]), time.perf_counter() * 1000)

    def since(self, before: "Counted", looks: int) -> "Counted":
        return Counted(
            (self.commands - before.commands) / looks,
            (self.cpu_us - before.cpu_us) / looks,
            (self.answered_bytes - before.answered_bytes) / looks,
            (self.wall_ms - before.wall_ms) / looks,
        )


async def measured(server: RedisProcess, look: Look, looks: int) -> Counted:
    """One such look, what counting costs left out."""
    await look()
    nothing = Counted.of(server)
    before = Counted.of(server)
    for _ in range(looks):
        await look()
    found, idle = Counted.of(server).since(before, looks), before.since(nothing, looks)
    return Counted(
        found.commands - idle.commands,
        max(0, found.cpu_us - idle.cpu_us),
        found.answered_bytes - idle.answered_bytes,
        found.wall_ms - idle.wall_ms,
    )


async def _processes(registry: Registry) -> None:
    for number in range(SERVERS):
        server = ServerId(f"s{number}")
        generation = await registry.servers.new_generation(server)
        url, now_ms = f"wss://s{number}.push.example/", system_clock()
        row = Row("ready", url, 8000, 10_000, generation, "0.1.0", "now", load=LOAD, clock_ms=now_ms)
        await registry.servers.heartbeat(server, row)
    for number in range(OTHERS):
        about = ProcessRow("api", "api", f"host-{number}", 4711, "0.1.0", "now", load=LOAD, clock_ms=system_clock())
        await registry.processes.report(f"api-{number}", about)
    now_ms = await registry.now_ms()
    await registry.index.write_census(Census(now_ms, now_ms, 1, 1, 1, 1, 1))
    await registry.jobs.join("channel-r1", 0)


async def at(users: int, looks: int) -> tuple[dict[str, Counted], str]:
    """What each look costs on a registry with so many users."""
    config = Config()
    with one_redis("appendonly no") as server:
        async with registry_on(server.url) as registry:
            everybody = await people(registry, users)
            somebody, busy = everybody[0], await new_person(registry)
            stored = await fill(registry, somebody, MESSAGES)
            await fill(registry, busy, FULL_INBOX)
            await _processes(registry)
            ref = stored[0].ref
            asked: dict[str, Look] = {
                "stats": lambda: gather(registry, config),
                f"inspect user, {MESSAGES} messages": lambda: inspect_user(registry, config, somebody.user),
                f"inspect user, {FULL_INBOX:,} messages": lambda: inspect_user(registry, config, busy.user),
                "inspect push-url": lambda: inspect_push_url(
                    registry, config, PushUrlTarget(somebody.user, somebody.push_url, somebody.number)
                ),
                "inspect message": lambda: inspect_message(
                    registry, MessageTarget(somebody.user, ref.seq, ref.tag, None)
                ),
                "inspect server": lambda: inspect_server(registry, config, ServerId("s1")),
            }
            return {name: await measured(server, look, looks) for name, look in asked.items()}, version(server)


async def run(size: Size) -> None:
    columns = []
    for users in size.users:
        found, redis = await at(users, size.looks)
        columns.append(found)
    rows = [
        [
            f"{name}, {users:,} users",
            f"{column[name].commands:.0f}",
            us(column[name].cpu_us),
            f"{column[name].answered_bytes / 1024:.1f}",
            f"{column[name].wall_ms:.1f}",
            "" if column is columns[0] else f"{column[name].cpu_us / max(1, columns[0][name].cpu_us):.2f}",
        ]
        for name in columns[0]
        for users, column in zip(size.users, columns, strict=True)
    ]
    print_table(
        "Looks: what an operator's look costs Redis",
        ["", "commands", "µs of CPU", "KiB answered", "ms", f"CPU, {size.users[-1]:,}/{size.users[0]:,} users"],
        rows,
        f"{SERVERS} socket servers, {OTHERS} other processes; each figure over {size.looks} looks. {redis}.",
    )
