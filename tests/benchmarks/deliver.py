"""What it takes to deliver a message, from the site's POST to the frame on the user's device, and its acknowledgement.

    python -m tests.benchmarks.deliver [--clients 1000,10000] [--per-second 1000] [--seconds 10] [--rounds 1]
                                       [--json FILE] [--quick]
    python -m tests.benchmarks.deliver --from FILE [--chart FILE]

Real processes: Redis, api, Box Office, router (strategy `channel`), one socket server. Messages of 200 bytes with a TTL
of an hour go to one user after the other, drawn by chance, each with one device, all of which are connected and
acknowledge as `pushctl client` does, 200 ms after the first frame. They are sent by a process of its own:

- at a rate of 1,000 a second, in an open loop: a latency runs from the moment at which a message was due;
- as many as go, in a closed loop of 32 places: what the machine can do, with sender and devices on it;
- at half of what went, in an open loop.

CPU is of each process, by the kernel's clock, over a stretch with its warm-up and all that comes after, divided by the
messages; what the same processes cost in an idle stretch is taken off. The Box Office has no part in it. "Around it":
the processes that send and receive, which share the machine and are no part of the cost either.
Ends with 3 when a message was lost, came twice, out of order or late, or when a connection broke. `--quick` takes
seconds and measures nothing worth quoting. docs/benchmarks.md quotes what it prints.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import trio

from pushctl.open_files import raise_open_file_limit
from tests.benchmarks.bars import chart
from tests.benchmarks.deliver_run import PROCESSES, Life, Measured, Size, Stretch, measure_all
from tests.benchmarks.results import add_file_options, told
from tests.benchmarks.rig import print_table, us

QUICK = Size(clients=(50,), per_second=100, seconds=1, warmup_seconds=0.2, idle_seconds=0.5)

COSTS = ("connected", "sent", "messages/s", *(f"{name} µs" for name in PROCESSES), "all µs", "sender µs", "devices µs")
LATENCIES = ("connected", "sent", "messages/s", "201 p50 ms", "201 p99 ms", "frame p50 ms", "frame p99 ms")


def costs(life: Life, stretch: Stretch) -> list[float]:
    """Microseconds of each of PROCESSES for a message, without what idling costs."""
    idle_seconds, idle = life.idle
    spent = [
        busy - stretch.seconds / idle_seconds * resting
        for busy, resting in zip(stretch.cpu[: len(PROCESSES)], idle[: len(PROCESSES)], strict=True)
    ]
    return [each * 1e6 / stretch.messages for each in spent]


def rate(stretch: Stretch) -> float:
    """Messages a second, delivered."""
    return stretch.per_second or stretch.messages / stretch.until_last


def idling(life: Life) -> str:
    """In words."""
    seconds, cpu = life.idle
    shares = (f"{name} {spent / seconds:.1%}" for name, spent in zip(PROCESSES, cpu, strict=False))
    return f"with {life.clients:,} connected {', '.join(shares)}"


def rows(lives: Sequence[Life]) -> tuple[list[list[str]], list[list[str]]]:
    """Of the table of costs and of the one of latencies: the middle one of all rounds."""
    cost_rows, latency_rows = [], []
    for clients in dict.fromkeys(life.clients for life in lives):
        rounds = [life for life in lives if life.clients == clients]
        for n, first in enumerate(rounds[0].stretches):
            these = [life.stretches[n] for life in rounds]
            head = [f"{clients:,}", first.name, f"{median(map(rate, these)):,.0f}"]
            split = [costs(life, life.stretches[n]) for life in rounds]
            around = [(each.sender * 1e6 / each.messages, each.cpu.devices * 1e6 / each.messages) for each in these]
            figures = [median(part) for part in zip(*split, strict=True)]
            cost_rows.append(
                [
                    *head,
                    *map(us, figures),
                    us(median(map(sum, split))),
                    *(us(median(part)) for part in zip(*around, strict=True)),
                ]
            )
            ways = ([each.posted_ms for each in these], [each.delivered_ms for each in these])
            latency_rows.append([*head, *(f"{median(part):.1f}" for way in ways for part in zip(*way, strict=True))])
    return cost_rows, latency_rows


def loads(lives: Sequence[Life]) -> dict[str, dict[str, float]]:
    """Microseconds of each of PROCESSES for a message, by how many were connected and the rate: the middle one of all
    rounds."""
    found = {}
    for clients in dict.fromkeys(life.clients for life in lives):
        rounds = [life for life in lives if life.clients == clients]
        for n, first in enumerate(rounds[0].stretches):
            per_second = median(rate(life.stretches[n]) for life in rounds)
            name = f"{clients:,} connected, {per_second:,.0f}/s{'' if first.per_second else ' at most'}"
            split = zip(*(costs(life, life.stretches[n]) for life in rounds), strict=True)
            found[name] = dict(zip(PROCESSES, map(median, split), strict=True))
    return found


def tell(measured: Measured) -> None:
    size = measured.size
    cost_rows, latency_rows = rows(measured.lives)
    total = sum(stretch.messages for life in measured.lives for stretch in life.stretches)
    print_table(
        "A delivered message: µs of CPU",
        COSTS,
        cost_rows,
        "Without what idling costs: "
        + "; ".join(
            f"with {life.clients:,} connected "
            + ", ".join(
                f"{name} {spent / life.idle[0]:.1%}" for name, spent in zip(PROCESSES, life.idle[1], strict=False)
            )
            for life in measured.lives
        )
        + " of a core.",
        f"Stretches of {size.seconds:g} s; {total:,} messages, all of which came, once and in order. Middle one of "
        f"{size.rounds} rounds. {measured.redis}.",
    )
    print_table(
        "From its moment to the 201, and to its frame on the device",
        LATENCIES,
        latency_rows,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", help="how many, one run after the other; default: 1000,10000")
    parser.add_argument("--per-second", type=float, help="default: 1000")
    parser.add_argument("--seconds", type=float, help="of a stretch; default: 10")
    parser.add_argument("--rounds", type=int, help="default: 1")
    parser.add_argument("--quick", action="store_true", help="seconds only: does it still work?")
    add_file_options(parser)
    parser.add_argument("--chart", type=Path, help="draw what each process takes of a message into this file")
    options = parser.parse_args()
    size = QUICK if options.quick else Size()
    size = replace(
        size,
        clients=tuple(map(int, options.clients.split(","))) if options.clients else size.clients,
        per_second=options.per_second or size.per_second,
        seconds=options.seconds or size.seconds,
        rounds=options.rounds or size.rounds,
    )
    raise_open_file_limit()
    measured = told(options, Measured, lambda: trio.run(measure_all, size), tell)
    if options.chart:
        title = "A delivered message"
        options.chart.write_text(chart(loads(measured.lives), title=title, unit="µs of CPU of each process"))


if __name__ == "__main__":
    main()
