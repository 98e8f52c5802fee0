"""What a start costs: `serve all` and each role alone, until it says that it is ready, and what it holds and does then.

    python -m tests.benchmarks.start [--rounds 5] [--idle-seconds 10] [--before DIR] [--json FILE] [--quick]
    python -m tests.benchmarks.start --from FILE

- `serve all`: on its embedded Redis; on an empty directory, and on what an earlier run left.
- each role: against a Redis that runs, whose CPU is not counted.

Time is from exec to the ready line; CPU is of all processes by the kernel's clocks until then, also as a multiple of
`python -c pass`, which takes turns with the others. With `--before`, so does another checkout. What is compiled is kept
by a round that does not count. docs/benchmarks.md quotes what it prints.
"""

import argparse
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.benchmarks.results import add_file_options, told
from tests.benchmarks.rig import print_table
from tests.benchmarks.start_run import Measured, Rest, Size, measure_all

QUICK = Size(rounds=1, idle_seconds=0.5)


@dataclass(frozen=True, slots=True)
class Middle:
    """Of the rounds."""

    ms: float
    cpu_ms: float
    times_pass: float


def middle(measured: Measured, checkout: str, case: str) -> Middle:
    found = [start for start in measured.starts if (start.checkout, start.case) == (checkout, case)]
    cpu = median(start.cpu for start in found)
    return Middle(median(start.seconds for start in found) * 1000, cpu * 1000, cpu / median(measured.nothing))


def start_rows(measured: Measured) -> list[tuple[str, ...]]:
    rows = []
    for case in dict.fromkeys(start.case for start in measured.starts):
        now = middle(measured, "now", case)
        cells = [f"{now.ms:,.0f}", f"{now.cpu_ms:,.0f}", f"{now.times_pass:.1f}"]
        if measured.size.before:
            before = middle(measured, "before", case)
            cells = [f"{before.ms:,.0f}", f"{before.cpu_ms:,.0f}", f"{before.times_pass:.1f}", *cells]
            cells.append(f"{now.cpu_ms / before.cpu_ms:.2f}")
        rows.append((case, *cells))
    return rows


def rest_rows(rests: Iterable[Rest]) -> list[tuple[str, ...]]:
    def mb(number: int) -> str:
        return f"{number / 1e6:.1f}"

    return [
        (
            rest.process if rest.checkout == "now" else f"{rest.process}, before",
            *(mb(number) for number in (rest.rss, rest.pss, rest.uss)),
            f"{rest.cpu * 1000:.2f}",
            f"{rest.wakes:.1f}",
        )
        for rest in rests
    ]


def tell(measured: Measured) -> None:
    size = measured.size
    figures = ("ready, ms", "CPU, ms", "x pass")
    before = tuple(f"{figure}, before" for figure in figures)
    head: Sequence[str] = ("start", *before, *figures, "CPU/before") if size.before else ("start", *figures)
    print_table(
        "From exec to ready",
        head,
        start_rows(measured),
        f"Middle one of {size.rounds} rounds. `python -c pass` takes {median(measured.nothing) * 1000:.0f} ms of CPU. "
        f"{measured.redis}.",
    )
    print_table(
        "Ready, and nobody comes",
        ("process", "RSS, MB", "PSS, MB", "USS, MB", "CPU, ms/s", "wakes/s"),
        rest_rows(measured.rests),
        f"For {size.idle_seconds:g} s. PSS: what several processes share is divided among them; USS: what would be "
        "free if it ended. Wakes: how often one of its threads had slept.",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--idle-seconds", type=float, default=10)
    parser.add_argument("--before", type=Path, help="a checkout to compare with")
    parser.add_argument("--quick", action="store_true", help="takes seconds, and measures nothing worth quoting")
    add_file_options(parser)
    options = parser.parse_args()
    size = QUICK if options.quick else Size(options.rounds, options.idle_seconds, _absolute(options.before))
    told(options, Measured, lambda: measure_all(size), tell)


def _absolute(checkout: Path | None) -> str:
    return os.fspath(checkout.absolute()) if checkout else ""


if __name__ == "__main__":
    main()
