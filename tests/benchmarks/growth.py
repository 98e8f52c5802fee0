"""What grows with what: the CPU of each process to accept, to deliver and to connect, with ten times as many users, and
with ten times as many messages in each inbox.

    python -m tests.benchmarks.growth [--users 200] [--stored 5] [--rounds 3] [--json FILE] [--quick]
    python -m tests.benchmarks.growth --from FILE

Real processes: all roles and Redis; every user has a device and some unread messages. In order:

- connect, with a snapshot: a device that knows nothing gets all that is unread. Nothing missed: it comes again.
- deliver: a message from its POST to the frame on its device. accept: a POST for a user who is away.

For each the law is written here (LAWS): how it should grow. The program prints by how much it did, and ends with 3 when
that is far more than the law says. Costs of less than 20 µs say nothing. docs/benchmarks.md quotes what it prints.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from math import log
from statistics import median
from typing import Literal

import trio

from pushctl.open_files import raise_open_file_limit
from tests.benchmarks.growth_run import TIMES, Life, Measured, Size, measure_all
from tests.benchmarks.results import add_file_options, told
from tests.benchmarks.rig import print_table, us
from tests.benchmarks.unsound import UNSOUND_EXIT

QUICK = Size(users=10, stored=2, messages=100, idle_seconds=0.5, rounds=1)

Law = Literal["constant", "log n", "linear"]

LAWS: dict[tuple[str, str], tuple[Law, Law]] = {
    ("accept", "api"): ("constant", "constant"),
    ("accept", "redis"): ("constant", "log n"),
    ("deliver", "api"): ("constant", "constant"),
    ("deliver", "router"): ("constant", "constant"),
    ("deliver", "socket"): ("constant", "constant"),
    ("deliver", "redis"): ("constant", "log n"),
    ("connect, nothing missed", "socket"): ("constant", "constant"),
    ("connect, nothing missed", "redis"): ("constant", "constant"),
    ("connect, with a snapshot", "socket"): ("constant", "linear"),
    ("connect, with a snapshot", "redis"): ("constant", "linear"),
}
"""How what a process does should grow with users, and with the messages of an inbox. Redis keeps unread messages in
order, so one more takes it a little longer in a large inbox."""

LEAST_US = 20
FAR = 2.0
"""Times what the law says: more is no accident of a busy machine."""

HEAD = ("one", "process", "µs with {:,} {}", "with {:,}", "ratio", "law", "holds")


def expected(law: Law, few: float) -> float:
    """The ratio of the cost with many to the cost with few."""
    return {"constant": 1.0, "log n": log(few * TIMES) / log(few), "linear": float(TIMES)}[law]


def holds(law: Law, few: float, small: float, large: float) -> bool:
    return large <= FAR * max(small, LEAST_US) * expected(law, few)


def cost(lives: Sequence[Life], users: int, stored: int, what: tuple[str, str]) -> float:
    """The middle one of all rounds."""
    done, process = what
    return median(life.costs[done][process] for life in lives if (life.users, life.stored) == (users, stored))


def rows(measured: Measured, *, by: Literal["users", "messages"]) -> list[tuple[str, ...]]:
    size, lives = measured.size, measured.lives
    few, many = (size.users, size.stored), (size.users * TIMES, size.stored)
    if by == "messages":
        many = (size.users, size.stored * TIMES)
    found: list[tuple[str, ...]] = []
    for what, laws in LAWS.items():
        small, large = cost(lives, *few, what), cost(lives, *many, what)
        law, count = (laws[0], size.users) if by == "users" else (laws[1], size.stored)
        ratio = f"{large / small:.2f}" if min(small, large) >= LEAST_US else "-"
        found.append((*what, us(small), us(large), ratio, law, "yes" if holds(law, count, small, large) else "NO"))
    return found


def tell(measured: Measured) -> None:
    size = measured.size
    note = (
        f"{size.messages:,} messages of 200 bytes in a stretch, as fast as they are taken; the middle one of "
        f"{size.rounds} rounds. {measured.lives[0].version}."
    )
    tables: Sequence[tuple[Literal["users", "messages"], int, str]] = (
        ("users", size.users, f"With users, {size.stored:,} unread messages of each"),
        ("messages", size.stored, f"With unread messages of each of {size.users:,} users"),
    )
    for by, count, title in tables:
        first, second, *others = HEAD[2:]
        head = (*HEAD[:2], first.format(count, by), second.format(count * TIMES), *others)
        print_table(title, head, rows(measured, by=by), note)


def broken(measured: Measured) -> list[str]:
    """Laws that do not hold."""
    return [
        f"{what} of {process} with {by}: {small} µs, {large} µs with {TIMES} times as many; {law} was expected"
        for by in ("users", "messages")
        for what, process, small, large, _, law, verdict in rows(measured, by=by)
        if verdict != "yes"
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, help="and ten times as many; default: 200")
    parser.add_argument("--stored", type=int, help="messages of each, 2 or more, and ten times as many; default: 5")
    parser.add_argument("--messages", type=int, help="of a stretch; default: 1500")
    parser.add_argument("--rounds", type=int, help="default: 3")
    parser.add_argument("--quick", action="store_true", help="seconds only: does it still work?")
    add_file_options(parser)
    options = parser.parse_args()
    given = {name: getattr(options, name) for name in ("users", "stored", "messages", "rounds")}
    size = replace(QUICK if options.quick else Size(), **{name: value for name, value in given.items() if value})
    raise_open_file_limit()
    measured = told(options, Measured, lambda: trio.run(measure_all, size), tell)
    steep = broken(measured)
    if steep:
        print("".join(f"\nunsound: {law}" for law in steep), file=sys.stderr)
        sys.exit(UNSOUND_EXIT)


if __name__ == "__main__":
    main()
