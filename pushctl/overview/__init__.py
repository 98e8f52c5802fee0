"""What an operator wants to know of a running service, gathered from the registry alone.

Owns: one look (`Lookout.look`) and its shape, `Overview`: what `pushctl stats --json` prints, names documented in
docs/operations.md. Promises: a look costs Redis a handful of commands however many users there are, in one round trip
to each master; everything says its age; a master of several that is away hides only what lies on it.
Must not know: tables, terminals.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import trio

from pushctl.clock import rfc3339
from pushctl.config.model import Config
from pushctl.errors import StoreUnavailable
from pushctl.overview.people import MessageStats, UserStats, message_stats, user_stats
from pushctl.overview.redis import Masters, RedisStats
from pushctl.overview.routing import RoutingStats, look_at_routing, routing_stats
from pushctl.overview.servers import RoleStats, ServerStats, role_stats, server_stats
from pushctl.overview.warnings import Notice, warnings_of
from pushctl.registry import Registry
from pushctl.registry.index import Census
from pushctl.registry.processes import Process
from pushctl.registry.servers import ServerRow

__all__ = ["OF_EVERY_SECTION", "SECTIONS", "Lookout", "Overview", "gather", "part_of"]


class Overview(msgspec.Struct, frozen=True):
    at: str
    connections: int
    """Of all living socket servers."""
    servers: list[ServerStats]
    roles: list[RoleStats]
    """Every other process."""
    users: UserStats | None
    messages: MessageStats
    routing: RoutingStats
    redis: RedisStats
    warnings: list[Notice]
    unknown: list[str]
    """Sections whose part of the registry did not answer."""


SECTIONS: Final = {
    "servers": ("connections", "servers", "roles"),
    "users": ("users",),
    "messages": ("messages",),
    "routing": ("routing",),
    "redis": ("redis",),
}
"""And what of the overview each shows."""

OF_EVERY_SECTION: Final = ("warnings", "unknown")
"""As far as they concern it."""


def part_of(overview: Overview, section: str | None) -> dict[str, object]:
    """The overview, or one section of it with its warnings."""
    if section is None:
        return msgspec.structs.asdict(overview)
    shown = {name: getattr(overview, name) for name in SECTIONS[section]}
    warnings = [warning for warning in overview.warnings if warning.section == section]
    return {"at": overview.at, **shown, "warnings": warnings, "unknown": [s for s in overview.unknown if s == section]}


class Lookout:
    """Looks again and again: from the second look on, rates of Redis are between two looks."""

    def __init__(self, registry: Registry, config: Config) -> None:
        self._registry = registry
        self._config = config
        self._masters = Masters(registry)

    async def look(self) -> Overview:
        """Raises StoreUnavailable if nothing answers."""
        registry, config = self._registry, self._config
        now_ms = await registry.now_ms()
        unknown: dict[str, str] = {}
        rows: list[ServerRow] = []
        processes: list[Process] = []
        census: list[Census | None] = []

        async def known(sections: tuple[str, ...], ask: Callable[[], Awaitable[object]]) -> None:
            try:
                await ask()
            except StoreUnavailable as error:
                unknown.update(dict.fromkeys(sections, error.detail))

        async def ask_servers() -> None:
            rows.extend(await registry.servers.picture(""))
            processes.extend(await registry.processes.picture())

        async def ask_census() -> None:
            census.append(await registry.index.census())

        async with trio.open_nursery() as asking:
            asking.start_soon(known, ("servers",), ask_servers)
            asking.start_soon(known, ("users", "messages"), ask_census)
            found = await look_at_routing(registry)
            redis = await self._masters.look(now_ms)
        if found.problem:
            unknown["routing"] = found.problem
        servers, roles = server_stats(rows), role_stats(processes)
        counted = census[0] if census else None
        overview = Overview(
            at=rfc3339(now_ms),
            connections=sum(server.connections for server in servers if server.state != "dead"),
            servers=servers,
            roles=roles,
            users=user_stats(counted, now_ms),
            messages=message_stats(counted, now_ms, [row.row.load for row in rows if row.alive], processes),
            routing=routing_stats(config, found, processes),
            redis=redis,
            warnings=[],
            unknown=sorted(unknown),
        )
        return msgspec.structs.replace(overview, warnings=warnings_of(overview, config, unknown))


async def gather(registry: Registry, config: Config) -> Overview:
    """One look. Raises StoreUnavailable."""
    return await Lookout(registry, config).look()
