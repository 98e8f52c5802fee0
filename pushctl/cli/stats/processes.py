"""The processes of a service as tables: socket servers, and all others.

Owns: their columns and their order. Must not know: where the numbers come from.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from rich.console import RenderableType
from rich.text import Text

from pushctl.cli.stats.table import Look, Sort, state, table
from pushctl.cli.stats.words import bar, figure, lag, octets, share
from pushctl.cli.values import age
from pushctl.client.foreign import printable
from pushctl.clock import parse_rfc3339
from pushctl.overview import Overview
from pushctl.overview.servers import RoleStats, ServerStats

_KEYS: Final[dict[str, Callable[[ServerStats], float]]] = {
    "connections": lambda server: server.connections,
    "fill": lambda server: server.connections / max(1, server.capacity),
    "messages": lambda server: server.load.written_per_second if server.load else 0,
    "lag": lambda server: server.load.lag_ms if server.load else 0,
    "cpu": lambda server: server.load.cpu if server.load else 0,
    "memory": lambda server: server.rss_bytes,
    "seen": lambda server: server.seen_ms_ago,
}


def _natural(name: str) -> list[tuple[int, str]]:
    """`s9` before `s10`."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"([0-9]{1,18})", name)]


def sorted_servers(servers: Iterable[ServerStats], sort: Sort) -> list[ServerStats]:
    """By name; or what is most first."""
    by_name = sorted(servers, key=lambda server: _natural(server.id))
    return by_name if sort == "id" else sorted(by_name, key=_KEYS[sort], reverse=True)


def servers(overview: Overview, look: Look) -> Iterable[RenderableType]:
    everyone = sorted_servers(overview.servers, look.sort)
    shown = everyone[: look.top] if look.top else everyone
    wide = ["users", ""] if look.is_wide else []
    drawn = table(
        "Socket servers",
        ["server", "state", "conns", "of", "full", *wide, "msgs/s", "new/s", "slow", "lag", "CPU", "mem", "seen"],
        look,
    )
    for server in shown:
        drawn.add_row(*_server_row(server, look), style="dim" if server.state == "dead" else "")
    living = [server for server in everyone if server.state != "dead"]
    if len(everyone) > 1:
        drawn.add_row(*_server_total(living, look), style="bold")
    if everyone:
        yield drawn
        if len(shown) < len(everyone):
            yield Text(f"the first {len(shown)} of {len(everyone)} by {look.sort}", style="dim")
        yield Text()
    if look.section == "servers" and shown:
        yield _server_facts(overview, shown, look)
        yield Text()
    if overview.roles:
        yield _roles(overview, look)
        yield Text()


def _server_row(server: ServerStats, look: Look) -> list[str | Text]:
    # What a dead one last said it did is history.
    load = None if server.state == "dead" else server.load
    full = server.connections / max(1, server.capacity)
    wide = [f"{server.users:,}", bar(full, 8, plain=look.plain)] if look.is_wide else []
    return [
        Text(printable(server.id)),
        state(server.state),
        f"{server.connections:,}",
        f"{server.capacity:,}",
        share(full),
        *wide,
        figure(load.written_per_second if load else None),
        figure(load.arrivals_per_second if load else None),
        figure(load.slow_closes if load else None),
        lag(load.lag_ms if load else None),
        share(load.cpu if load else None),
        octets(server.rss_bytes),
        age(server.seen_ms_ago / 1000),
    ]


def _server_total(living: Sequence[ServerStats], look: Look) -> list[str]:
    loads = [server.load for server in living if server.load is not None]
    connections = sum(server.connections for server in living)
    capacity = sum(server.capacity for server in living)
    full = connections / max(1, capacity)
    users = sum(server.users for server in living)
    wide = [f"{users:,}", bar(full, 8, plain=look.plain)] if look.is_wide else []
    return [
        "total",
        "",
        f"{connections:,}",
        f"{capacity:,}",
        share(full),
        *wide,
        figure(sum(load.written_per_second for load in loads)),
        figure(sum(load.arrivals_per_second for load in loads)),
        figure(sum(load.slow_closes for load in loads)),
        lag(max((load.lag_ms for load in loads), default=0)),
        "",
        "",
        age(max((server.seen_ms_ago for server in living), default=0) / 1000),
    ]


def _server_facts(overview: Overview, shown: Sequence[ServerStats], look: Look) -> RenderableType:
    zones = ["zone"] if any(server.zone for server in shown) else []
    drawn = table("Where they are", ["server", "version", "start", "up", *zones, "url"], look)
    for server in shown:
        drawn.add_row(
            Text(printable(server.id)),
            printable(server.version),
            f"{server.generation:,}",
            up(overview.at, server.started_at),
            *([Text(printable(server.zone))] if zones else []),
            Text(printable(server.url)),
        )
    return drawn


def up(at: str, started_at: str) -> str:
    """By two clocks: never less than nothing."""
    try:
        return age(max(0, parse_rfc3339(at) - parse_rfc3339(started_at)) / 1000)
    except ValueError:
        return "?"


_DOES: Final = {"api": "stored", "boxoffice": "arrivals", "router": "jobs", "gc": "expired"}
"""What of all that a role counts is its work."""


def _roles(overview: Overview, look: Look) -> RenderableType:
    wide = ["label", "version"] if look.is_wide else []
    drawn = table(
        "Other processes", ["role", "host", "process", *wide, "state", "does", "lag", "CPU", "mem", "up", "seen"], look
    )
    for role in overview.roles:
        drawn.add_row(*_role_row(overview, role, look), style="dim" if role.state == "dead" else "")
    return drawn


def _role_row(overview: Overview, role: RoleStats, look: Look) -> list[str | Text]:
    work, lives = _DOES.get(role.role), role.state != "dead"
    label = "" if role.label == role.role else role.label
    wide: list[str | Text] = [Text(printable(label)), printable(role.version)] if look.is_wide else []
    return [
        printable(role.role),
        Text(printable(role.host)),
        str(role.pid),
        *wide,
        state(role.state),
        f"{figure(role.per_second.get(work, 0))} {work}/s" if work and lives else "",
        lag(role.lag_ms if lives else None),
        share(role.cpu if lives else None),
        octets(role.rss_bytes),
        up(overview.at, role.started_at),
        age(role.seen_ms_ago / 1000),
    ]
