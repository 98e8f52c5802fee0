"""How a million devices come back when ten of a hundred socket servers die at once, by what devices do.

    python -m tests.benchmarks.storm_simulation [--clients 1000000] [--seed 7] [--svg FILE] [--quick]

A simulation (storm.py) with the real decisions: the Box Office's desk and seating with their sisters, and our client's
backoff. Only the network, the queues and the clock are pretended. Once with room for all elsewhere; once without, and
the servers are there again after a minute. Ours against others that know no better:

- ours: asks the Box Office after up to a second, tries servers in its order, backs off with full jitter, obeys
  Retry-After. "ours, no rate": the same, and the Box Office has no rate of arrivals.
- fixed retry: asks at once and every 5 s, whatever it is told.
- no jitter: backs off as ours, always by the whole.
- random server: never asks; tries servers by chance, backs off as ours.

`--quick` has a hundredth of the devices. docs/benchmarks.md quotes what it prints.
"""

import argparse
import sys
from collections import Counter
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

from tests.benchmarks.rig import print_table
from tests.benchmarks.storm import Setting, Storm
from tests.benchmarks.storm_chart import Course, chart
from tests.benchmarks.storm_devices import POLICIES

QUICK_CLIENTS = 10_000
SHOWN_SECONDS = 40

FULL, RESTART_SECONDS = 0.95, 60.0
"""How full servers are when half of those who are lost find no place elsewhere; and when the dead are there again."""

HEAD = (
    "devices",
    "99% back, s",
    "questions/s, at most",
    "questions each",
    "Box Office: wait, s",
    "at one server/s, at most",
    "server: wait, s",
    "Redis: wait, s",
    "failed hellos",
    "full servers met",
    "fill apart, points",
)
"""Waits: the longest."""


def peak(counts: Counter[int] | Counter[tuple[str, int]]) -> int:
    return max(counts.values(), default=0)


def row(name: str, storm: Storm, seconds: float | None) -> list[str]:
    counts = storm.counts
    fills = [server.fill for server in storm.servers.values() if server.alive]
    return [
        name,
        "never" if seconds is None else f"{seconds:.1f}",
        f"{peak(counts.asked):,}",
        f"{counts.asked.total() / storm.lost:.1f}",
        f"{counts.office_wait:.1f}",
        f"{peak(counts.knocked):,}",
        f"{counts.server_wait:.2f}",
        f"{counts.redis_wait:.2f}",
        f"{counts.failed:,}",
        f"{counts.turned_away:,}",
        f"{100 * (max(fills) - min(fills)):.1f}",
    ]


def course(storm: Storm) -> Course:
    seconds = range(max(storm.second + 1, SHOWN_SECONDS))
    back = accumulate(storm.counts.back[second] for second in seconds)
    return Course([storm.counts.asked[second] for second in seconds], [100 * each / storm.lost for each in back])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=Setting().clients, help="default: a million")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="seconds only: does it still work?")
    parser.add_argument("--svg", type=Path, help="draw it into this file")
    options = parser.parse_args()
    setting = replace(Setting(), clients=QUICK_CLIENTS if options.quick else options.clients)
    courses = play_all(setting, "room for all elsewhere", seed=options.seed)
    full = replace(setting, fill=FULL, restart_seconds=RESTART_SECONDS)
    play_all(full, f"room for half of them, the servers again after {RESTART_SECONDS:g} s", seed=options.seed)
    if options.svg:
        options.svg.write_text(chart(courses, SHOWN_SECONDS))


def play_all(setting: Setting, what: str, *, seed: int) -> dict[str, Course]:
    """A storm for each policy, and a table of them."""
    rows, courses = [], {}
    for name, policy in POLICIES.items():
        storm = Storm(setting, policy, seed=seed)
        rows.append(row(name, storm, storm.play()))
        courses[name] = course(storm)
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    title = f"{setting.clients:,} devices on {setting.servers} servers, {setting.die} of which die: {what}"
    print_table(title, HEAD, rows)
    return courses


if __name__ == "__main__":
    main()
