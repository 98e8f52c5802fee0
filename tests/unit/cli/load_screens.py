"""What a load and a bench look like, of made-up numbers: `python -m tests.unit.cli.load_screens` prints all of it, each
part under its name."""

import trio
from rich.console import Console
from rich.text import Text

from pushctl.cli.bench.view import bench_view
from pushctl.cli.layout import print_report
from pushctl.cli.load_view import banner_view, load_view, phase_line
from pushctl.client.banner import Banner
from pushctl.client.bench_report import BenchReport, Delivery, ServerMemory, Storm
from pushctl.client.distribution import Distribution, Latencies
from pushctl.client.load_report import LoadReport, Tally, load_report
from pushctl.client.phase import Phase
from pushctl.client.report import Tally as SwarmTally
from pushctl.client.report import report

BANNER = Banner(
    command="send",
    at="2026-01-02T03:04:05.678Z",
    version="1.2.3",
    commit="0123456789ab",
    python="CPython 3.11.7",
    system="Linux 6.1.0 x86_64",
    cpu="2 x Some Processor",
    parameters={
        "concurrency": "32", "count": "-", "duration": "30s", "max-errors": "0", "max-p99": "200ms", "rate": "500/s",
        "seed": "1", "size": "100B-2KiB", "targets": "targets.txt (1,000)", "timeout": "10s", "topic": "-",
        "ttl": "60", "urgency": "-", "vapid": "-", "warmup": "5s",
    },
)  # fmt: skip


def latency(scale: int) -> Distribution:
    """A long tail."""
    found = Distribution()
    for number in range(12_000):
        found.add(scale * (1 + 40 * (number / 12_000) ** 12))
    return found


def load() -> LoadReport:
    tally = Tally(
        sent=14_990, accepted=12_000, accepted_bytes=13_186_432, refused={"429": 2900, "410": 3},
        failed={"timed_out": 87}, not_sent=10, gone=1, warm=2500, warm_accepted=2500, latency=latency(1300),
        lateness=Distribution([(90, 14_000), (1200, 900), (30_000, 90)]),
    )  # fmt: skip
    return load_report(tally, wanted_rate=500.0, targets=1000, seconds=30.0, cpu_share=0.91, interrupted=False)


def bench() -> BenchReport:
    swarm = SwarmTally(
        logged_in=600, connected=598, ever_connected=600, received_live=11_990, received_later=8, snapshots=600, lost=2,
        disconnects={"1006": 300}, refused_by_boxoffice=12, connecting=Distribution([(35, 500), (80, 90), (410, 10)]),
    )  # fmt: skip
    end_to_end = latency(2100)
    return BenchReport(
        form="storm",
        logins_per_second=61.5,
        connections_per_second=97.3,
        swarm=report(swarm, users=600, devices=600, seconds=30),
        load=load(),
        delivery=Delivery(12_000, 11_990, 2, end_to_end.latencies(), end_to_end.buckets()),
        storm=Storm(300, 298, Latencies(90, 640, 610, 1400, 2300, 2400, 2400, 2400), None, end_to_end.latencies()),
        servers=[ServerMemory("s1", 299, 50_123_456), ServerMemory("s2", 299, 49_876_543)],
        interrupted=False,
    )


def progress() -> None:
    moment = Text("accepted 6,789  p99 42.1 ms").append("  not 3", style="bold red")
    console = Console()
    console.print(phase_line(Phase("warming up", 2500, 625), Text("accepted 0")))
    console.print(phase_line(Phase("sending", 15_000, 7000), moment))
    console.print(phase_line(Phase("waiting for answers", 0, ends_at=trio.current_time() + 7), moment))


async def main() -> None:
    print("# banner")
    print_report(BANNER, banner_view)
    print("# progress")
    progress()
    print("# report")
    print_report(load(), load_view)
    print("# bench")
    print_report(bench(), bench_view)
    print("# end")


if __name__ == "__main__":
    trio.run(main)
