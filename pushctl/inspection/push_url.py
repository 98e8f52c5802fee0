"""`inspect push-url`: whose it is, whether it takes messages, what a sender gets and why, and what waits behind it.

Owns: the shape of the report, whose names docs/operations.md lists. Never the push URL itself, which is a secret.
Must not know: terminals.
"""

from typing import Literal

import msgspec

from pushctl.clock import rfc3339
from pushctl.config.model import Config
from pushctl.inspection.targets import PushUrlTarget
from pushctl.inspection.words import moment, nobody, when
from pushctl.protocol.frames import URGENCIES
from pushctl.registry import Registry
from pushctl.registry.facts import Nobody, PushUrlFacts
from pushctl.registry.records import MessageRecord

SHOWN_MESSAGES = 10
"""The newest; `inspect message USER/SEQ` has more of each."""

PushUrlState = Literal["live", "revoked", "account_deleted", "unknown"]


class WaitingMessage(msgspec.Struct, frozen=True):
    seq: int
    sent_at: str
    expires_at: str
    urgency: str
    topic: str | None
    size_bytes: int
    acknowledged_by: int


class PushUrlEvent(msgspec.Struct, frozen=True):
    seq: int
    kind: str
    at: str


class PushUrlReport(msgspec.Struct, frozen=True):
    at: str
    user: str
    id: str
    state: PushUrlState
    sender_gets: int | None
    number: int | None
    push_urls_made: int | None
    site: str | None
    created_at: str | None
    key_id: str | None
    vapid_bound: bool | None
    icon_bytes: int | None
    devices: int
    unread: int
    max_unread: int
    unread_bytes: int
    max_unread_bytes: int
    rate_left: int | None
    rate_burst: int | None
    user_rate_left: int | None
    user_rate_burst: int | None
    messages: list[WaitingMessage]
    events: list[PushUrlEvent]
    events_looked_through: int
    why: list[str]


async def inspect_push_url(registry: Registry, config: Config, target: PushUrlTarget) -> PushUrlReport:
    """A push URL that is not live has a report, too: it says what senders get. Raises StoreUnavailable."""
    facts = await registry.inspection.push_url(target.user, target.push_url)
    if isinstance(facts, Nobody):
        return _of_nobody(config, target, facts)
    state, sender_gets, reason = _judged(facts, target)
    record = facts.record
    unread = [message for message in facts.messages if message.ref.expires_at_ms > facts.now_ms]
    return PushUrlReport(
        at=rfc3339(facts.now_ms),
        user=target.user,
        id=target.push_url,
        state=state,
        sender_gets=sender_gets,
        number=record.number if record else target.number,
        push_urls_made=facts.push_urls_made,
        site=record.site if record else None,
        created_at=moment(record.created_at_ms if record else None),
        key_id=record.key_id if record else None,
        vapid_bound=record.vapid_key is not None if record else None,
        icon_bytes=facts.icon_bytes if record else None,
        devices=len(facts.devices),
        unread=facts.unread - (len(facts.messages) - len(unread)),
        max_unread=config.limits.unread_per_push_url,
        unread_bytes=sum(message.size for message in unread),
        max_unread_bytes=config.limits.unread_bytes_per_push_url,
        rate_left=facts.rate.left if facts.rate else None,
        rate_burst=facts.rate.burst if facts.rate else None,
        user_rate_left=facts.user_rate.left if facts.user_rate else None,
        user_rate_burst=facts.user_rate.burst if facts.user_rate else None,
        messages=[_waiting(message, facts) for message in unread[:SHOWN_MESSAGES]],
        events=[
            PushUrlEvent(seq, "revoked" if kind == "x" else "push_url", rfc3339(at)) for seq, kind, at in facts.events
        ],
        events_looked_through=facts.looked,
        why=[reason, *_more(facts, target, state, len(unread), config)],
    )


def _of_nobody(config: Config, target: PushUrlTarget, facts: Nobody) -> PushUrlReport:
    deleted = facts.deleted_until_ms is not None
    return PushUrlReport(
        at=rfc3339(facts.now_ms),
        user=target.user,
        id=target.push_url,
        state="account_deleted" if deleted else "unknown",
        sender_gets=410 if deleted else 503,
        number=target.number,
        push_urls_made=None,
        site=None,
        created_at=None,
        key_id=None,
        vapid_bound=None,
        icon_bytes=None,
        devices=0,
        unread=0,
        max_unread=config.limits.unread_per_push_url,
        unread_bytes=0,
        max_unread_bytes=config.limits.unread_bytes_per_push_url,
        rate_left=None,
        rate_burst=None,
        user_rate_left=None,
        user_rate_burst=None,
        messages=[],
        events=[],
        events_looked_through=0,
        why=[str(nobody(target.user, facts))],
    )


def _judged(facts: PushUrlFacts, target: PushUrlTarget) -> tuple[PushUrlState, int | None, str]:
    """(state, what a sender gets, why), as scripts/lib/push_urls.lua judges."""
    record, made = facts.record, facts.push_urls_made
    if facts.life == "live" and record is not None:
        if spent := _spent(facts):
            return "live", 429, spent
        if record.vapid_key is not None:
            return "live", 201, "live: takes what its VAPID key signed, 401 for anything else"
        return "live", 201, "live: a message is stored and answered 201"
    number = target.number if target.number is not None else record.number if record else None
    if number is None:
        why = "the user has no push URL of this id; whether there ever was one, only the push URL itself can tell"
        return "unknown", None, why
    if number <= made:
        return "revoked", 410, f"revoked: its number {number} was given out, the user's counter stands at {made}"
    why = f"its number {number} is above the user's counter, {made}: Redis has lost that it was made; not 410, but 503"
    return "unknown", 503, why


def _spent(facts: PushUrlFacts) -> str:
    """Which rate lets nothing through at the moment, and for how long; the longer one if both do."""
    states = (("its own rate", facts.rate), ("the rate of its user", facts.user_rate))
    wait_ms, whose = max(((state.wait_ms, whose) for whose, state in states if state), default=(0, ""))
    return f"live, but {whose} is used up: there is a turn in {wait_ms / 1000:.3g} s" if wait_ms else ""


def _more(facts: PushUrlFacts, target: PushUrlTarget, state: PushUrlState, unread: int, config: Config) -> list[str]:
    why = []
    if state == "revoked" and unread:
        why.append("its unread messages stay until they are read or expire")
    if state == "revoked" and facts.record is None:
        why.append("the log no longer names it: its site and the moment of its end are forgotten")
    if state == "live" and unread >= config.limits.unread_per_push_url:
        why.append("unread messages are at their limit: the next one evicts its oldest")
    if state == "live" and not facts.devices:
        why.append("the user has no device: what arrives waits for one to log in")
    if unread:
        oldest = min(message.ref.expires_at_ms for message in facts.messages)
        why.append(f"the next of its messages expires {when(oldest - facts.now_ms)}")
    if target.number is None and state == "live":
        why.append("found by its id alone: whether a sender's copy of the push URL opens is not checked")
    return why


def _waiting(message: MessageRecord, facts: PushUrlFacts) -> WaitingMessage:
    seen = sum(
        device.epoch == facts.epoch and device.acked >= message.ref.seq and message.rank >= device.rank
        for device in facts.devices.values()
    )
    return WaitingMessage(
        seq=message.ref.seq,
        sent_at=rfc3339(message.sent_at_ms),
        expires_at=rfc3339(message.ref.expires_at_ms),
        urgency=URGENCIES[message.rank],
        topic=message.topic,
        size_bytes=message.size,
        acknowledged_by=seen,
    )
