"""What ten thousand connected clients cost a socket server: memory, and CPU to come, to stay and to be sent to.

    python -m tests.benchmarks.connections [--clients 10000] [--rounds 1] [--json FILE] [--quick]
    python -m tests.benchmarks.connections --from FILE

Real processes: Redis, api, Box Office, router, one socket server; `pushctl client swarm` in a process of its own. Once
without TLS and once with it, each with a service of its own:

- empty: everybody is logged in, nobody connected.
- arriving: all connect, at a steady rate: TCP, TLS, upgrade, hello, lease, first sync, acknowledgement.
- idle: nothing is sent; pings and a round of reconcile. What that costs is taken off everything else.
- messages: to one user after the other, each with two devices.

CPU is of the socket server's process, by the kernel's clock, so that others who use the machine disturb it little.
Ends with 3 when a message was lost or a connection broke. `--quick` takes seconds and measures nothing worth quoting.
docs/benchmarks.md quotes what it prints.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median

import trio

from pushctl.open_files import raise_open_file_limit
from tests.benchmarks.connections_run import DEVICES, WAYS, Life, Measured, Size, measure_all
from tests.benchmarks.results import add_file_options, told
from tests.benchmarks.rig import print_table, us

QUICK = Size(clients=200, arrivals=200, idle_seconds=2, messages_per_second=50, messages_seconds=2)

HEAD = ("one connection, one server", "ws", "wss", "wss/ws")


def idle_us(life: Life) -> float:
    """A connection and second."""
    return life.idle.cpu * 1e6 / life.idle.seconds / life.clients


def arriving_us(life: Life) -> float:
    """A connection, without what those who had come already cost meanwhile: half of them, on average."""
    idle = idle_us(life) * life.clients / 2 * life.arriving.seconds
    return (life.arriving.cpu * 1e6 - idle) / life.arriving.count


def message_us(life: Life) -> float:
    """A message on a device."""
    idle = idle_us(life) * life.clients * life.messages.seconds
    return (life.messages.cpu * 1e6 - idle) / life.messages.count


def each(life: Life, full: int, empty: int) -> float:
    """Bytes of a connection."""
    return (full - empty) / life.clients


def socket_bytes(life: Life) -> float | None:
    """In the kernel, of one end: the machine has both."""
    if life.full.sockets is None or life.empty.sockets is None:
        return None
    return each(life, life.full.sockets, life.empty.sockets) / 2


def longest_pause_ms(life: Life) -> float:
    return max((*life.arriving.pauses_ms, *life.idle.pauses_ms, *life.messages.pauses_ms), default=0.0)


ROWS: Sequence[tuple[str, Callable[[Life], float | None]]] = (
    ("memory of the process, bytes", lambda life: each(life, life.full.rss, life.empty.rss)),
    ("memory of the kernel: its socket, bytes", socket_bytes),
    ("memory of the kernel: all slabs, a half, bytes", lambda life: each(life, life.full.slab, life.empty.slab) / 2),
    ("memory of the kernel: buffers, bytes", lambda life: each(life, life.full.buffers, life.empty.buffers) / 2),
    ("CPU to arrive, µs", arriving_us),
    ("CPU while idle, µs/s", idle_us),
    ("CPU of a message, µs", message_us),
    ("the server's process when empty, MB", lambda life: life.empty.rss / 1e6),
    ("its longest full garbage collection, ms", longest_pause_ms),
    ("to connect, median, ms", lambda life: life.report.connect_ms.p50),
    ("to connect, p99, ms", lambda life: life.report.connect_ms.p99),
    ("a message, from its 201, median, ms", lambda life: life.report.latency_ms.p50),
    ("a message, from its 201, p99, ms", lambda life: life.report.latency_ms.p99),
)


def middle(lives: Sequence[Life], figure: Callable[[Life], float | None]) -> float | None:
    """Of all rounds; None if it could not be measured."""
    found = [value for life in lives if (value := figure(life)) is not None]
    return median(found) if found else None


def rows(lives: Sequence[Life]) -> list[tuple[str, ...]]:
    by_way = [[life for life in lives if life.way == way] for way in WAYS]
    found = []
    for name, figure in ROWS:
        plain, secure = (middle(some, figure) for some in by_way)
        ratio = f"{secure / plain:.2f}" if plain and plain > 0 and secure is not None else "-"
        found.append((name, *("-" if value is None else us(value) for value in (plain, secure)), ratio))
    return found


def tell(measured: Measured) -> None:
    size = measured.size
    received = sum(life.report.received for life in measured.lives)
    print_table(
        f"{size.clients:,} connected clients",
        HEAD,
        rows(measured.lives),
        f"{size.clients // DEVICES:,} users with {DEVICES} devices each; {size.arrivals:g} arrivals/s; idle for "
        f"{size.idle_seconds:g} s; {size.messages_per_second:g} messages/s for {size.messages_seconds:g} s, each to "
        f"{DEVICES} devices, {received:,} deliveries in all; lost 0, skipped 0, duplicate 0, reordered 0. "
        f"Middle one of {size.rounds} rounds. {measured.redis}.",
        "The kernel's memory is a half of what the machine has more of: it holds both ends of each connection. Its "
        "sockets are TCP, inode, file and epoll entry; all slabs are those and whatever else grew meanwhile.",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, help="how many, an even number; default: 10000")
    parser.add_argument("--arrivals", type=float, help="a second; default: 100")
    parser.add_argument("--idle", type=float, help="seconds; default: 60")
    parser.add_argument("--rounds", type=int, help="default: 1")
    parser.add_argument("--quick", action="store_true", help="seconds only: does it still work?")
    add_file_options(parser)
    options = parser.parse_args()
    size = QUICK if options.quick else Size()
    size = replace(
        size,
        clients=options.clients or size.clients,
        arrivals=options.arrivals or size.arrivals,
        idle_seconds=options.idle or size.idle_seconds,
        rounds=options.rounds or size.rounds,
    )
    raise_open_file_limit()
    told(options, Measured, lambda: trio.run(measure_all, size), tell)


if __name__ == "__main__":
    main()
