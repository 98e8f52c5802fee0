"""What it costs to accept a message: a POST of 200 bytes to a push URL, until its 201, stored; its user is offline.

    python -m tests.benchmarks.accept [--seconds 4] [--rounds 3] [--connections 1,32,128] [--processes 2] [--json FILE]
    python -m tests.benchmarks.accept --kinds plain,signed --senders wrk --quick
    python -m tests.benchmarks.accept --from FILE

Real processes: one api (`pushctl serve api`), a Redis, a sender. wrk is the ceiling: it takes next to nothing of the
machine. `pushctl send` takes as much as the api, so it shows what one machine does that has everything on it. Log and
metrics are as operators have them: a line for each message, into a file. Kinds of messages, with wrk:

- plain: JSON; nobody is connected, so no job is written. quiet: with log.level warning: what a line costs.
- held: a device is connected: a job is written for each.
- encrypted: Web Push. signed: with one VAPID token for all; signed anew: with another for each, which costs a signature
  to verify.

CPU is of each process, by the kernel's clock. Ends with 3 when an answer was no 201, or something else was stored.
`--quick` takes seconds and measures nothing worth quoting. docs/benchmarks.md quotes what it prints.
"""

import argparse
from dataclasses import replace
from functools import partial
from typing import get_args

import trio

from tests.benchmarks.accept_run import KINDS, QUICK, Kind, Measured, Sender, Size, Stretch, measure_all
from tests.benchmarks.results import add_file_options, told
from tests.benchmarks.rig import print_table

HEAD = ("sender", "connections", "per second", "p50, ms", "p99, ms", "api µs", "Redis µs", "sender µs")


def row(each: Stretch) -> list[str]:
    costs = (each.api_us, each.redis_us, each.sender_us)
    return [f"{each.per_second:,.0f}", f"{each.p50_ms:.2f}", f"{each.p99_ms:.2f}", *(f"{cost:.1f}" for cost in costs)]


def tell(measured: Measured) -> None:
    plain = [each for each in measured.stretches if each.kind == "plain" and each.processes == 1]
    note = (
        f"{measured.users:,} users with a push URL each, bodies of 200 bytes, {measured.seconds} s; the middle one of "
        f"{measured.rounds} rounds. CPU for each message. {measured.redis}."
    )
    print_table("Accept", HEAD, [[each.sender, str(each.connections), *row(each)] for each in plain], note)
    others = [each for each in measured.stretches if each.kind != "plain"]
    if others:
        same = [each for each in plain if (each.sender, each.connections) == (others[0].sender, others[0].connections)]
        rows = [[f"{each.kind}: {KINDS[each.kind]}", *row(each)] for each in [*same, *others]]  # type: ignore[index]
        print_table(f"Kinds of messages, {others[0].connections} connections", ["kind", *HEAD[2:]], rows)
    many = [each for each in measured.stretches if each.processes > 1]
    if many:
        one = next(each for each in plain if (each.sender, each.connections) == (many[0].sender, many[0].connections))
        rows = [[str(each.processes), *row(each)] for each in (one, *many)]
        note = f"CPU of the api for each message: {many[0].api_us / one.api_us:.2f} times that of one process."
        print_table(f"api processes on one port, {one.connections} connections", ["processes", *HEAD[2:]], rows, note)


def _words(known: tuple[str, ...], text: str) -> list[str]:
    words = text.split(",")
    if not set(words) <= set(known):
        raise argparse.ArgumentTypeError(f"expected some of {','.join(known)}")
    return words


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, help="of each stretch; default: 4")
    parser.add_argument("--rounds", type=int, help="default: 3")
    parser.add_argument("--users", type=int, help="default: 4000")
    parser.add_argument("--connections", type=_numbers, help="default: 1,32,128")
    parser.add_argument("--kinds", type=partial(_words, get_args(Kind)), default=list(KINDS), help="default: all")
    parser.add_argument(
        "--senders", type=partial(_words, get_args(Sender)), default=list(get_args(Sender)), help="default: both"
    )
    parser.add_argument("--processes", type=int, default=1, help="and so many of the api, too")
    parser.add_argument("--quick", action="store_true", help="seconds only: does it still work?")
    add_file_options(parser)
    options = parser.parse_args()
    given = {name: getattr(options, name) for name in ("seconds", "rounds", "users", "connections")}
    size = replace(QUICK if options.quick else Size(), **{name: value for name, value in given.items() if value})
    told(
        options,
        Measured,
        lambda: trio.run(measure_all, size, options.kinds, options.senders, options.processes),
        tell,
    )


if __name__ == "__main__":
    main()
