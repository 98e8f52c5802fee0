"""How the report of `pushctl bench` looks: what its form is about first, then the sender's and the swarm's part.

Owns: layout and words. Must not know: how anything was measured.
"""

from rich.console import Group, RenderableType
from rich.text import Text

from pushctl.cli.client.swarm_view import by_code, percentiles, refused
from pushctl.cli.layout import facts, size
from pushctl.cli.load_view import histogram, latencies, load_counts
from pushctl.client.bench import Bench
from pushctl.client.bench_report import BenchReport, Delivery, Storm
from pushctl.client.distribution import Latencies
from pushctl.client.report import Report


def bench_moment(bench: Bench) -> Text:
    """What stands beside the bar while it runs."""
    tally, devices = bench.fleet.tally, bench.plan.swarm.users * bench.plan.swarm.devices
    if not tally.ever_connected:
        return Text()
    all_are = tally.connected == tally.ever_connected
    line = Text(f"online {tally.connected:,}/{devices:,}", style="green" if all_are else "yellow")
    line.append(f"  received {tally.received:,}" if tally.received else "", style="")
    return line.append(f"  wrong {tally.wrong:,}" if tally.wrong else "", style="bold red")


def bench_view(found: BenchReport) -> RenderableType:
    parts = [_swarm(found)] if found.form != "send" else []
    if found.storm is not None:
        parts.append(_storm(found.storm))
    if found.load is not None:
        parts.append(load_counts(found.load))
    if found.delivery is not None:
        parts.append(_delivery(found.delivery, found.swarm))
        parts.append(histogram(found.delivery.histogram))
    elif found.load is not None:
        parts.append(histogram(found.load.histogram))
    return Group(*parts)


def _swarm(found: BenchReport) -> RenderableType:
    swarm = found.swarm
    everybody = swarm.connected == swarm.devices
    per_second = found.connections_per_second
    return facts(
        f"{swarm.devices:,} devices of {swarm.users:,} users",
        ("connected", Text(f"{swarm.connected:,} of {swarm.devices:,}", style="green" if everybody else "red")),
        ("logins", f"{found.logins_per_second:,.1f}/s"),
        ("connecting", f"{per_second:,.1f}/s until the last was up to date" if per_second is not None else None),
        ("to connect", percentiles(swarm.connect_ms) if swarm.connect_ms.max is not None else None),
        ("disconnected", by_code(swarm.disconnects)),
        ("given up", by_code(swarm.given_up)),
        ("refused", refused(swarm)),
        *((server.id, f"{size(server.rss_bytes)}, {server.connections:,} connections") for server in found.servers),
    )


def _storm(found: Storm) -> RenderableType:
    all_back = found.all_back_seconds
    return facts(
        f"storm: {found.gone:,} devices lost their connection",
        ("back", Text(f"{found.back:,}", style="green" if found.back == found.gone else "red")),
        ("all back", f"after {all_back:,.1f} s" if all_back is not None else Text("no", style="red")),
        ("each back", latencies(_as_us(found.back_ms), short=True) if found.back_ms.max is not None else None),
        ("the others", f"{latencies(found.others_us, short=True)}, end to end, meanwhile"),
    )


def _as_us(milliseconds: Latencies) -> Latencies:
    return Latencies(*(None if value is None else value * 1000 for value in _values(milliseconds)))


def _values(found: Latencies) -> list[int | None]:
    return [getattr(found, name) for name in found.__struct_fields__]


def _delivery(found: Delivery, swarm: Report) -> RenderableType:
    wrong = f"{found.missing:,} missing, {swarm.duplicate:,} duplicate, {swarm.reordered:,} reordered"
    bad = found.missing or swarm.wrong
    return facts(
        f"{found.received:,} of {found.expected:,} delivered as they were sent",
        ("wrong", Text(wrong, style="red" if bad else "green")),
        ("by a sync", f"{swarm.received_later:,}" if swarm.received_later else None),
        ("end to end", latencies(found.latency_us)),
    )
