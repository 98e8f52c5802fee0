"""`pushctl stats` as a person sees it, and over time: screens, trends, a registry that goes away, the end by Ctrl-C."""

import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import trio

from pushctl.clock import system_clock
from pushctl.config.model import Config
from pushctl.ids import ServerId
from pushctl.load import Load
from pushctl.registry import Registry, open_registry
from pushctl.registry.index import Census
from pushctl.registry.processes import ProcessRow
from pushctl.registry.servers import Drain, Row
from tests.json_lines import valid_json_lines
from tests.redises.process import RedisProcess
from tests.terminal import PUSHCTL, Terminal, frozen, hold_screen, terminal

LONG_AGO = "2020-01-01T00:00:00.000Z"
LOAD = Load(0.12, 95_000_000, 3, {"slow_closes": 2}, {"written": 1234.5, "arrivals": 3.2, "frames": 1500})
VOLATILE = (
    r"(?<= 700) +(now|\d+s ago)",  # when users and messages were counted
    r"(?<=^ 4,200) +(now|\d+s ago)",
    r" (now|[ \d]\ds)$",
    r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d",
    r"127\.0\.0\.1:\d{5}",
    r"(?<= ok ).*$",
    r" *[▁▂▃▄▅▆▇█]{3,}(?=  )",
)
SERVERS = (
    Row("ready", "wss://s1.push.example/", 120, 1000, 1, "1.0", LONG_AGO, 95_000_000, 60, load=LOAD),
    Row("ready", "wss://s2.push.example/", 850, 1000, 1, "1.0", LONG_AGO, 95_000_000, 500, load=LOAD),
)
ROLES = tuple(
    ProcessRow(role, label, "host-a", 4711, "1.0", LONG_AGO, load=Load(0.3, 80_000_000, 12, {}, {word: 12.5}))
    for role, label, word in (("api", "api", "stored"), ("router", "channel-r1", "jobs"))
)


@pytest.fixture
def own_redis(folder: Path) -> Iterator[RedisProcess]:
    """On a port: its address is as wide each time."""
    process = RedisProcess(folder, listen="port")
    yield process
    process.kill()


@pytest.fixture
def its_config(own_redis: RedisProcess, config: Config) -> Config:
    return replace(config, redis=replace(config.redis, url=own_redis.url))


async def say(registry: Registry, *rows: Row, roles: tuple[ProcessRow, ...] = ROLES) -> None:
    for number, row in enumerate(rows, 1):
        now_ms = system_clock()
        await registry.servers.heartbeat(ServerId(f"s{number}"), msgspec.structs.replace(row, clock_ms=now_ms))
    for role in roles:
        await registry.processes.report(f"{role.role}-1", msgspec.structs.replace(role, clock_ms=system_clock()))


async def settle(registry: Registry) -> None:
    """gc has counted, a router reads."""
    now_ms = await registry.now_ms()
    await registry.index.write_census(Census(now_ms, now_ms, 560, 1300, 700, 4200, 970))
    await registry.jobs.join("channel-r1", 0)


@asynccontextmanager
async def living(config: Config) -> AsyncIterator[Registry]:
    """A service of two servers that beat, as far as the registry can tell."""
    async with open_registry(config, name="test") as registry, trio.open_nursery() as nursery:
        await settle(registry)
        await say(registry, *SERVERS)

        async def beat() -> None:
            while True:
                await trio.sleep(0.5)
                await say(registry, *SERVERS)

        nursery.start_soon(beat)
        yield registry
        nursery.cancel_scope.cancel()


def command(config: Config, *arguments: str) -> list[str]:
    sets = (f"redis.url={config.redis.url}", f"redis.prefix={config.redis.prefix}")
    return [*PUSHCTL, "stats", *arguments, *(word for each in sets for word in ("--set", each))]


def and_ends(command: list[str]) -> list[str]:
    """It says when it has ended, and how."""
    return ["sh", "-c", '"$@"; echo "it ended with $?"', "sh", *command]


async def seen_at_the_end(shown: Terminal) -> list[str]:
    """Of `and_ends`: before the end the last heading may be there without its rows."""
    return (await seen(shown, "it ended with 0"))[:-1]


async def seen(shown: Terminal, text: str) -> list[str]:
    lines = await shown.until(text)
    return frozen([re.sub("(?<=Redis commands/s|Redis memory    ).*", "", line).rstrip() for line in lines], *VOLATILE)


