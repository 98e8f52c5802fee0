"""How one look of `pushctl stats` looks: what is wrong first, then a table for each section.

Owns: what comes in which order. Promises: 80 columns are enough, 100 and more show more; nothing that a server, a
router or an operator wrote can move the cursor. Must not know: where the numbers come from; redrawing.
"""

from collections.abc import Callable, Iterable
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pushctl.cli.stats.processes import servers
from pushctl.cli.stats.table import Look, state, table
from pushctl.cli.stats.words import figure, lag, octets, share
from pushctl.cli.values import age
from pushctl.client.foreign import printable
from pushctl.overview import SECTIONS, Overview
from pushctl.overview.redis import MasterStats

MAX_NOTICES: Final = 12


def render(overview: Overview, look: Look, *, below_notices: RenderableType | None = None) -> RenderableType:
    """The whole overview, or one section of it."""
    parts: dict[str, Callable[[], Iterable[RenderableType]]] = {
        "servers": lambda: servers(overview, look),
        "users": lambda: _users(overview, look),
        "messages": lambda: _messages(overview, look),
        "routing": lambda: _routing(overview, look),
        "redis": lambda: _redis(overview, look),
    }
    shown = [look.section] if look.section else list(SECTIONS)
    tables = [part for section in shown if section not in overview.unknown for part in parts[section]()]
    between = [] if below_notices is None else [below_notices]
    return Group(_headline(overview), *_notices(overview, look), *between, *tables)


def _headline(overview: Overview) -> RenderableType:
    living = sum(server.state != "dead" for server in overview.servers)
    at = overview.at[:19].replace("T", " ")
    line = Text.assemble((f"{at} UTC", "dim"), "  ", (f"{overview.connections:,}", "bold"), " connections on ")
    return line.append(f"{living} of {_many(len(overview.servers), 'socket server')}")


def _notices(overview: Overview, look: Look) -> list[RenderableType]:
    found = [notice for notice in overview.warnings if look.section in (None, notice.section)]
    if not found:
        return [Text("nothing out of the ordinary", style="green"), Text()]
    grid = Table.grid(padding=(0, 1, 0, 0))
    for notice in found[:MAX_NOTICES]:
        grid.add_row(Text("!", style="bold yellow"), Text(printable(notice.text), style="yellow", overflow="fold"))
    if len(found) > MAX_NOTICES:
        grid.add_row(Text(""), Text(f"and {len(found) - MAX_NOTICES} more: --json says all", style="dim"))
    return [grid, Text()]


def _many(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _users(overview: Overview, look: Look) -> Iterable[RenderableType]:
    users = overview.users
    if users is None:
        yield Text("Users: gc has not counted yet\n")
        return
    drawn = table("Users", ["users", "devices", "connected", "push URLs", "counted"], look)
    drawn.add_row(
        f"{users.users:,}",
        f"{users.devices:,}",
        f"{users.connected:,}",
        f"{users.push_urls:,}",
        _counted(users.age_ms),
    )
    yield drawn
    yield Text()


def _counted(age_ms: float) -> str:
    passed = age(age_ms / 1000)
    return passed if passed == "now" else f"{passed} ago"


def _messages(overview: Overview, look: Look) -> Iterable[RenderableType]:
    found = overview.messages
    drawn = table(
        "Messages (those that pass: in a second, over the last ten)",
        ["unread", "counted", "received", "stored", "routed", "written", "acked", "read", "expired"],
        look,
    )
    drawn.add_row(
        "-" if found.unread is None else f"{found.unread:,}",
        "not yet" if found.age_ms is None else _counted(found.age_ms),
        figure(found.received_per_second),
        figure(found.stored_per_second),
        figure(found.routed_per_second),
        figure(found.written_per_second),
        figure(found.acknowledged_per_second),
        figure(found.read_per_second),
        figure(found.expired_per_second),
    )
    yield drawn
    yield Text()


def _routing(overview: Overview, look: Look) -> Iterable[RenderableType]:
    routing = overview.routing
    streams = table(
        f"Routing (strategy {routing.strategy})",
        ["partition", "jobs", "bytes", "pending", "oldest", "routers", "hints by"],
        look,
    )
    for part in routing.partitions:
        streams.add_row(
            str(part.partition),
            f"{part.length:,}",
            octets(part.bytes),
            f"{part.pending:,}",
            lag(part.lag_ms) if part.length else "-",
            f"{part.routers:,}",
            part.publish,
        )
    if len(routing.partitions) > 1:
        total = sum(part.bytes for part in routing.partitions)
        oldest = lag(routing.lag_ms) if routing.length else "-"
        streams.add_row("total", f"{routing.length:,}", octets(total), f"{routing.pending:,}", oldest, style="bold")
    yield streams
    yield Text()
    if routing.routers:
        routers = table("Routers", ["router", "runs", "partitions", "pending", "jobs/s", "idle"], look)
        for router in routing.routers:
            routers.add_row(
                Text(printable(router.name)),
                router.strategy or "?",
                f"{router.partitions:,}",
                f"{router.pending:,}",
                figure(router.jobs_per_second),
                age(router.idle_ms / 1000),
            )
        yield routers
        yield Text()


def _redis(overview: Overview, look: Look) -> Iterable[RenderableType]:
    redis = overview.redis
    wide = ["CPU", "keys", "version"] if look.is_wide else []
    drawn = table(
        "Redis",
        ["master", "state", "mem", "of", "clients", "cmds/s", *wide, "AOF", "saved", "replicas", "up", "seen"],
        look,
    )
    for master in redis.masters:
        drawn.add_row(*_master_row(master, look))
    if len(redis.masters) > 1:
        memory, rate = octets(redis.used_memory_bytes), figure(redis.commands_per_second)
        more = ["", f"{redis.keys:,}"] if look.is_wide else []
        drawn.add_row("total", "", memory, "", f"{redis.clients:,}", rate, *more, style="bold")
    yield drawn


def _master_row(master: MasterStats, look: Look) -> list[str | Text]:
    keys = "-" if master.keys is None else f"{master.keys:,}"
    wide = [share(master.cpu), keys, printable(master.version)] if look.is_wide else []
    return [
        Text(printable(master.address)),
        state(master.state),
        octets(master.used_memory_bytes),
        octets(master.max_memory_bytes) if master.max_memory_bytes else "-",
        "-" if master.clients is None else f"{master.clients:,}",
        figure(master.commands_per_second),
        *wide,
        "-"
        if master.append_only is None
        else ("ok" if master.append_only_ok else "fails")
        if master.append_only
        else "no",
        "-" if master.saved_seconds_ago is None else age(master.saved_seconds_ago),
        _replicas(master),
        "-" if master.uptime_seconds is None else age(master.uptime_seconds),
        "never" if master.seen_ms_ago is None else age(master.seen_ms_ago / 1000),
    ]


def _replicas(master: MasterStats) -> str:
    if not master.replicas:
        return "-"
    return f"{master.replicas}, {lag((master.replica_lag_seconds or 0) * 1000)}"
