"""`inspect message`: what became of a message, and what each device knows of it. Never what it says.

Owns: the shape of the report, whose names docs/operations.md lists. Must not know: terminals.
"""

from typing import Literal

import msgspec

from pushctl.clock import rfc3339
from pushctl.errors import Failed
from pushctl.ids import DeviceId
from pushctl.inspection.devices import Judged, LogPlace, Standing, judge, server_of, standing, where
from pushctl.inspection.targets import MessageTarget
from pushctl.inspection.words import ago, many, moment, nobody, when
from pushctl.protocol.frames import URGENCIES
from pushctl.registry import Registry
from pushctl.registry.facts import MessageFacts, Nobody
from pushctl.registry.users import Device

Status = Literal["acknowledged", "waiting", "filtered", "snapshot"]


class MessageDevice(msgspec.Struct, frozen=True):
    id: str
    name: str
    status: Status
    position: int | None
    position_at: str | None
    behind_events: int | None
    min_urgency: str
    server: str | None
    why: str


class MessageReport(msgspec.Struct, frozen=True):
    at: str
    user: str
    seq: int
    state: str
    state_at: str | None
    expires_at: str | None
    expires_in_ms: int | None
    sent_at: str | None
    urgency: str | None
    topic: str | None
    size_bytes: int | None
    site: str | None
    push_url: str | None
    push_url_state: str | None
    key_id: str | None
    in_log: bool
    log_last_seq: int
    devices: list[MessageDevice]
    why: list[str]


async def inspect_message(registry: Registry, target: MessageTarget) -> MessageReport:
    """Raises Failed when nothing is known of it (any more), with what is known; StoreUnavailable."""
    if target.seq == 0:
        raise Failed(f"a TTL 0 message of user {target.user}: never stored; senders are told that it has expired")
    facts = await registry.inspection.message(target.user, target.seq, target.tag, target.expires_ms)
    if isinstance(facts, Nobody):
        raise nobody(target.user, facts)
    if facts.state == "none":
        raise _unknown(facts, target)
    servers = await registry.servers.picture("")
    leases = [judge(holder, servers) for holder in facts.leases]
    # Numbers alone say nothing across epochs: only what stands in this log is held against what devices acknowledged.
    proven = facts.message is not None or facts.entry is not None or facts.state != "expired"
    devices = [_device(id_, device, facts, leases) for id_, device in facts.devices.items()] if proven else []
    message = facts.message
    return MessageReport(
        at=rfc3339(facts.now_ms),
        user=target.user,
        seq=facts.seq,
        state=facts.state,
        state_at=moment(facts.state_ms),
        expires_at=moment(facts.expires_ms),
        expires_in_ms=None if facts.expires_ms is None else facts.expires_ms - facts.now_ms,
        sent_at=moment(message.sent_at_ms if message else facts.entry[1] if facts.entry else None),
        urgency=URGENCIES[message.rank] if message else None,
        topic=message.topic if message else None,
        size_bytes=message.size if message else None,
        site=message.site if message else None,
        push_url=message.push_url if message else None,
        push_url_state=(facts.life or "unknown") if message else None,
        key_id=message.ref.key_id if message else None,
        in_log=facts.entry is not None,
        log_last_seq=facts.last_seq,
        devices=devices,
        why=_why(facts, devices),
    )


def _unknown(facts: MessageFacts, target: MessageTarget) -> Failed:
    here = f"message {target.seq} of user {target.user}"
    if target.seq > facts.last_seq:
        lost = "Redis has lost it" if target.tag is not None else "it is not written yet"
        return Failed(f"{here}: its number is above the end of the log, {facts.last_seq}: {lost}; senders get 404")
    if facts.entry is not None and facts.entry[0] != "m":
        kinds = {"r": "a read mark", "d": "a drop", "p": "a push URL", "x": "a revocation"}
        kind = kinds.get(facts.entry[0], "something else")
        return Failed(f"{here}: entry {target.seq} of the log is {kind}, not a message")
    expires = f"; it expires {when(target.expires_ms - facts.now_ms)}" if target.expires_ms is not None else ""
    return Failed(f"{here}: no longer unread, and how it ended is not known any more; senders get 404{expires}")


def _device(id_: DeviceId, device: Device, facts: MessageFacts, leases: list[Judged]) -> MessageDevice:
    at = standing(device, LogPlace(facts.epoch, facts.last_seq, facts.floor, whole=True))
    filtered = facts.message is not None and facts.message.rank < device.rank
    status: Status = "waiting"
    if filtered:
        status = "filtered"
    elif at.reached >= facts.seq:
        status = "acknowledged"
    elif at.next_sync == "snapshot":
        status = "snapshot"
    behind = max(0, facts.seq - at.reached) if at.behind is not None else None
    return MessageDevice(
        id=id_,
        name=device.name,
        status=status,
        position=at.reached or None,
        position_at=rfc3339(device.acked_at) if at.reached else None,
        behind_events=behind,
        min_urgency=URGENCIES[device.rank],
        server=server_of(id_, leases),
        why=f"{device.name}: {_says(status, device, at, behind, facts)}; {where(id_, device, leases, facts.now_ms)}",
    )


def _says(status: Status, device: Device, at: Standing, behind: int | None, facts: MessageFacts) -> str:
    match status:
        case "filtered":
            return f"its filter lets through {URGENCIES[device.rank]} and above"
        case "acknowledged":
            return f"acknowledged up to {at.reached}, {ago(facts.now_ms - device.acked_at)}"
        case "snapshot":
            return f"not acknowledged; a snapshot awaits it: {at.because}"
        case _ if device.is_browser:
            return "not acknowledged: it comes with every connection until it is"
        case _:
            return f"not acknowledged: stands {many(behind or 0, 'event')} before it"


def _why(facts: MessageFacts, devices: list[MessageDevice]) -> list[str]:
    why = [_of_state(facts, devices)]
    if facts.life == "revoked":
        why.append("its push URL was revoked since: the message stays until it is read or expires")
    if facts.state == "expired" and facts.message is not None:
        why.append("gc has not removed it yet; nobody is shown it any more")
    if facts.state != "expired" and facts.entry is None:
        why.append("the log does not reach back to it: devices get it with a snapshot, if it is unread")
    return why


def _of_state(facts: MessageFacts, devices: list[MessageDevice]) -> str:
    since = f"{ago(facts.now_ms - facts.state_ms)}" if facts.state_ms is not None else ""
    match facts.state:
        case "stored" if not devices:
            return "stored, unread: the user has no device"
        case "stored":
            offline = sum(device.server is None for device in devices)
            return f"stored, unread: no device has acknowledged it; {offline} of {len(devices)} are not connected"
        case "delivered" if facts.message is None:
            return f"delivered {since}: the browser it was for acknowledged it, and it went"
        case "delivered":
            names = [device.name for device in devices if device.status == "acknowledged"]
            return f"delivered, unread: acknowledged by {len(names)} of {many(len(devices), 'device')}"
        case "read":
            return f"read {since}: the body went at once, the other devices are told by the log"
        case "replaced":
            return f"replaced {since} by a newer message of its topic"
        case "cancelled":
            return f"cancelled {since} by its sender"
        case "evicted":
            return f"evicted {since}: a quota was full, and it was the oldest that had to go"
        case _:
            return f"expired {since}: its lifetime was over before anybody read it, or it was read before"
