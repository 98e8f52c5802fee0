"""pushctl beside others that bring messages to devices: what each costs, and what it does for that.

    python -m tests.benchmarks.peers [--peers pushctl Nchan ...] [--devices 1000] [--rounds 1] [--json FILE] [--quick]
    python -m tests.benchmarks.peers --from FILE [--chart FILE]

As real processes, one after the other in the same run, with the same program as publisher and as 1,000 devices, each
with a channel of its own. Debian's packages: nginx-light, libnginx-mod-nchan, mosquitto, nats-server, nodejs, npm; from
npm socket.io with its Redis streams adapter, which installs itself once. redis-server as everywhere.

- Costs are CPU of all processes of a service, and of its storage where that is a process of its own, by the kernel's
  clock; what idling costs is taken off. Mosquitto and NATS are sent to in their own protocols, the others by POST.
  Devices of pushctl, Mosquitto and NATS acknowledge what they got; Nchan and socket.io have no such thing.
- Away: some devices miss messages, come, leave and come again.
- kill -9 of all servers, then of the storage, while messages flow: of what was confirmed, what came?

Ends with 3 when pushctl lost something, or anybody while nothing was killed. docs/benchmarks.md quotes what it prints.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import trio

from pushctl.open_files import raise_open_file_limit
from tests.benchmarks.bars import chart
from tests.benchmarks.peers_devices import Outcome
from tests.benchmarks.peers_load import Spent
from tests.benchmarks.peers_run import PEERS, Life, Measured, Size, measure_all
from tests.benchmarks.results import add_file_options, told
from tests.benchmarks.rig import print_table, us

QUICK = Size(devices=50, idle_seconds=0.5, per_second=200, seconds=1, at_most=400, away=10, missed=5)

SERVERS = dict.fromkeys(("nginx", "mosquitto", "nats-server", "node"), "server")


def idle_us(life: Life) -> float:
    """A second, of all devices together."""
    return life.idle.all * 1e6 / life.idle.seconds


def each_us(life: Life, spent: Spent) -> float:
    """Of one, without idling."""
    return max(spent.all * 1e6 - idle_us(life) * spent.seconds, 0) / spent.count


def of_each(life: Life, spent: Spent) -> dict[str, float]:
    """What each process took of one, without idling; those that had no part in it are left out."""
    found = {
        name: max(cpu * 1e6 - life.idle.cpu[name] * 1e6 / life.idle.seconds * spent.seconds, 0) / spent.count
        for name, cpu in spent.cpu.items()
    }
    return {name: cpu for name, cpu in found.items() if cpu >= 1}


def shares(life: Life, spent: Spent) -> str:
    return " + ".join(f"{name} {us(cpu)}" for name, cpu in of_each(life, spent).items())


def in_a_backlog(lives: Sequence[Life]) -> dict[str, dict[str, float]]:
    """Of each process, in the last round. Peers that are one process have it under the same name: the row says whose
    it is."""
    return {
        life.peer: {SERVERS.get(name, name): cpu for name, cpu in of_each(life, life.at_most).items()} for life in lives
    }


def percentile(life: Life, part: float) -> float:
    found = sorted(life.latencies_ms)
    return found[min(int(len(found) * part), len(found) - 1)]


def grown(life: Life) -> tuple[float, float]:
    """Bytes of a connected device: of servers, of storage."""
    count = life.connect.count
    return (life.full.servers - life.empty.servers) / count, (life.full.storage - life.empty.storage) / count


ROWS: Sequence[tuple[str, Callable[[Life], float]]] = (
    ("a message, sent until received: CPU, µs", lambda life: each_us(life, life.paced)),
    ("  in a backlog: CPU, µs", lambda life: each_us(life, life.at_most)),
    ("messages/s at most", lambda life: life.at_most.count / life.at_most.seconds),
    ("from sending to its frame, median, ms", lambda life: percentile(life, 0.5)),
    ("from sending to its frame, p99, ms", lambda life: percentile(life, 0.99)),
    ("to connect: CPU, µs", lambda life: each_us(life, life.connect)),
    ("a device that is connected: memory of servers, bytes", lambda life: grown(life)[0]),
    ("  of storage, bytes", lambda life: grown(life)[1]),
    ("  CPU while idle, µs/s", lambda life: idle_us(life) / life.idle.count),
    ("a message for who is away: CPU, µs", lambda life: each_us(life, life.stored)),
    ("  its delivery when they come: CPU, µs", lambda life: each_us(life, life.returned)),
)


def rows(lives: Sequence[Life]) -> list[tuple[str, ...]]:
    names = list(dict.fromkeys(life.peer for life in lives))
    found = []
    for title, figure in ROWS:
        values = [median(figure(life) for life in lives if life.peer == name) for name in names]
        cells = [us(values[0])]
        for value in values[1:]:
            cells += [us(value), f"{value / values[0]:.2f}" if values[0] > 0 else "-"]
        found.append((title, *cells))
    return found


def head(names: Sequence[str]) -> list[str]:
    first, *others = names
    return ["", first, *(cell for name in others for cell in (name, f"/{first}"))]


def losses(lives: Sequence[Life]) -> list[tuple[str, ...]]:
    """Of all rounds together; the time until it works again is the middle one."""
    found = []
    for name in dict.fromkeys(life.peer for life in lives):
        its = [life for life in lives if life.peer == name]
        again = sum(life.again for life in its)
        found.append((name, "devices are away", *_sums([life.away for life in its]), f"{again:,}", "-"))
        for when, killed in (
            ("kill -9 of its servers", [life.servers_killed for life in its]),
            ("kill -9 of its storage", [life.storage_killed for life in its if life.storage_killed]),
        ):
            if killed:
                seconds = f"{median(each.seconds for each in killed):.1f}"
                found.append((name, when, *_sums([each.outcome for each in killed]), "-", seconds))
    return found


def _sums(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    names = ("confirmed", "lost", "twice", "disordered")
    return tuple(f"{sum(getattr(each, name) for each in outcomes):,}" for name in names)


def tell(measured: Measured) -> None:
    size, lives = measured.size, measured.lives
    names = list(dict.fromkeys(life.peer for life in lives))
    versions = "; ".join(dict.fromkeys(life.version for life in lives))
    print_table(
        "What it costs",
        head(names),
        rows(lives),
        f"{size.devices:,} devices, each with a channel of its own; messages of 200 bytes: {size.per_second:g}/s for "
        f"{size.seconds:g} s, a backlog of {size.at_most:,}, {size.missed} for each of {size.away} who are away; idle "
        f"for {size.idle_seconds:g} s. Middle one of {size.rounds} rounds. {versions}.",
    )
    print_table(
        "A message: µs of each process",
        ("", "alone", "in a backlog", "for who is away"),
        [
            (life.peer, *(shares(life, spent) for spent in (life.paced, life.at_most, life.stored)))
            for life in {life.peer: life for life in lives}.values()
        ],
        "Of the last round.",
    )
    print_table(
        "What is lost",
        (
            "",
            "when",
            "confirmed",
            "lost",
            "came twice",
            "out of order",
            "again, when they come again",
            "works again after, s",
        ),
        losses(lives),
    )
    titles = list(PEERS[names[0]].words)
    print_table(
        "What it does", ["", *names], [(title, *(PEERS[name].words[title] for name in names)) for title in titles]
    )


def missing(names: Sequence[str]) -> list[str]:
    """Debian's packages without which these cannot run."""
    needs = {file: package for name in names for file, package in PEERS[name].needs.items()}
    return sorted({package for file, package in needs.items() if not Path(file).exists()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), help="default: all, pushctl first")
    parser.add_argument("--devices", type=int, help="default: 1000")
    parser.add_argument("--rate", type=float, help="messages a second, as many as all of them take; default: 200")
    parser.add_argument("--rounds", type=int, help="default: 1")
    parser.add_argument("--quick", action="store_true", help="seconds only: does it still work?")
    add_file_options(parser)
    parser.add_argument("--chart", type=Path, help="draw what each process takes of a message into this file")
    options = parser.parse_args()
    lacking = [] if options.earlier else missing(options.peers)
    if lacking:
        sys.exit(f"install Debian's {' '.join(lacking)}, or choose others with --peers")
    size = QUICK if options.quick else Size()
    size = replace(
        size,
        devices=options.devices or size.devices,
        per_second=options.rate or size.per_second,
        rounds=options.rounds or size.rounds,
    )
    raise_open_file_limit()
    measured = told(options, Measured, lambda: trio.run(measure_all, options.peers, size), tell)
    if options.chart:
        title = "A message in a backlog, sent until received"
        options.chart.write_text(chart(in_a_backlog(measured.lives), title=title, unit="µs of CPU of each process"))


if __name__ == "__main__":
    main()