@pytest.mark.debian
@pytest.mark.parametrize("columns", [80, 120])
async def test_the_whole_overview(its_config: Config, columns: int) -> None:
    async with living(its_config), terminal(and_ends(command(its_config)), columns=columns, rows=50) as shown:
        hold_screen("stats", columns, await seen_at_the_end(shown))


@pytest.mark.debian
@pytest.mark.parametrize("columns", [80, 120])
async def test_what_is_wrong_comes_first(its_config: Config, columns: int) -> None:
    async with open_registry(its_config, name="test", shift_ms=lambda: -150_000) as before:
        await say(before, SERVERS[0], roles=ROLES[:1])
    drain = Drain("ops", 1_800_000_000_000, 300_000, 900)
    draining = msgspec.structs.replace(SERVERS[1], state="draining", drain=drain)
    async with open_registry(its_config, name="test") as registry, trio.open_nursery() as nursery:

        async def beat() -> None:
            while True:
                row = msgspec.structs.replace(draining, clock_ms=system_clock())
                await registry.servers.heartbeat(ServerId("s2"), row)
                await trio.sleep(0.5)

        nursery.start_soon(beat)
        async with terminal(and_ends(command(its_config)), columns=columns, rows=50) as shown:
            hold_screen("stats-warnings", columns, await seen_at_the_end(shown))
        nursery.cancel_scope.cancel()


@pytest.mark.debian
@pytest.mark.parametrize("columns", [80, 120])
async def test_an_empty_registry(its_config: Config, columns: int) -> None:
    async with terminal(and_ends(command(its_config)), columns=columns, rows=30) as shown:
        hold_screen("stats-empty", columns, await seen_at_the_end(shown))


@pytest.mark.debian
@pytest.mark.parametrize("columns", [80, 120])
async def test_a_watch_redraws_in_place_outlives_redis_and_leaves_its_last_look(
    its_config: Config, own_redis: RedisProcess, columns: int
) -> None:
    watching = command(its_config, "--watch", "200ms")
    twice = 'trap : INT; "$@"; echo "it ended with $?"; read -r _; "$@"; echo "then with $?"'
    shell = ["sh", "-c", twice, "sh", *watching]
    async with terminal(shell, columns=columns, rows=50) as shown:
        async with living(its_config):
            await shown.until("███  970 to 970")
            hold_screen("stats-watch", columns, await seen(shown, "replicas"))
        own_redis.kill()
        lines = await shown.until("the registry does not answer; this is")
        assert any("s2" in line for line in lines), "what was known stays in sight"
        own_redis.start()
        await shown.until(lambda screen: "does not answer" not in "\n".join(screen))
        await shown.resize(columns, 10)
        await shown.until("more lines: a higher terminal, or one section, shows them")
        await shown.resize(columns, 50)
        await shown.press("C-c")
        lines = await shown.until("it ended with 130")
        assert sum("socket server" in line for line in lines) >= 1
        assert "Redis memory" in "\n".join(lines)
        await shown.press("Enter")
        await shown.until(lambda screen: "it ended" not in "\n".join(screen) and "Redis memory" in "\n".join(screen))
        await shown.press("x", "q")
        await shown.until("then with 0")


async def test_a_watch_that_is_piped_prints_a_line_for_each_look_and_goes_on_without_redis(
    its_config: Config, own_redis: RedisProcess
) -> None:
    process = await trio.lowlevel.open_process(
        command(its_config, "--json", "--watch", "100ms"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        # Tests that run in the background ignore SIGINT, and children take that over.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with trio.fail_after(30):
        said = await lines_of(process.stdout, 2)
        first, second = valid_json_lines("stats", "\n".join(said))
        assert first["at"] < second["at"]
        assert second["redis"]["masters"][0]["cpu"] is not None
        own_redis.kill()
        (away,) = await lines_of(process.stderr, 1, holding="no look")
        assert away.endswith("; trying again")
        own_redis.start()
        await lines_of(process.stderr, 1, holding="answers again")
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130


async def lines_of(stream: trio.abc.ReceiveStream, count: int, holding: str = "") -> list[str]:
    """The first so many that hold this."""
    text = ""
    while True:
        found = [line for line in text.split("\n")[:-1] if holding in line]
        if len(found) >= count:
            return found[:count]
        text += (await stream.receive_some()).decode()
