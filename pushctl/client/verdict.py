"""What became of the messages of one user of a swarm: what its devices lack of what the service still holds unread.

Owns: telling lost from late.
Promises: a message is called lost only if the service held it unread before and after the device was given a chance to
sync from its own cursor, and the device neither has it nor would get it. What a sync would bring is `behind`. Messages
that are read, replaced or expire meanwhile are neither.
Must not know: sockets, other users.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pushctl.client.api import Api
from pushctl.client.member import Member
from pushctl.clock import Clock, parse_rfc3339
from pushctl.protocol import frames
from pushctl.protocol.frames import URGENCY_RANK, Message, Urgency

EXPIRY_MARGIN_MS = 5_000
"""A message this near to its end may be gone for one of the looks and not for the other."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Counted once for each device that lacks the message."""

    lost: int
    behind: int


async def unread_ids(api: Api, token: str, min_urgency: Urgency, clock: Clock) -> set[str]:
    """What the service holds unread, that devices with this filter are told of, and that will not expire just now."""
    least, latest = URGENCY_RANK[min_urgency], clock() + EXPIRY_MARGIN_MS
    unread = await api.unread(token)
    return {m.id for m in unread if URGENCY_RANK[m.urgency] >= least and parse_rfc3339(m.expires_at) > latest}


def lacking(members: Sequence[Member], ids: set[str]) -> bool:
    """Whether a device that ever was up to date has not got all of these."""
    return any(member.has_arrived and not all(map(member.ledger.has, ids)) for member in members)


async def judge(api: Api, members: Sequence[Member], before: set[str], min_urgency: Urgency, clock: Clock) -> Verdict:
    """`before`: what was unread when it was noticed that a device lacks something."""
    coming = [await _still_to_come(api, member) if member.has_arrived else None for member in members]
    unread = before & await unread_ids(api, members[0].token, min_urgency, clock)
    lost = behind = 0
    for member, to_come in zip(members, coming, strict=True):
        if to_come is not None:
            lacks = {message_id for message_id in unread if not member.ledger.has(message_id)}
            lost += len(lacks - to_come)
            behind += len(lacks & to_come)
    return Verdict(lost, behind)


async def _still_to_come(api: Api, member: Member) -> set[str]:
    """The messages that this device would be given if it synced now, from where it is."""
    found: set[str] = set()
    cursor, next_page = member.ledger.cursor, None
    while True:
        page, next_page = await api.sync(member.token, cursor, next_page)
        found.update(message.id for message in _messages(page))
        if page.done:
            return found


def _messages(page: frames.DeltaFrame | frames.SnapshotFrame) -> list[Message]:
    if isinstance(page, frames.SnapshotFrame):
        return page.messages
    return [event.message for event in page.events if isinstance(event, frames.MessageEvent)]
