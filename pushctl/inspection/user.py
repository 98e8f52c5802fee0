"""`inspect user`: where a user's inbox stands, and which devices are behind, by how much and why.

Owns: the shape of the report, whose names docs/operations.md lists. Must not know: terminals.
"""

import msgspec

from pushctl.clock import rfc3339
from pushctl.config.model import Config
from pushctl.ids import UserId
from pushctl.inspection.devices import DeviceReport, Judged, LogPlace, device_report, judge
from pushctl.inspection.words import ago, many, moment, nobody
from pushctl.registry import Registry
from pushctl.registry.facts import IndexFacts, Nobody, UserFacts
from pushctl.registry.records import MessageRecord

GC_LATE_MS = 60_000
"""Something overdue for longer is worth a word."""


class LogReport(msgspec.Struct, frozen=True):
    last_seq: int
    floor: int
    entries: int
    max_entries: int
    first_seq: int | None
    first_at: str | None
    last_at: str | None
    bytes: int | None
    whole: bool


class UnreadReport(msgspec.Struct, frozen=True):
    messages: int
    max_messages: int
    bytes: int
    max_bytes: int
    complete: bool
    past_their_moment: int
    oldest_at: str | None
    next_expiry_at: str | None


class PushUrlRow(msgspec.Struct, frozen=True):
    id: str
    site: str
    number: int
    created_at: str
    key_id: str
    vapid_bound: bool
    unread: int
    unread_bytes: int


class LeaseReport(msgspec.Struct, frozen=True):
    connection: str
    device: str
    server: str
    generation: int
    state: str
    server_seen_ms_ago: int | None


class GcReport(msgspec.Struct, frozen=True):
    due_at: str | None
    idle: bool
    listed: bool


class UserReport(msgspec.Struct, frozen=True):
    at: str
    user: str
    created_at: str
    epoch: str
    bytes: int | None
    log: LogReport
    unread: UnreadReport
    push_urls_made: int
    max_push_urls: int
    push_urls: list[PushUrlRow]
    max_devices: int
    devices: list[DeviceReport]
    leases: list[LeaseReport]
    leases_expire_at: str | None
    dead_messages: int
    revoked_push_urls: int
    gc: GcReport
    why: list[str]


async def inspect_user(registry: Registry, config: Config, user: UserId) -> UserReport:
    """Raises Failed for a user that is not there, with what is known; StoreUnavailable."""
    facts = await registry.inspection.user(user)
    if isinstance(facts, Nobody):
        raise nobody(user, facts)
    index = await registry.inspection.index(user)
    servers = await registry.servers.picture("")
    sessions = [session for device in facts.devices.values() for session in device.sessions]
    live = dict(zip(sessions, await registry.sessions.live(sessions), strict=True))
    leases = [judge(holder, servers) for holder in facts.leases]
    log = _log(facts, config)
    place = LogPlace(facts.epoch, facts.seq, facts.floor, log.whole)
    unread = [message for message in facts.messages if message.ref.expires_at_ms > facts.now_ms]
    devices = [
        device_report(id_, device, place, unread, leases, [live[session] for session in device.sessions], facts.now_ms)
        for id_, device in facts.devices.items()
    ]
    return UserReport(
        at=rfc3339(facts.now_ms),
        user=user,
        created_at=rfc3339(facts.created_ms),
        epoch=facts.epoch,
        bytes=facts.bytes,
        log=log,
        unread=_unread(facts, unread, config),
        push_urls_made=facts.push_urls_made,
        max_push_urls=config.limits.push_urls_per_user,
        push_urls=_push_urls(facts, unread),
        max_devices=config.limits.devices_per_user,
        devices=devices,
        leases=[_lease(lease) for lease in leases],
        leases_expire_at=rfc3339(facts.now_ms + facts.leases_last_ms) if leases else None,
        dead_messages=facts.stubs,
        revoked_push_urls=facts.ghosts,
        gc=GcReport(moment(index.due_ms), index.idle, index.listed),
        why=_why(facts, index, leases, unread, log, config),
    )


