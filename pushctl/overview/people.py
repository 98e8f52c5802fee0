"""Users and messages: what there is, as gc last counted; how many pass by, as the processes say.

Owns: the shape of both. Promises: costs no work per message: rates are sums of what living processes count anyway.
Must not know: how they are shown.
"""

from collections.abc import Iterable, Sequence

import msgspec

from pushctl.clock import rfc3339
from pushctl.load import Load
from pushctl.registry.index import Census
from pushctl.registry.processes import Process


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
    """`unread` as gc last counted, null before its first count; messages past their moment are not unread, whether or
    not gc has removed them. Rates: of the last ten seconds, summed over living processes."""

    unread: int | None
    counted_at: str | None
    counting_began_at: str | None
    age_ms: int | None
    received_per_second: float
    stored_per_second: float
    routed_per_second: float
    written_per_second: float
    acknowledged_per_second: float
    read_per_second: float
    expired_per_second: float


def user_stats(census: Census | None, now_ms: int) -> UserStats | None:
    if census is None:
        return None
    return UserStats(
        users=census.users,
        devices=census.devices,
        connected=census.connections,
        push_urls=census.push_urls,
        counted_at=rfc3339(census.finished_ms),
        counting_began_at=rfc3339(census.started_ms),
        age_ms=now_ms - census.finished_ms,
    )


def message_stats(
    census: Census | None, now_ms: int, servers: Iterable[Load | None], processes: Sequence[Process]
) -> MessageStats:
    """`servers`: of those that live."""
    loads = [load for load in servers if load is not None]
    loads += [process.row.load for process in processes if process.alive]

    def rate(stage: str) -> float:
        return round(sum(load.per_second.get(stage, 0) for load in loads), 1)

    return MessageStats(
        unread=census.unread if census else None,
        counted_at=rfc3339(census.finished_ms) if census else None,
        counting_began_at=rfc3339(census.started_ms) if census else None,
        age_ms=now_ms - census.finished_ms if census else None,
        received_per_second=rate("received"),
        stored_per_second=rate("stored"),
        routed_per_second=rate("routed"),
        written_per_second=rate("written"),
        acknowledged_per_second=rate("acknowledged"),
        read_per_second=rate("read"),
        expired_per_second=rate("expired"),
    )
