"""The processes of a service: socket servers by their heartbeats, other roles by their reports.

Owns: the shape of a row of each. Must not know: how they are shown.
"""

from collections.abc import Sequence

import msgspec

from pushctl.clock import rfc3339
from pushctl.load import Load
from pushctl.registry.processes import Process
from pushctl.registry.servers import Drain, ServerRow


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


class LoadStats(msgspec.Struct, frozen=True):
    """What a socket server is busy with, by its own word, over the last ten seconds; `slow_closes` since its start.
    `written`, `acknowledged`: messages. `cpu`: of a core."""

    cpu: float
    lag_ms: int
    written_per_second: float
    acknowledged_per_second: float
    frames_per_second: float
    arrivals_per_second: float
    closes_per_second: float
    slow_closes: int


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
    clock_ahead_ms: int | None
    """of its host's clock before that of Redis"""
    rpc_url: str
    """where routers may call it; empty: they reach it through Redis only"""
    zone: str
    drain: DrainStats | None
    """null unless it drains"""
    load: LoadStats | None
    """null: an older version, which does not say"""


class RoleStats(msgspec.Struct, frozen=True):
    """A process, or one role of `serve all`, that is no socket server."""

    id: str
    """of this start"""
    role: str
    label: str
    host: str
    pid: int
    version: str
    started_at: str
    state: str
    """ready, draining, not_ready; dead once it has been silent for 12 s"""
    why: str
    """it is not ready"""
    seen_ms_ago: int
    clock_ahead_ms: int
    rss_bytes: int
    cpu: float
    lag_ms: int
    per_second: dict[str, float]
    """what it does, by word"""


def server_stats(rows: Sequence[ServerRow]) -> list[ServerStats]:
    return [
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
            clock_ahead_ms=server.clock_ahead_ms,
            rpc_url=server.rpc_url,
            zone=server.zone,
            drain=drain_stats(server.row.drain),
            load=load_stats(server.row.load),
        )
        for server in rows
    ]


def load_stats(load: Load | None) -> LoadStats | None:
    if load is None:
        return None
    per_second = load.per_second
    return LoadStats(
        cpu=load.cpu,
        lag_ms=load.lag_ms,
        written_per_second=per_second.get("written", 0),
        acknowledged_per_second=per_second.get("acknowledged", 0),
        frames_per_second=per_second.get("frames", 0),
        arrivals_per_second=per_second.get("arrivals", 0),
        closes_per_second=per_second.get("closes", 0),
        slow_closes=load.counts.get("slow_closes", 0),
    )


def role_stats(processes: Sequence[Process]) -> list[RoleStats]:
    return [
        RoleStats(
            id=process.id,
            role=row.role,
            label=row.label,
            host=row.host,
            pid=row.pid,
            version=row.version,
            started_at=row.started_at,
            state=row.state if process.alive else "dead",
            why=row.why,
            seen_ms_ago=process.seen_ms_ago,
            clock_ahead_ms=process.clock_ahead_ms,
            rss_bytes=row.load.rss_bytes,
            cpu=row.load.cpu,
            lag_ms=row.load.lag_ms,
            per_second=row.load.per_second,
        )
        for process in processes
        for row in [process.row]
    ]
