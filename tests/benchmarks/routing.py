"""What it costs to route a message by each strategy, and how long it takes: with few and with many socket servers.

    python -m tests.benchmarks.routing [--servers 1,2,4,8,16] [--rounds 3] [--json FILE] [--svg FILE] [--quick]
    python -m tests.benchmarks.routing --from FILE [--svg FILE]

Real processes: a Redis, a router, N socket servers. Users are sparse (each has one device, on one server) or dense
(each has a device on every server). A message is published by this process, which also plays the devices. Each strategy
in turn, round by round, has a fresh router; socket servers serve all three. While it runs:

- idle: nothing is sent; what that costs is taken off everything else.
- appends: messages to users who are connected nowhere: what Redis takes before anything is routed. Taken off, too.
- paced: a steady stream, so slow that a router finds one job at a time. Gives cost and latency.
- backlog: the router is stopped (SIGSTOP), messages are published, it goes on: how fast, how much cheaper in batches.

Ends with 3 when a message was lost, repeated or went another way than its strategy's. `--quick` takes seconds and
measures nothing worth quoting. docs/benchmarks.md quotes what it prints.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from statistics import median

import trio

from pushctl.config.model import Limits
from pushctl.open_files import raise_open_file_limit
from tests.benchmarks.results import add_file_options, told
from tests.benchmarks.rig import print_table, us
from tests.benchmarks.routing_chart import chart
from tests.benchmarks.routing_report import DENSITIES, HEAD, append_us, curves, points, rows, sentences
from tests.benchmarks.routing_run import QUICK, USERS, Measured, Size, measure_all


def tell(measured: Measured) -> None:
    lives, size = measured.lives, measured.size
    found = points(lives)
    apart = sorted(point.apart for point in found)
    idle = {n: [life.idle for life in lives if life.servers == n] for n in size.servers}
    idle_ms = ", ".join(
        f"{n}: {median(each.cpu.sockets / each.seconds for each in idle[n]) * 1000:.1f}" for n in size.servers
    )
    print_table(
        "Routing strategies",
        HEAD,
        rows(found),
        f"CPU of router, socket servers and Redis. {USERS['sparse']} sparse users, {USERS['dense']} dense ones; "
        f"{size.per_second:g} deliveries/s for {size.paced_seconds:g} s, {size.backlogs} backlogs of {size.backlog:,} "
        f"deliveries; the middle one of {size.rounds} rounds; half of the costs are good to ±{median(apart):.0%}, the "
        f"worst to ±{apart[-1]:.0%}. {measured.redis}.",
        f"Taken off: {us(append_us(lives))} µs of Redis for each message's append; what is spent when nothing is sent, "
        f"for all socket servers together (servers: ms per second): {idle_ms}. Sender and devices, which do not count: "
        f"{us(median(point.load_us for point in found))} µs per delivery.",
    )
    for title, backlog in (("", False), (", backlog", True)):
        print()
        for density in DENSITIES:
            for sentence in sentences(density + title, curves(found, density, backlog=backlog)):
                print(f"- {sentence}")


def servers_of(text: str) -> list[int]:
    try:
        found = sorted({int(part) for part in text.split(",")})
    except ValueError:
        found = [0]
    if not 1 <= found[0] <= found[-1] <= Limits().devices_per_user:
        raise argparse.ArgumentTypeError("expected numbers such as 1,2,4")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", type=servers_of, help="how many; default: 1,2,4,8,16")
    parser.add_argument("--rounds", type=int, help="default: 3")
    parser.add_argument("--quick", action="store_true", help="seconds only: does it still work?")
    add_file_options(parser)
    parser.add_argument("--svg", type=Path, help="draw the costs into this file")
    options = parser.parse_args()
    size = QUICK if options.quick else Size()
    size = replace(size, servers=options.servers or size.servers, rounds=options.rounds or size.rounds)
    raise_open_file_limit(0)
    measured = told(options, Measured, lambda: trio.run(measure_all, size), tell)
    if options.svg:
        found = points(measured.lives)
        options.svg.write_text(chart({density: curves(found, density) for density in DENSITIES}))


if __name__ == "__main__":
    main()
