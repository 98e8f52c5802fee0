"""What an operator wants to know of a running service, gathered from the registry alone.

Owns: the shape of an overview: what `pushctl stats --json` prints, one object per look, names documented in
docs/operations.md. Promises: costs Redis a handful of commands however many users there are; everything says its age.
Must not know: tables, terminals.
"""

from collections.abc import Sequence
from typing import get_args, get_type_hints

import msgspec

from pushctl.clock import rfc3339
from pushctl.config.model import Config, Routing
from pushctl.registry import Registry
from pushctl.registry.jobs import Backlog, Consumer
from pushctl.registry.servers import Drain


class DrainStats(msgspec.Struct, frozen=True):
    by: str
    """Who asked, in their words."""
    since: str
    over_seconds: float
    began_with: int
    """Connections when it began."""


def drain_stats(drain: Drain | None) -> DrainStats | None:
    """As people are told of it."""
    if drain is None:
        return None
    return DrainStats(drain.by, rfc3339(drain.at_ms), drain.over_ms / 1000, drain.connections)


class ServerStats(msgspec.Struct, frozen=True):
    id: str
    state: str
    """ready, draining, not_ready; dead once it has been silent for 7 s"""
    url: str
    connections: int
    capacity: int
    users: int
    generation: int
    version: str
    started_at: str
    rss_bytes: int
    seen_ms_ago: int
    rpc_url: str
    """where routers may call it; empty: they reach it through Redis only"""
    drain: DrainStats | None
    """null unless it drains"""


class UserStats(msgspec.Struct, frozen=True):
    """As gc last counted; null before its first count."""

    users: int
    devices: int
    connected: int
    push_urls: int
    counted_at: str
    counting_began_at: str
    age_ms: int


class MessageStats(msgspec.Struct, frozen=True):
    """As gc last counted. Messages past their moment are not unread, whether or not gc has removed them."""

    unread: int
    counted_at: str
    counting_began_at: str
    age_ms: int


class PartitionStats(msgspec.Struct, frozen=True):
    """A job stream: `length` jobs in it, of which `pending` were taken by a router and not handed over; the oldest was
    written `lag_ms` ago. `publish`: the command that brings hints to channels, SPUBLISH or PUBLISH."""

    partition: int
    length: int
    bytes: int
    pending: int
    lag_ms: int
    routers: int
    publish: str


class RouterStats(msgspec.Struct, frozen=True):
    """A router: `pending` jobs it holds, over all partitions; `idle_ms` since it was last seen at work, in the
    partition where that is longest."""

    name: str
    strategy: str
    """What it runs; empty for a reader that is none of our routers."""
    partitions: int
    pending: int
    idle_ms: int


class RoutingStats(msgspec.Struct, frozen=True):
    strategy: str
    partitions: list[PartitionStats]
    routers: list[RouterStats]


class RedisStats(msgspec.Struct, frozen=True):
    version: str
    used_memory_bytes: int
    clients: int
    commands_per_second: int
    uptime_seconds: int
    append_only: bool


class Overview(msgspec.Struct, frozen=True):
    at: str
    connections: int
    """Of all living socket servers."""
    servers: list[ServerStats]
    users: UserStats | None
    messages: MessageStats | None
    routing: RoutingStats
    redis: RedisStats


SECTIONS = ("servers", "users", "messages", "routing", "redis")


async def gather(registry: Registry, config: Config) -> Overview:
    """One look. Raises StoreUnavailable."""
    now_ms = await registry.now_ms()
    servers = [
        ServerStats(
            id=server.id,
            state=server.state if server.alive else "dead",
            url=server.url,
            connections=server.connections,
            capacity=server.capacity,
            users=server.row.users,
            generation=server.generation,
            version=server.row.version,
            started_at=server.row.started_at,
            rss_bytes=server.row.rss_bytes,
            seen_ms_ago=server.seen_ms_ago,
            rpc_url=server.rpc_url,
            drain=drain_stats(server.row.drain),
        )
        for server in await registry.servers.picture("")
    ]
    census = await registry.index.census()
    info = next(iter((await registry.infos()).values()))
    users = messages = None
    if census is not None:
        counted_at, began_at = rfc3339(census.finished_ms), rfc3339(census.started_ms)
        age_ms = now_ms - census.finished_ms
        users = UserStats(
            census.users, census.devices, census.connections, census.push_urls, counted_at, began_at, age_ms
        )
        messages = MessageStats(census.unread, counted_at, began_at, age_ms)
    return Overview(
        at=rfc3339(now_ms),
        connections=sum(server.connections for server in servers if server.state != "dead"),
        servers=servers,
        users=users,
        messages=messages,
        routing=_routing(
            config,
            await registry.jobs.backlogs(),
            [await registry.channels.verb(partition) for partition in range(registry.channels.partitions)],
        ),
        redis=RedisStats(
            version=info["redis_version"],
            used_memory_bytes=int(info["used_memory"]),
            clients=int(info["connected_clients"]),
            commands_per_second=int(info["instantaneous_ops_per_sec"]),
            uptime_seconds=int(info["uptime_in_seconds"]),
            append_only=info["aof_enabled"] == "1",
        ),
    )


STRATEGIES = get_args(get_type_hints(Routing)["strategy"])


def _routing(config: Config, found: Sequence[tuple[Backlog, Sequence[Consumer]]], verbs: Sequence[str]) -> RoutingStats:
    held: dict[str, list[Consumer]] = {}
    partitions = []
    for (backlog, consumers), verb in zip(found, verbs, strict=True):
        pending = sum(consumer.pending for consumer in consumers)
        partitions.append(
            PartitionStats(
                backlog.partition,
                backlog.length,
                backlog.bytes,
                pending,
                backlog.lag_ms,
                routers=len(consumers),
                publish=verb,
            )
        )
        for consumer in consumers:
            held.setdefault(consumer.name, []).append(consumer)
    routers = [_router(name, consumers) for name, consumers in sorted(held.items())]
    return RoutingStats(config.routing.strategy, partitions, routers)


def _router(name: str, parts: Sequence[Consumer]) -> RouterStats:
    """`name`: of the consumer, which begins with its strategy."""
    strategy = name.partition("-")[0]
    return RouterStats(
        name=name,
        strategy=strategy if strategy in STRATEGIES else "",
        partitions=len(parts),
        pending=sum(part.pending for part in parts),
        idle_ms=max(part.idle_ms for part in parts),
    )
