"""How a swarm looks: a bar while it logs in, arrives and checks, a line of numbers while it stays, a report at the end.

Owns: layout and words. Promises: what moves is on stderr and only on a terminal; elsewhere each phase is one line.
Must not know: devices.
"""

import math
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio
from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pushctl.cli.client.device import say
from pushctl.cli.layout import facts, print_report
from pushctl.client.distribution import Percentiles
from pushctl.client.fleet import Fleet
from pushctl.client.phase import Phase
from pushctl.client.report import Report

LOOK_SECONDS: Final = 0.25
RATE_LOOKS: Final = 8
"""The rate on screen is over so many looks: two seconds."""


@asynccontextmanager
async def watched(fleet: Fleet) -> AsyncIterator[None]:
    """Shows how the fleet is doing while the block runs."""
    if not sys.stderr.isatty():
        fleet.on_phase = _tell
        yield
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_draw, fleet)
        yield
        nursery.cancel_scope.cancel()


def _tell(phase: Phase) -> None:
    say(f"{phase.name}: {phase.total:,}" if phase.total else phase.name)


async def _draw(fleet: Fleet) -> None:
    """Drawn by us, in time with the event loop: rich would start a thread for it."""
    seen: list[int] = []
    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as screen:
        while True:
            seen = [*seen[-RATE_LOOKS:], fleet.tally.received]
            per_second = (seen[-1] - seen[0]) / max(1, len(seen) - 1) / LOOK_SECONDS
            screen.update(_moment(fleet, per_second), refresh=True)
            await trio.sleep(LOOK_SECONDS)


def _moment(fleet: Fleet, per_second: float) -> RenderableType:
    phase = fleet.phase
    grid = Table.grid(padding=(0, 2, 0, 0))
    if phase.total:
        bar = ProgressBar(total=phase.total, completed=phase.done, width=16)
        skip = " (Ctrl-C skips it)" if fleet.was_interrupted else ""
        grid.add_row(phase.name + skip, bar, f"{phase.done:,}/{phase.total:,}", _online(fleet))
    else:
        grid.add_row(f"{phase.name}{_left(phase)}", _online(fleet).append_text(_numbers(fleet, per_second)))
    return grid


def _left(phase: Phase) -> str:
    """How long it still takes."""
    if phase.ends_at == math.inf:
        return ""
    seconds = max(0, round(phase.ends_at - trio.current_time()))
    return f" {seconds // 60}:{seconds % 60:02d}"


def _online(fleet: Fleet) -> Text:
    tally, devices = fleet.tally, fleet.plan.users * fleet.plan.devices
    if not tally.ever_connected:
        return Text()
    all_are = tally.connected == tally.ever_connected
    line = Text(f"online {tally.connected:,}/{devices:,}", style="green" if all_are else "yellow")
    return line.append(f"  wrong {tally.wrong:,}" if tally.wrong else "", style="bold red")


def _numbers(fleet: Fleet, per_second: float) -> Text:
    """Of messages."""
    line = Text(f"  received {fleet.tally.received:,} ({per_second:,.0f}/s)")
    p99 = fleet.tally.latency.percentile(0.99)
    return line.append(f"  p99 {p99:,} ms" if p99 is not None else "")


def print_swarm(found: Report, *, json: bool) -> None:
    print_report(found, None if json else _view)


def _view(found: Report) -> RenderableType:
    return facts(
        f"{found.devices:,} devices of {found.users:,} users, {found.seconds:,.1f} s",
        ("connected", _of(found.connected, found.devices)),
        ("received", f"{found.received:,} ({found.received_live:,} live, {found.received_later:,} by a sync)"),
        ("wrong", _wrong(found)),
        ("behind", f"{found.behind:,} messages still to come" if found.behind else None),
        ("unchecked", Text(f"{found.unchecked:,} users", style="yellow") if found.unchecked else None),
        ("read", f"{found.reads:,}, {found.reads_confirmed:,} confirmed" if found.reads else None),
        ("syncs", f"{found.deltas:,} deltas, {found.snapshots:,} snapshots"),
        ("disconnected", by_code(found.disconnects)),
        ("given up", by_code(found.given_up)),
        ("refused", refused(found)),
        ("unreachable", f"{found.unreachable:,} tries" if found.unreachable else None),
        ("to connect", percentiles(found.connect_ms)),
        ("latency", percentiles(found.latency_ms) + (", since sent_at" if found.latency_ms.max is not None else "")),
    )


def _of(part: int, whole: int) -> Text:
    return Text(f"{part:,} of {whole:,}", style="green" if part == whole else "red")


def _wrong(found: Report) -> Text:
    said = (
        f"{found.lost:,} lost, {found.skipped:,} skipped, {found.duplicate:,} duplicate, {found.reordered:,} reordered"
    )
    return Text(said, style="red" if found.wrong else "green")


def by_code(counts: dict[str, int]) -> str | None:
    """None where there is nothing to say."""
    return ", ".join(f"{count:,} with {code}" for code, count in counts.items()) or None


def refused(found: Report) -> str | None:
    """None where there is nothing to say."""
    counts = {
        "api": found.refused_by_api,
        "Box Office": found.refused_by_boxoffice,
        "socket servers": found.refused_by_servers,
    }
    return ", ".join(f"{count:,} by {who}" for who, count in counts.items() if count) or None


def percentiles(found: Percentiles) -> str:
    if found.max is None:
        return "nothing measured"
    return f"p50 {found.p50:,} ms, p90 {found.p90:,}, p99 {found.p99:,}, max {found.max:,}"
