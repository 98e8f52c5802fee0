"""How `pushctl stats` looks: tables for a terminal, lines for a machine.

Owns: layout, warnings in words, redrawing. Must not know: where the numbers come from.
"""

from collections.abc import Sequence

import msgspec
import trio
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pushctl.cli.values import age
from pushctl.client.foreign import printable
from pushctl.config.model import Config
from pushctl.errors import NotGood
from pushctl.overview import SECTIONS, Overview, ServerStats, gather
from pushctl.registry import open_registry
from pushctl.registry.jobs import IDLE_MS

__all__ = ["SECTIONS", "show"]

LAG_MS = 2000
"""Jobs that wait for so long were no fast path to anybody."""

LATE_MS = 4000
"""A server not heard of for so long has missed a heartbeat: worth a word."""


async def show(config: Config, section: str | None, watch: float | None, as_json: bool, expect: int | None) -> None:
    """Look once, or again and again; raises NotGood when fewer servers live than expected."""
    console = Console()
    async with open_registry(config, name="stats") as registry:
        if watch is None or as_json or not console.is_terminal:
            while True:
                overview = await gather(registry, config)
                if as_json:
                    print(_line(overview, section), flush=True)
                else:
                    # Printed by Python, not by rich, which ends the process on a broken pipe (`| head`) in its own way.
                    with console.capture() as screen:
                        console.print(render(overview, section))
                    print(screen.get(), end="", flush=True)
                if watch is None:
                    break
                await trio.sleep(watch)
        else:
            with Live(console=console, screen=True, auto_refresh=False) as live:
                while True:
                    overview = await gather(registry, config)
                    live.update(render(overview, section), refresh=True)
                    await trio.sleep(watch)
    living = sum(server.state != "dead" for server in overview.servers)
    if expect is not None and living < expect:
        raise NotGood(f"{living} socket servers live, {expect} were expected")


def _line(overview: Overview, section: str | None) -> str:
    chosen = overview if section is None else {"at": overview.at, section: getattr(overview, section)}
    return msgspec.json.encode(chosen).decode()


def render(overview: Overview, section: str | None = None) -> RenderableType:
    """The whole overview, or one section of it, as tables that fit 80 columns."""
    parts: dict[str, list[RenderableType]] = {
        "servers": _servers(overview),
        "users": [_users(overview)],
        "messages": [_messages(overview)],
        "routing": _routing(overview),
        "redis": [_redis(overview)],
    }
    shown = parts[section] if section else [part for some in parts.values() for part in some]
    return Group(*shown)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        left = column in ("server", "state", "url", "router", "runs", "")
        table.add_column(
            column,
            justify="left" if left else "right",
            no_wrap=column != "url",
            overflow="fold",
            header_style="dim",
        )
    return table


def _bar(share: float, width: int = 8) -> str:
    filled = round(max(0.0, min(1.0, share)) * width)
    return "█" * filled + "·" * (width - filled)


def _servers(overview: Overview) -> list[RenderableType]:
    table = _table("Servers", "server", "state", "connections", "capacity", "", "users", "seen", "url")
    styles = {"ready": "green", "draining": "yellow", "dead": "red", "not_ready": "yellow"}
    for server in overview.servers:
        table.add_row(
            printable(server.id),
            Text(server.state, style=styles.get(server.state, "")),
            f"{server.connections:,}",
            f"{server.capacity:,}",
            _bar(server.connections / server.capacity),
            f"{server.users:,}",
            age(server.seen_ms_ago / 1000),
            printable(server.url),
        )
    capacity = sum(server.capacity for server in overview.servers if server.state != "dead")
    table.add_row("total", "", f"{overview.connections:,}", f"{capacity:,}", "", "", "", "", style="bold")
    return [table, *(Text(f"! {warning}", style="yellow") for warning in warnings(overview.servers)), Text()]


