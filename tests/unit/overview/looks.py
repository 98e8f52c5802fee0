"""Looks at a service that is well, to be spoiled one thing at a time."""

from typing import Any

import msgspec

from pushctl.overview import Overview
from pushctl.overview.people import MessageStats, UserStats
from pushctl.overview.redis import MasterStats, RedisStats
from pushctl.overview.routing import PartitionStats, RouterStats, RoutingStats
from pushctl.overview.servers import LoadStats, RoleStats, ServerStats

AT = "2026-01-02T03:04:05.678Z"
BEFORE = "2026-01-02T01:04:05.678Z"


def load(**changes: Any) -> LoadStats:
    return msgspec.structs.replace(LoadStats(0.1, 3, 20, 18, 40, 1, 0.5, 2), **changes)


def server(**changes: Any) -> ServerStats:
    well = ServerStats(
        id="s1",
        state="ready",
        url="wss://s1.push.example/",
        connections=120,
        capacity=1000,
        users=60,
        generation=1,
        version="1.0",
        started_at=BEFORE,
        rss_bytes=90_000_000,
        seen_ms_ago=900,
        clock_ahead_ms=-3,
        rpc_url="http://10.0.0.1:9182",
        zone="",
        drain=None,
        load=load(),
    )
    return msgspec.structs.replace(well, **changes)


def role(**changes: Any) -> RoleStats:
    well = RoleStats(
        id="api-1",
        role="api",
        label="api",
        host="a1",
        pid=4711,
        version="1.0",
        started_at=BEFORE,
        state="ready",
        why="",
        seen_ms_ago=1500,
        clock_ahead_ms=2,
        rss_bytes=80_000_000,
        cpu=0.2,
        lag_ms=2,
        per_second={"stored": 12.5},
    )
    return msgspec.structs.replace(well, **changes)


def partition(**changes: Any) -> PartitionStats:
    return msgspec.structs.replace(PartitionStats(0, 0, 0, 0, 0, routers=1, publish="PUBLISH"), **changes)


def router(**changes: Any) -> RouterStats:
    return msgspec.structs.replace(RouterStats("channel-r1", "channel", 1, 0, 800, 12.5), **changes)


def master(**changes: Any) -> MasterStats:
    well = MasterStats(
        address="10.0.0.9:6379",
        state="ok",
        seen_ms_ago=0,
        version="7.0.15",
        uptime_seconds=7200,
        used_memory_bytes=50_000_000,
        max_memory_bytes=100_000_000,
        eviction_policy="noeviction",
        keys=4000,
        clients=12,
        max_clients=10_000,
        commands_per_second=300,
        cpu=0.05,
        rejected_connections=0,
        evicted_keys=0,
        append_only=True,
        append_only_ok=True,
        delayed_syncs=0,
        last_save_ok=True,
        saved_seconds_ago=60,
        changes_since_save=10,
        replicas=1,
        replica_lag_seconds=0,
    )
    return msgspec.structs.replace(well, **changes)


def look(
    *,
    servers: list[ServerStats] | None = None,
    roles: list[RoleStats] | None = None,
    partitions: list[PartitionStats] | None = None,
    routers: list[RouterStats] | None = None,
    masters: list[MasterStats] | None = None,
    **changes: Any,
) -> Overview:
    servers = [server()] if servers is None else servers
    masters = masters or [master()]
    well = Overview(
        at=AT,
        connections=sum(each.connections for each in servers if each.state != "dead"),
        servers=servers,
        roles=[role()] if roles is None else roles,
        users=UserStats(50, 130, 120, 70, AT, AT, 20_000),
        messages=MessageStats(8, AT, AT, 20_000, 12.5, 12.5, 12.5, 20, 18, 3, 0),
        routing=RoutingStats("channel", 0, 0, 0, 12.5, partitions or [partition()], routers or [router()]),
        redis=RedisStats(50_000_000, 4000, 12, 300, masters),
        warnings=[],
        unknown=[],
    )
    return msgspec.structs.replace(well, **changes)
