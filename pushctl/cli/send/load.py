"""The load form of `pushctl send`: very many messages to the push URLs of a file, and a report of how that went.

Owns: which options fit together, the files that a report is written to, and the exit code.
Promises: on stdout there is the banner and the report, with --json one object; Ctrl-C ends the run and still gives it;
no push URL is ever printed.
Must not know: HTTP (pushctl/client/load.py), how a report looks (load_view.py).
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer
from msgspec import Struct

from pushctl.cli.report_files import append_row, can_be_written, write_histogram
from pushctl.cli.values import Sizes, seconds_text
from pushctl.client.banner import Banner, banner
from pushctl.client.load_report import LoadReport, what_is_wrong
from pushctl.collector import Collector
from pushctl.errors import NotGood, Unreachable

if TYPE_CHECKING:
    from pushctl.client.load import LoadPlan

DEFAULT_SECONDS: Final = 10.0
DEFAULT_ANSWER_SECONDS: Final = 10.0
DEFAULT_CONCURRENCY: Final = 32
DEFAULT_SIZES: Final = Sizes(200, 200)


class LoadResult(Struct, frozen=True):
    """What `--json` prints."""

    run: Banner
    load: LoadReport
    wrong: list[str]
    """Why it is not good, in words; empty if it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """As typed; None: not said. What the message is stands in `headers`."""

    targets: Path
    count: int | None
    rate: float | None
    seconds: float | None
    concurrency: int | None
    sizes: Sizes | None
    warmup_seconds: float | None
    seed: int | None
    answer_seconds: float | None
    headers: dict[str, str]
    vapid: Path | None
    contact: str | None
    max_p99_ms: float | None
    max_errors: float
    csv: Path | None
    histogram: Path | None
    json: bool


def send_load(options: Options) -> None:
    """Raises what the exit code says."""
    import trio

    plan = plan_of(options)
    can_be_written(options.csv, options.histogram)
    shown = banner("send", parameters(plan, options))
    found = trio.run(_run, plan, shown, options.json)
    wrong = what_is_wrong(found, max_errors=options.max_errors, max_p99_ms=options.max_p99_ms)
    _print(LoadResult(shown, found, wrong), json=options.json)
    if options.csv is not None:
        append_row(options.csv, shown, found)
    if options.histogram is not None:
        write_histogram(options.histogram, found.histogram)
    if found.interrupted:
        raise KeyboardInterrupt
    raise_unless_good(found, wrong)


def plan_of(options: Options) -> "LoadPlan":
    """Raises BadParameter, or ConfigError for what is in a file."""
    from pushctl.client.load import LoadPlan, origins_of
    from pushctl.client.targets import read_targets
    from pushctl.clock import system_clock
    from pushctl.webpush.encryption import MAX_PLAINTEXT_BYTES
    from pushctl.webpush.signing import VapidKey

    targets = read_targets(options.targets)
    sizes = options.sizes or DEFAULT_SIZES
    if sizes.most > MAX_PLAINTEXT_BYTES and any(target.keys for target in targets):
        raise typer.BadParameter(f"--size: an encrypted message has at most {MAX_PLAINTEXT_BYTES} bytes")
    key = VapidKey.load(options.vapid) if options.vapid is not None else None
    signed = (
        {} if key is None else {o: key.authorization(o, system_clock(), options.contact) for o in origins_of(targets)}
    )
    seconds = options.seconds
    if seconds is None:
        seconds = DEFAULT_SECONDS if options.count is None else math.inf
    return LoadPlan(
        targets=targets,
        rate=options.rate,
        seconds=seconds,
        count=options.count,
        warmup_seconds=options.warmup_seconds or 0.0,
        concurrency=options.concurrency or DEFAULT_CONCURRENCY,
        sizes=(sizes.least, sizes.most),
        seed=options.seed if options.seed is not None else 1,
        answer_seconds=options.answer_seconds or DEFAULT_ANSWER_SECONDS,
        headers=options.headers,
        authorization=signed,
    )


def parameters(plan: "LoadPlan", options: Options) -> dict[str, object]:
    """All of them, as one types them."""
    said = {name: options.headers.get(header) for name, header in _HEADERS.items()}
    return {
        **said,
        "concurrency": plan.concurrency,
        "count": plan.count,
        "duration": seconds_text(plan.seconds) if math.isfinite(plan.seconds) else None,
        "max-errors": f"{options.max_errors:.4g}",
        "max-p99": seconds_text(options.max_p99_ms / 1000) if options.max_p99_ms is not None else None,
        "rate": f"{plan.rate:g}/s" if plan.rate is not None else None,
        "seed": plan.seed,
        "size": Sizes(*plan.sizes),
        "targets": f"{options.targets} ({len(plan.targets):,})",
        "timeout": seconds_text(plan.answer_seconds),
        "vapid": options.vapid,
        "warmup": seconds_text(plan.warmup_seconds),
    }


_HEADERS: Final = {"ttl": "TTL", "topic": "Topic", "urgency": "Urgency"}


async def _run(plan: "LoadPlan", shown: Banner, json: bool) -> LoadReport:
    from rich.text import Text

    from pushctl.cli.interrupts import interruptible
    from pushctl.cli.layout import print_report
    from pushctl.cli.load_view import banner_view, time_text, watched
    from pushctl.client.load import Load

    if not json:
        print_report(shown, banner_view)
    load = Load(plan)

    def moment() -> Text:
        tally = load.tally
        p99 = tally.latency.percentile(0.99)
        line = Text(f"accepted {tally.accepted:,}").append(f"  p99 {time_text(p99)}" if p99 is not None else "")
        bad = sum(tally.refused.values()) + sum(tally.failed.values()) + tally.not_sent
        return line.append(f"  not {bad:,}" if bad else "", style="bold red")

    # Else it would stop us for milliseconds, and that would be taken for the service's latency.
    with Collector() as collector:
        collector.begin()
        async with watched(load, moment):
            return await interruptible(load.run, load.interrupt)


def _print(result: LoadResult, *, json: bool) -> None:
    from pushctl.cli.layout import print_report

    if json:
        print_report(result, None)
    else:
        from pushctl.cli.load_view import load_view

        print_report(result.load, load_view)


def raise_unless_good(found: LoadReport, wrong: list[str]) -> None:
    """Unreachable or NotGood, in words."""
    if found.failed and found.reached_nobody:
        raise Unreachable("nobody could be reached")
    if wrong:
        raise NotGood("not good: " + ", ".join(wrong))