def warnings(servers: Sequence[ServerStats]) -> list[str]:
    """What is not as it should be, in words."""
    if not servers:
        return ["no socket server has been seen; start one with `pushctl serve socket`"]
    found = []
    for server in servers:
        if server.state == "dead" or server.seen_ms_ago > LATE_MS:
            found.append(f"{server.id} has not been seen for {age(server.seen_ms_ago / 1000)}")
        elif server.drain is not None:
            found.append(f"{server.id} drains, asked by {printable(server.drain.by)}: {_way(server)}")
        elif server.connections >= 0.9 * server.capacity:
            found.append(f"{server.id} is almost full")
    return found


def _way(server: ServerStats) -> str:
    assert server.drain is not None
    left = f"{server.connections:,} of {server.drain.began_with:,} connections left"
    return f"{left}, over {server.drain.over_seconds:g} s since {server.drain.since}"


def _users(overview: Overview) -> RenderableType:
    users = overview.users
    if users is None:
        return Text("Users: gc has not counted yet\n")
    table = _table("Users", "users", "devices", "connected", "push URLs", "counted")
    table.add_row(
        f"{users.users:,}",
        f"{users.devices:,}",
        f"{users.connected:,}",
        f"{users.push_urls:,}",
        f"{age(users.age_ms / 1000)} ago",
    )
    return Group(table, Text())


def _messages(overview: Overview) -> RenderableType:
    messages = overview.messages
    if messages is None:
        return Text("Messages: gc has not counted yet\n")
    table = _table("Messages", "unread", "counted")
    table.add_row(f"{messages.unread:,}", f"{age(messages.age_ms / 1000)} ago")
    return Group(table, Text())


def _routing(overview: Overview) -> list[RenderableType]:
    routing = overview.routing
    streams = _table(
        f"Routing (strategy {routing.strategy})",
        "partition",
        "jobs",
        "bytes",
        "pending",
        "oldest",
        "routers",
        "hints by",
    )
    for part in routing.partitions:
        streams.add_row(
            str(part.partition),
            f"{part.length:,}",
            f"{part.bytes:,}",
            f"{part.pending:,}",
            age(part.lag_ms / 1000) if part.length else "",
            f"{part.routers:,}",
            part.publish,
        )
    routers = _table("Routers", "router", "runs", "partitions", "pending", "idle")
    for router in routing.routers:
        routers.add_row(
            printable(router.name),
            router.strategy or "?",
            f"{router.partitions:,}",
            f"{router.pending:,}",
            age(router.idle_ms / 1000),
        )
    found = [Text(f"! {warning}", style="yellow") for warning in routing_warnings(overview)]
    shown: list[RenderableType] = [streams, routers] if routing.routers else [streams]
    return [*shown, *found, Text()]


def routing_warnings(overview: Overview) -> list[str]:
    """What is not as it should be, in words."""
    routing = overview.routing
    found = []
    for part in routing.partitions:
        if not part.routers:
            found.append(f"no router reads partition {part.partition}; start one with `pushctl serve router`")
        elif part.length and part.lag_ms > LAG_MS:
            found.append(f"jobs of partition {part.partition} wait for {age(part.lag_ms / 1000)}")
    if "rpc" in (router.strategy for router in routing.routers):
        found += [
            f"{printable(server.id)} has no internal listener (socket.rpc_listen): routers reach it through Redis"
            for server in overview.servers
            if server.state != "dead" and not server.rpc_url
        ]
    for router in routing.routers:
        if router.idle_ms > IDLE_MS:
            found.append(f"{printable(router.name)} was not seen at work for {age(router.idle_ms / 1000)}")
        if router.strategy and router.strategy != routing.strategy:
            found.append(f"{printable(router.name)} runs {router.strategy}, the configuration here says otherwise")
    return found


def _redis(overview: Overview) -> RenderableType:
    redis = overview.redis
    table = _table("Redis", "version", "memory", "clients", "commands/s", "up", "append-only file")
    table.add_row(
        redis.version,
        f"{redis.used_memory_bytes / 2**20:,.1f} MiB",
        f"{redis.clients:,}",
        f"{redis.commands_per_second:,}",
        age(redis.uptime_seconds),
        "yes" if redis.append_only else "no",
    )
    return table
