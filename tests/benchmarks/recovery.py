"""How clients come back when their socket server is killed, drained or told to stop: how fast, and without loss.

    python -m tests.benchmarks.recovery [--killed 10000] [--restarted 3000] [--over 30] [--json FILE] [--quick]
    python -m tests.benchmarks.recovery --killed 0                 # rolling restarts alone
    python -m tests.benchmarks.recovery --from FILE

Real processes: Redis, api, Box Office, router, socket servers; `pushctl client swarm` in a process of its own; messages
flow all the time.

- kill -9: one of two servers, which has half of the clients. Other devices, at the other server, get messages before
  and meanwhile: how long do those take?
- drain, then SIGTERM and a start: three servers, one after the other (a rolling restart).
- SIGTERM and a start, without draining first: the same.

Arrivals are what socket servers and Box Office count themselves (`pushctl_arrivals_total`), looked at five times a
second. Ends with 3 when a message was lost, when a client did not come back, or when anywhere, in any span of time,
more came than the configured rate and burst let in. `--quick` takes a minute. docs/benchmarks.md quotes what it
prints.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace

import trio

from pushctl.open_files import raise_open_file_limit
from tests.benchmarks.recovery_run import DEVICES, Life, Measured, Size, measure_all
from tests.benchmarks.results import add_file_options, told
from tests.benchmarks.rig import print_table, us

QUICK = Size(
    killed=120,
    restarted=120,
    arrivals=(15, 8),
    accepts=(12, 12),
    over_seconds=3,
    drain_seconds=4,
    calm_seconds=1,
    bystanders=5,
    bystanders_seconds=2,
)
"""These rates are lower than those at which clients of a server that was killed or stopped would come."""

HEAD = (
    "server is",
    "server",
    "clients it had",
    "all back after, s",
    "arrivals",
    "per second",
    "at most",
    "Box Office/s, at most",
    "put off",
    "turned away",
    "others: p99 before, ms",
    "meanwhile, ms",
)


def rows(lives: Sequence[Life]) -> list[tuple[str, ...]]:
    return [
        (
            each.way,
            each.server,
            f"{each.held:,}",
            f"{each.seconds:.1f}",
            f"{each.came:,}",
            us(each.came / each.seconds),
            us(each.peak),
            us(each.office_peak),
            f"{each.put_off:,}",
            f"{each.turned_away:,}",
            *("-" if deliveries is None else us(deliveries.p99_ms) for deliveries in (each.before, each.meanwhile)),
        )
        for life in lives
        for each in life.returns
    ]


def tell(measured: Measured) -> None:
    size = measured.size
    (arrivals, arrivals_burst), (accepts, accepts_burst) = size.arrivals, size.accepts
    clients = ", then ".join(f"{life.clients:,}" for life in measured.lives)
    sent, received = (
        sum(figures) for figures in zip(*((life.sent, life.report.received) for life in measured.lives), strict=True)
    )
    print_table(
        "Servers that go, and clients that come back",
        HEAD,
        rows(measured.lives),
        f"{clients} clients. Box Office: {arrivals:g} arrivals/s, burst {arrivals_burst}; each socket server: "
        f"{accepts:g}/s, burst {accepts_burst}; these were never exceeded. Drained over {size.over_seconds:g} s; "
        f"drain_seconds {size.drain_seconds:g}. "
        f"{sent:,} messages sent meanwhile, each to {DEVICES} devices: {received:,} received; lost 0, skipped 0, "
        "duplicate 0, reordered 0.",
        "Arrivals are at the other servers together, from the beginning until all are back; at most: in a second. Put "
        "off: by the Box Office, turned away: by socket servers, for more came than may.",
        *(
            f"The others, when a server was killed: {size.bystanders} devices at the other server, to whom came "
            f"{each.before.count:,} messages before and {each.meanwhile.count:,} until all were back; from POST to "
            f"frame in the median {us(each.before.p50_ms)} ms before, {us(each.meanwhile.p50_ms)} ms meanwhile."
            for life in measured.lives
            for each in life.returns
            if each.before and each.meanwhile
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--killed", type=int, help="clients when a server is killed; 0: not at all; default: 10000")
    parser.add_argument("--restarted", type=int, help="clients of rolling restarts; 0: not at all; default: 3000")
    parser.add_argument("--over", type=float, dest="over_seconds", help="seconds that a drain may take; default: 30")
    parser.add_argument("--quick", action="store_true", help="a few clients: does it still work?")
    add_file_options(parser)
    options = parser.parse_args()
    size = QUICK if options.quick else Size()
    chosen = {name: getattr(options, name) for name in ("killed", "restarted", "over_seconds")}
    size = replace(size, **{name: value for name, value in chosen.items() if value is not None})
    raise_open_file_limit()
    told(options, Measured, lambda: trio.run(measure_all, size), tell)


if __name__ == "__main__":
    main()
