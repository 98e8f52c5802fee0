"""What a combined run of a swarm and a sender found, and what makes it not good.

Owns: the documented names of `pushctl bench FORM --json` (docs/operations.md, "Measuring").
Must not know: where the numbers come from, how they are shown.
"""

from typing import Literal

from msgspec import Struct

from pushctl.client.distribution import Latencies
from pushctl.client.load_report import LoadReport
from pushctl.client.report import Report

Form = Literal["connect", "send", "fanout", "storm", "idle"]


class Delivery(Struct, frozen=True):
    """Of messages after the warm-up, each counted once for each device."""

    expected: int
    """Accepted messages, times the devices of a user."""
    received: int
    missing: int
    """Expected and neither received live nor brought by a sync until the end."""
    latency_us: Latencies
    """From when a message was due to when a device had it, by one clock."""
    histogram: list[tuple[int, int]]
    """Of `latency_us`: (microseconds at most, messages), those with any."""


class Storm(Struct, frozen=True):
    """Devices whose connection ended during a storm."""

    gone: int
    back: int
    back_ms: Latencies
    """From losing the connection to being up to date again, in milliseconds."""
    all_back_seconds: float | None
    """From the beginning of the storm to the last of them being back; null: not all are."""
    others_us: Latencies
    """`delivery.latency_us` meanwhile, of devices that stayed connected."""


class ServerMemory(Struct, frozen=True):
    """A socket server at the end of a run, while all are connected."""

    id: str
    connections: int
    rss_bytes: int


class BenchReport(Struct, frozen=True, kw_only=True):
    form: Form
    logins_per_second: float
    connections_per_second: float | None
    """Devices, by the time from the first that set out to the last being up to date; null: not all were."""
    swarm: Report
    load: LoadReport | None
    delivery: Delivery | None
    storm: Storm | None
    servers: list[ServerMemory]
    """Empty: the registry was not asked."""
    interrupted: bool


def what_is_wrong(found: BenchReport, *, max_p99_ms: float | None, max_lost: int) -> list[str]:
    """In words; nothing if it is good. `max_p99_ms`: of what the form measures."""
    from pushctl.client import load_report

    said: list[str] = []
    swarm = found.swarm
    if found.load is not None:
        of_send = max_p99_ms if found.form == "send" else None
        said += load_report.what_is_wrong(found.load, max_errors=0.0, max_p99_ms=of_send)
    if found.form != "send":
        said += [
            f"{getattr(swarm, name):,} {name}" for name in ("skipped", "duplicate", "reordered") if getattr(swarm, name)
        ]
        if swarm.connected < swarm.devices:
            said.append(f"{swarm.devices - swarm.connected:,} of {swarm.devices:,} devices not connected at the end")
        if swarm.unchecked:
            said.append(f"{swarm.unchecked:,} users could not be checked")
    lost = max(swarm.lost, found.delivery.missing if found.delivery else 0)
    if lost > max_lost:
        said.append(f"{lost:,} lost")
    if found.form == "idle" and swarm.disconnects:
        said.append(f"{sum(swarm.disconnects.values()):,} connections lost while nothing happened")
    if found.storm is not None and found.storm.back < found.storm.gone:
        said.append(f"{found.storm.gone - found.storm.back:,} devices did not come back")
    p99 = _p99_ms(found)
    if max_p99_ms is not None and p99 is not None and p99 > max_p99_ms:
        said.append(f"p99 {p99:,.1f} ms, at most {max_p99_ms:g} ms was wanted")
    return said


def _p99_ms(found: BenchReport) -> float | None:
    """Of what the form is about; None: the load says it, or there is none."""
    if found.form in ("fanout", "storm") and found.delivery is not None:
        p99 = found.delivery.latency_us.p99
        return None if p99 is None else p99 / 1000
    return found.swarm.connect_ms.p99 if found.form == "connect" else None