def _log(facts: UserFacts, config: Config) -> LogReport:
    log = facts.log
    newest = log.last[:2] if log.last else None
    return LogReport(
        last_seq=facts.seq,
        floor=facts.floor,
        entries=log.entries,
        max_entries=config.limits.log_events_per_user,
        first_seq=log.first[0] if log.first else None,
        first_at=moment(log.first[2] if log.first else None),
        last_at=moment(log.last[2] if log.last else None),
        bytes=log.bytes,
        whole=newest == (facts.seq, facts.tag) or facts.seq == 0,
    )


def _unread(facts: UserFacts, unread: list[MessageRecord], config: Config) -> UnreadReport:
    past = len(facts.messages) - len(unread)
    return UnreadReport(
        messages=facts.unread - past,
        max_messages=config.limits.unread_per_user,
        bytes=sum(message.size for message in unread),
        max_bytes=config.limits.unread_bytes_per_user,
        complete=len(facts.messages) == facts.unread,
        past_their_moment=past,
        oldest_at=moment(min((message.sent_at_ms for message in unread), default=None)),
        next_expiry_at=moment(min((message.ref.expires_at_ms for message in unread), default=None)),
    )


def _push_urls(facts: UserFacts, unread: list[MessageRecord]) -> list[PushUrlRow]:
    rows = []
    by_push_url: dict[str, list[int]] = {}
    for message in unread:
        by_push_url.setdefault(message.push_url, []).append(message.size)
    for record in facts.push_urls:
        sizes = by_push_url.get(record.id, [])
        bound = record.vapid_key is not None
        created_at = rfc3339(record.created_at_ms)
        rows.append(
            PushUrlRow(record.id, record.site, record.number, created_at, record.key_id, bound, len(sizes), sum(sizes))
        )
    return rows


def _lease(lease: Judged) -> LeaseReport:
    holder = lease.holder
    return LeaseReport(
        connection=holder.connection,
        device=holder.device,
        server=holder.server,
        generation=holder.generation,
        state=lease.state,
        server_seen_ms_ago=lease.server_seen_ms_ago,
    )


def _why(
    facts: UserFacts,
    index: IndexFacts,
    leases: list[Judged],
    unread: list[MessageRecord],
    log: LogReport,
    config: Config,
) -> list[str]:
    """What is not as one would expect, in words."""
    why = []
    if not facts.devices:
        why.append("there is no device: what arrives waits for one to log in")
    if not log.whole:
        why.append("the log's newest entry is not the one its meta names: whoever is behind gets a snapshot")
    for lease in leases:
        holder = lease.holder
        if not lease.connected:
            gone = "is dead" if lease.state == "dead" else "has a newer generation"
            why.append(f"a stale lease: {holder.server} {gone}; whoever meets it removes it")
        elif holder.device not in facts.devices:
            why.append(f"a lease on {holder.server} is of device {holder.device}, which was removed")
    if len(unread) >= config.limits.unread_per_user:
        why.append("unread messages are at their limit: the next one evicts an older one")
    past = len(facts.messages) - len(unread)
    if past:
        why.append(f"{many(past, 'message')} past their moment, shown to nobody, wait for gc")
    expiries = [message.ref.expires_at_ms for message in facts.messages]
    if expiries and index.due_ms is None:
        why.append("something expires, and gc's index does not know: its next count of all users finds out")
    if index.due_ms is not None and facts.now_ms - index.due_ms > GC_LATE_MS:
        why.append(f"gc is late: due {ago(facts.now_ms - index.due_ms)}")
    if not index.listed:
        why.append("the list of all users lacks this one: it is not counted")
    if not any(lease.connected for lease in leases) and facts.devices:
        why.append("nobody is connected: no job is written, devices learn what they missed when they come")
    return why
