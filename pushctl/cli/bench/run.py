"""How `pushctl bench` runs a form: with or without the registry, to the report and the exit code.

Owns: what a storm is when the registry can be asked, the banner's parameters, the files, the exit code.
Must not know: what is typed (__init__.py), how a report looks (view.py).
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from msgspec import Struct

from pushctl import emptying
from pushctl.cli.bench.view import bench_moment, bench_view
from pushctl.cli.interrupts import interruptible
from pushctl.cli.layout import print_report
from pushctl.cli.load_view import banner_view, watched
from pushctl.cli.report_files import append_row, can_be_written, write_histogram
from pushctl.cli.values import Sizes, seconds_text, whoami
from pushctl.client.banner import Banner, banner
from pushctl.client.bench import Bench, BenchPlan, Trouble, cut, look_at_nothing
from pushctl.client.bench_report import BenchReport, Form, ServerMemory, what_is_wrong
from pushctl.client.fleet import Plan
from pushctl.client.http import open_client
from pushctl.client.load import LoadPlan
from pushctl.collector import Collector
from pushctl.config.load import load
from pushctl.errors import NotGood, Unreachable
from pushctl.registry import Registry, open_registry

if TYPE_CHECKING:
    from pushctl.config.model import Config


class BenchResult(Struct, frozen=True):
    """What `--json` prints."""

    run: Banner
    bench: BenchReport
    wrong: list[str]
    """Why it is not good, in words; empty if it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    form: Form
    swarm: Plan
    load: LoadPlan | None
    max_p99: float | None = None
    max_lost: int = 0
    drop: float | None = None
    drain: str | None = None
    over: float = 0.0
    config: list[Path] | None = None
    sets: list[str] | None = None
    csv: Path | None = None
    histogram: Path | None = None
    json: bool = False

    @property
    def asks_the_registry(self) -> bool:
        return bool(self.config or self.sets or self.drain)


def run_bench(options: Options) -> None:
    """Raises what the exit code says."""
    config = load(options.config, options.sets or [], os.environ).config if options.asks_the_registry else None
    can_be_written(options.csv, options.histogram)
    shown = banner(f"bench {options.form}", parameters(options))
    if not options.json:
        print_report(shown, banner_view)
    found = trio.run(_run, options, config)
    wrong = what_is_wrong(
        found, max_p99_ms=options.max_p99 * 1000 if options.max_p99 is not None else None, max_lost=options.max_lost
    )
    _print(BenchResult(shown, found, wrong), json=options.json)
    if options.csv is not None:
        append_row(options.csv, shown, found)
    if options.histogram is not None:
        write_histogram(options.histogram, _histogram(found))
    if found.interrupted:
        raise KeyboardInterrupt
    if options.swarm.connects and not found.swarm.ever_connected:
        raise Unreachable("no device could connect")
    if wrong:
        raise NotGood("not good: " + ", ".join(wrong))


def _histogram(found: BenchReport) -> list[tuple[int, int]]:
    if found.delivery is not None:
        return found.delivery.histogram
    return found.load.histogram if found.load is not None else []


def _print(result: BenchResult, *, json: bool) -> None:
    if json:
        print_report(result, None)
    else:
        print_report(result.bench, bench_view)


def parameters(options: Options) -> dict[str, object]:
    """All of them, as one types them."""
    swarm, sending = options.swarm, options.load
    said: dict[str, object] = {"api": swarm.api_url, "boxoffice": swarm.boxoffice_url, "users": swarm.users}
    if swarm.connects:
        said |= {"devices": swarm.devices, "arrivals": f"{swarm.arrivals:g}/s"}
    if sending is not None:
        said |= {
            "concurrency": sending.concurrency,
            "duration": seconds_text(sending.seconds),
            "rate": f"{sending.rate:g}/s",
            "seed": sending.seed,
            "size": Sizes(*sending.sizes),
            "warmup": seconds_text(sending.warmup_seconds),
        }
    elif options.form == "idle":
        said["duration"] = seconds_text(swarm.seconds)
    if options.form == "storm":
        said |= {"drop": None if options.drop is None else f"{options.drop:.4g}", "drain": options.drain}
        said["over"] = None if options.drain is None else seconds_text(options.over)
    if options.form != "idle":
        said["max-p99"] = None if options.max_p99 is None else seconds_text(options.max_p99)
    if options.form in ("fanout", "storm"):
        said["max-lost"] = options.max_lost
    return said


async def _run(options: Options, config: "Config | None") -> BenchReport:
    swarm = options.swarm
    async with (
        open_registry(config, name="bench") if config is not None else nullcontext() as registry,
        open_client(swarm.api_url, swarm.boxoffice_url) as client,
        _trouble(options, registry) as trouble,
    ):
        plan = BenchPlan(form=options.form, swarm=swarm, load=options.load, trouble=trouble)
        bench = Bench(plan, client, partial(_memory, registry) if registry is not None else look_at_nothing)
        with Collector() as collector:
            collector.begin()
            async with watched(bench, partial(bench_moment, bench)):
                return await interruptible(bench.run, bench.interrupt)


async def _memory(registry: Registry) -> list[ServerMemory]:
    """Of the socket servers that live."""
    rows = await registry.servers.picture("")
    return [ServerMemory(row.id, row.connections, row.row.rss_bytes) for row in rows if row.alive]


@asynccontextmanager
async def _trouble(options: Options, registry: Registry | None) -> AsyncIterator[Trouble | None]:
    """The storm; a server that was drained for it takes clients again when the block is left."""
    if options.drain is None or registry is None:
        yield None if options.drop is None else cut(options.drop)
        return
    row = await emptying.find(registry, options.drain)

    async def drain(bench: Bench) -> None:
        wish = await emptying.ask_to_drain(registry, row, by=whoami(), over_seconds=options.over)
        async for _ in emptying.watch_drain(registry, row, wish):
            pass

    try:
        yield drain
    finally:
        with trio.move_on_after(5, shield=True):
            await emptying.ask_to_be_ready(registry, row, by=whoami())
