"""How a load looks: the banner before it, a bar for each phase, and the report with its histogram.

Owns: layout and words, shared by `pushctl send --targets` and `pushctl bench`. Promises: what moves is on stderr and
only on a terminal; elsewhere each phase is one line. 80 columns are enough.
Must not know: how anything is sent.
"""

import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Final, Protocol

import trio
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pushctl.cli.client.device import say
from pushctl.cli.layout import facts, size
from pushctl.client.banner import Banner
from pushctl.client.distribution import Latencies
from pushctl.client.load_report import LoadReport
from pushctl.client.phase import Phase

LOOK_SECONDS: Final = 0.25
BUSY_SHARE: Final = 0.85
"""Of a core: a sender that uses more may be what was measured."""

BAR_COLUMNS: Final = 40
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"


class Watched(Protocol):
    """Whatever has phases."""

    on_phase: Callable[[Phase], None]

    @property
    def phase(self) -> Phase: ...


@asynccontextmanager
async def watched(work: Watched, moment: Callable[[], Text]) -> AsyncIterator[None]:
    """Shows how it is getting on while the block runs. `moment`: what stands beside the bar."""
    if not sys.stderr.isatty():
        work.on_phase = _tell
        yield
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_draw, work, moment)
        yield
        nursery.cancel_scope.cancel()


def _tell(phase: Phase) -> None:
    say(f"{phase.name}: {phase.total:,}" if phase.total else phase.name)


async def _draw(work: Watched, moment: Callable[[], Text]) -> None:
    """Drawn by us, in time with the event loop: rich would start a thread for it."""
    console = Console(stderr=True)
    with Live(console=console, auto_refresh=False, transient=True) as screen:
        while True:
            screen.update(phase_line(work.phase, moment()), refresh=True)
            await trio.sleep(LOOK_SECONDS)


def phase_line(phase: Phase, moment: Text) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    if phase.total:
        done = min(phase.done, phase.total)
        bar = ProgressBar(total=phase.total, completed=done, width=16)
        grid.add_row(phase.name, bar, f"{done:,}/{phase.total:,}", moment)
    else:
        left = phase.ends_at - trio.current_time()
        grid.add_row(phase.name, f"{max(0, left):.0f} s left" if left < 1e6 else f"{phase.done:,}", moment)
    return grid


# --- banner ----------------------------------------------------------------------------------------------------------


def banner_view(banner: Banner) -> RenderableType:
    """Every parameter, sorted by name: this and the report are enough to repeat a run."""
    said = Text(overflow="fold")
    for name, value in banner.parameters.items():
        said.append(f"{name}=", style="dim").append(f"{value}  ")
    where = f"{banner.cpu}, {banner.system}, {banner.python}"
    head = Text(f"pushctl {banner.version} ({banner.commit}) {banner.command}, {banner.at}", style="bold")
    return Group(head, Text(where, style="dim"), said, Text())


# --- report ----------------------------------------------------------------------------------------------------------


def load_view(found: LoadReport) -> RenderableType:
    return Group(load_counts(found), histogram(found.histogram))


def load_counts(found: LoadReport) -> RenderableType:
    return facts(
        f"{found.accepted:,} of {found.due:,} accepted in {found.seconds:,.1f} s: {found.accepted_rate:,.1f}/s",
        ("loop", _loop(found)),
        ("accepted", Text(f"{found.accepted:,}, {size(found.accepted_bytes)}", style=_colour(not found.errors))),
        ("refused", _by_name(found.refused, "with ")),
        ("failed", _by_name(found.failed)),
        ("not sent", Text(f"{found.not_sent:,} that were due", style="red") if found.not_sent else None),
        ("under way", f"{found.under_way:,} when it was interrupted" if found.under_way else None),
        ("gone", f"{found.gone:,} of {found.targets:,} push URLs (410)" if found.gone else None),
        ("warm-up", f"{found.warmup_accepted:,} of {found.warmup:,} accepted, not counted" if found.warmup else None),
        ("latency", latencies(found.latency_us)),
        ("begun late", latencies(found.late_us, short=True)),
        ("sender", _busy(found.cpu_share)),
    )


def _loop(found: LoadReport) -> str:
    if found.wanted_rate is None:
        return "closed: each message waited for the answer before it, so latency leaves out who could not be sent"
    return f"open: {found.wanted_rate:g}/s, latency from when each message was due"


def _by_name(counts: dict[str, int], front: str = "") -> Text | None:
    said = ", ".join(f"{count:,} {front}{name.replace('_', ' ')}" for name, count in counts.items())
    return Text(said, style="red") if said else None


def _busy(cpu_share: float) -> Text:
    line = Text(f"{cpu_share:.0%} of a core")
    if cpu_share > BUSY_SHARE:
        line.append(": it may have measured itself; send less, or from several machines", style="yellow")
    return line


def _colour(good: bool) -> str:
    return "green" if good else "red"


def latencies(found: Latencies, *, short: bool = False) -> str:
    if found.max is None:
        return "nothing measured"
    each = {"p50": found.p50, "p90": found.p90, "p99": found.p99}
    if not short:
        rare = {"p99.9": found.p999, "p99.99": found.p9999}
        each |= {name: value for name, value in rare.items() if value != found.max}  # else there were too few to tell
    each["max"] = found.max
    return ", ".join(f"{name} {time_text(value)}" for name, value in each.items() if value is not None)


def time_text(microseconds: float) -> str:
    """Three digits, with the unit that suits: `830 us`, `4.21 ms`, `1.5 s`."""
    for limit, divisor, unit in ((1000, 1, "us"), (1_000_000, 1000, "ms")):
        if microseconds < limit:
            return f"{microseconds / divisor:.3g} {unit}"
    return f"{microseconds / 1e6:,.3g} s" if microseconds < 1e9 else f"{microseconds / 1e6:,.0f} s"


def histogram(buckets: Sequence[tuple[int, int]]) -> RenderableType:
    """A bar for each step of 1, 2, 5, 10, 20 ...; nothing if nothing was measured."""
    if not buckets:
        return Text("", end="")
    steps = _steps(buckets[0][0], buckets[-1][0])
    counts = dict.fromkeys(steps, 0)
    for value, many in buckets:
        counts[next(step for step in steps if value <= step)] += many
    most = max(counts.values())
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(justify="right", no_wrap=True, style="dim")
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(no_wrap=True)
    for step, many in counts.items():
        grid.add_row(f"<= {time_text(step)}", f"{many:,}", Text(_bar(many / most), style="cyan"))
    return Group(grid, Text())


def _steps(least: int, most: int) -> list[int]:
    """1, 2, 5, 10 ... from the one that holds the least to the one that holds the most."""
    found: list[int] = []
    for power in count():
        for step in (10**power, 2 * 10**power, 5 * 10**power):
            if step >= least:
                found.append(step)
            if step >= most:
                return found
    raise AssertionError("powers of ten have no end")


def _bar(share: float) -> str:
    eighths = max(1, round(share * BAR_COLUMNS * 8)) if share else 0
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
