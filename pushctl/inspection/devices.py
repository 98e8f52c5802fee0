"""Where a device stands: connected or not, how far behind, and what its next hello will get. Shared by the reports.

Owns: the judgement of leases (as routers judge them) and of positions (as sync.lua does, by what was acknowledged).
Must not know: how facts are read, terminals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from pushctl.clock import rfc3339
from pushctl.ids import DeviceId
from pushctl.inspection.words import ago, many
from pushctl.protocol.frames import URGENCIES
from pushctl.registry.presence import Holder
from pushctl.registry.records import MessageRecord
from pushctl.registry.servers import ServerRow
from pushctl.registry.users import Device

LeaseState = Literal["live", "unheard", "dead", "replaced"]
"""live: that generation of its server lives. unheard: nothing is known of that generation (yet). dead: the server is
silent. replaced: a newer generation of it has started. Routers send to the first two and remove the others."""

NextSync = Literal["nothing", "delta", "snapshot", "unread"]
"""unread: of a browser, which has no place in the log. It takes what is unread."""


@dataclass(frozen=True, slots=True)
class Judged:
    holder: Holder
    state: LeaseState
    server_seen_ms_ago: int | None = None
    """None: its server has no row."""

    @property
    def connected(self) -> bool:
        return self.state in ("live", "unheard")


def judge(holder: Holder, servers: Sequence[ServerRow]) -> Judged:
    row = next((row for row in servers if row.id == holder.server), None)
    if row is None:
        return Judged(holder, "unheard")
    if holder.generation > row.generation:
        return Judged(holder, "unheard", row.seen_ms_ago)
    if holder.generation < row.generation:
        return Judged(holder, "replaced", row.seen_ms_ago)
    return Judged(holder, "live" if row.alive else "dead", row.seen_ms_ago)


@dataclass(frozen=True, slots=True)
class LogPlace:
    """Where a user's log stands. `whole`: its newest entry is the one that `meta` names: deltas can be proved."""

    epoch: str
    seq: int
    floor: int
    whole: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """`reached`: acknowledged in this epoch, 0 for nothing. `behind`: events, None when that cannot be said.
    `because`: why a snapshot awaits it."""

    reached: int
    behind: int | None
    next_sync: NextSync
    because: str


def standing(device: Device, log: LogPlace) -> Standing:
    """By what it acknowledged last: the device itself may be further."""
    if device.is_browser:
        return Standing(0, None, "unread", "")
    if device.resync:
        return Standing(0, None, "snapshot", "it lowered its filter and has not acknowledged anything since")
    if not device.epoch:
        return Standing(0, None, "snapshot", "it has acknowledged nothing yet")
    if device.epoch != log.epoch:
        return Standing(0, None, "snapshot", "what it acknowledged is of another epoch")
    behind = log.seq - device.acked
    if not behind:
        return Standing(device.acked, 0, "nothing", "")
    if device.acked < log.floor:
        return Standing(device.acked, behind, "snapshot", f"its place is below the log's floor, {log.floor}")
    if not log.whole:
        return Standing(device.acked, behind, "snapshot", "the log's newest entries are lost")
    return Standing(device.acked, behind, "delta", "")


def awaited(messages: Sequence[MessageRecord], device: Device, at: Standing) -> tuple[int, int]:
    """(unread messages it has not acknowledged, those of them that its filter holds back)"""
    ahead = [message for message in messages if message.ref.seq > at.reached]
    return len(ahead), sum(message.rank < device.rank for message in ahead)


def where(device: DeviceId, known: Device, leases: Sequence[Judged], now_ms: int) -> str:
    """Connected to which server, or since when not."""
    own = [lease for lease in leases if lease.holder.device == device]
    for lease in own:
        if lease.connected:
            unheard = ", of which nothing is heard" if lease.state == "unheard" else ""
            return f"connected to {lease.holder.server} (generation {lease.holder.generation}){unheard}"
    seen = f"last seen {ago(now_ms - known.seen)}"
    if own:
        gone = "is dead" if own[0].state == "dead" else "has restarted since"
        return f"not connected: its lease is of {own[0].holder.server}, which {gone}; {seen}"
    return f"not connected, {seen}"


def server_of(device: DeviceId, leases: Sequence[Judged]) -> str | None:
    """The server that holds it, if one does."""
    found = (lease.holder.server for lease in leases if lease.connected and lease.holder.device == device)
    return next(found, None)


def sentence(name: str, at: Standing, unread: int, held_back: int, whereabouts: str, signed_in: bool) -> str:
    """One device in words."""
    if at.next_sync == "nothing":
        says = "has everything"
    elif at.behind is None:
        says = f"has {many(unread, 'unread message')} to come"
    else:
        says = f"is behind by {many(at.behind, 'event')} ({many(unread, 'unread message')})"
    parts = [f"{name} {says}: {whereabouts}"]
    if at.because:
        parts.append(f"a snapshot awaits it: {at.because}")
    if held_back:
        parts.append(f"its filter holds back {many(held_back, 'message')}")
    if not signed_in:
        parts.append("its session has ended")
    return "; ".join(parts)


class DeviceReport(msgspec.Struct, frozen=True):
    id: str
    name: str
    created_at: str
    seen_at: str
    server: str | None
    min_urgency: str
    acknowledged_seq: int | None
    acknowledged_at: str | None
    behind_events: int | None
    behind_unread: int
    filtered_unread: int
    next_sync: str
    resync_owed: bool
    sessions: int
    sessions_live: int
    why: str


def device_report(
    id_: DeviceId,
    device: Device,
    log: LogPlace,
    unread: Sequence[MessageRecord],
    leases: Sequence[Judged],
    sessions: Sequence[bool],
    now_ms: int,
) -> DeviceReport:
    """`unread`: the user's, without those past their moment; `sessions`: which of the device's sessions live."""
    at = standing(device, log)
    ahead, held_back = awaited(unread, device, at)
    whereabouts = where(id_, device, leases, now_ms)
    return DeviceReport(
        id=id_,
        name=device.name,
        created_at=rfc3339(device.created),
        seen_at=rfc3339(device.seen),
        server=server_of(id_, leases),
        min_urgency=URGENCIES[device.rank],
        acknowledged_seq=at.reached or None,
        acknowledged_at=rfc3339(device.acked_at) if at.reached else None,
        behind_events=at.behind,
        behind_unread=ahead,
        filtered_unread=held_back,
        next_sync=at.next_sync,
        resync_owed=device.resync,
        sessions=len(sessions),
        sessions_live=sum(sessions),
        why=sentence(device.name, at, ahead, held_back, whereabouts, any(sessions) or device.is_browser),
    )
