"""What an operator wants to know of a running service, gathered from the registry alone.

Owns: the shape of an overview: what `pushctl stats --json` prints, one object per look, names documented in
docs/operations.md. Promises: costs Redis a handful of commands however many users there are; everything says its age.
Must not know: tables, terminals.
"""

import msgspec

from pushctl.clock import rfc3339
from pushctl.config.model import Config
from pushctl.registry import Registry


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
    """A job stream: `length` jobs in it, of which `pending` were taken by a router and not handed over."""

    partition: int
    length: int
    pending: int
    routers: int


class RoutingStats(msgspec.Struct, frozen=True):
    strategy: str
    partitions: list[PartitionStats]


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
        routing=RoutingStats(
            config.routing.strategy,
            [
                PartitionStats(backlog.partition, backlog.length, backlog.pending, backlog.consumers)
                for backlog in await registry.jobs.backlog()
            ],
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
