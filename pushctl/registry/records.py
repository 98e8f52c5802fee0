"""What the scripts hand out, as values: messages, push URLs, entries of the event log, identities.

Owns: parsing of records as scripts/lib/*.lua spells them. Must not know: frames, sealed ids, where records are kept.
"""

from collections.abc import Sequence
from typing import Any, Literal, cast

import msgspec

from pushctl.ids import MessageRef, Position, PushUrlId

DropReason = Literal["replaced", "cancelled", "evicted"]


class MessageRecord(msgspec.Struct, frozen=True):
    """A message at rest. `body` is what the api stored, opaque here; `rank` the urgency, 0 (very-low) to 3 (high);
    `size` what the body counts for, also where it was left out."""

    ref: MessageRef
    rank: int
    push_url: PushUrlId
    sent_at_ms: int
    topic: str | None
    site: str
    body: bytes
    size: int = 0

    @classmethod
    def parse(cls, seq: bytes, record: bytes) -> "MessageRecord":
        head, _, body = record.partition(b"\n")
        tag, key_id, expires, rank, push_url, sent, size, topic, site = head.decode().split(" ")
        return cls(
            MessageRef(int(seq), int(tag), key_id, int(expires)),
            int(rank),
            PushUrlId(push_url),
            int(sent),
            topic[1:] or None,
            site,
            body,
            int(size),
        )


class PushUrlRecord(msgspec.Struct, frozen=True):
    """A push URL at rest. `key_id`: of the key that sealed it, so that its text never changes."""

    id: PushUrlId
    number: int
    created_at_ms: int
    key_id: str
    site: str
    vapid_key: str | None
    icon: str | None

    @classmethod
    def parse(cls, push_url: bytes, record: bytes) -> "PushUrlRecord":
        head, _, icon = record.partition(b"\n")
        number, created, key_id, site, vapid = head.decode().split(" ")
        return cls(
            PushUrlId(push_url.decode()),
            int(number),
            int(created),
            key_id,
            site,
            None if vapid == "-" else vapid,
            icon.decode() or None,
        )


class MessageEntry(msgspec.Struct, frozen=True):
    position: Position
    message: MessageRecord


class ReadEntry(msgspec.Struct, frozen=True):
    position: Position
    refs: list[MessageRef]


class DroppedEntry(msgspec.Struct, frozen=True):
    position: Position
    reason: DropReason
    refs: list[MessageRef]


class PushUrlEntry(msgspec.Struct, frozen=True):
    position: Position
    push_url: PushUrlRecord


class RevokedEntry(msgspec.Struct, frozen=True):
    position: Position
    push_url: PushUrlId


Entry = MessageEntry | ReadEntry | DroppedEntry | PushUrlEntry | RevokedEntry


def _refs(raw: bytes) -> list[MessageRef]:
    return [MessageRef.parse(ref) for ref in raw.decode().split(" ")]


def parse_entry(raw: Sequence[bytes]) -> Entry:
    """From {seq, tag, kind, ...} of a script."""
    position = Position(int(raw[0]), int(raw[1]))
    match raw[2]:
        case b"m":
            return MessageEntry(position, MessageRecord.parse(raw[0], raw[3]))
        case b"r":
            return ReadEntry(position, _refs(raw[3]))
        case b"d":
            return DroppedEntry(position, cast(DropReason, raw[3].decode()), _refs(raw[4]))
        case b"p":
            return PushUrlEntry(position, PushUrlRecord.parse(raw[3], raw[4]))
        case b"x":
            return RevokedEntry(position, PushUrlId(raw[3].decode()))
        case kind:
            raise ValueError(f"a log entry of kind {kind!r}: written by a newer version?")


def held_by(leases: Sequence[bytes]) -> list[str]:
    """The servers of some leases, '<server> <generation>' each, once."""
    return sorted({lease.rpartition(b" ")[0].decode() for lease in leases})


class Change(msgspec.Struct, frozen=True):
    """What one script appended to a user's log, right after `previous`; `held`: by whom the user's devices were held at
    that moment, '<server> <generation>' each."""

    epoch: str
    previous: Position
    held: list[str]
    entries: list[Entry]

    @classmethod
    def parse(cls, raw: Sequence[Any]) -> "Change":
        epoch, seq, tag, leases, entries = raw
        return cls(
            epoch.decode(), Position(int(seq), int(tag)), held_by(leases), [parse_entry(entry) for entry in entries]
        )

    @property
    def last(self) -> Position:
        return self.entries[-1].position if self.entries else self.previous


class IdentityRecord(msgspec.Struct, frozen=True):
    """An identity of a user's at rest. Times in ms; `generation`: the largest its provider told, -1 for none;
    `pending`: its link is not finished, and counts for nothing yet; `made`: the user's id is its own."""

    id: str
    provider: str
    linked: int
    used: int
    generation: int
    pending: bool
    made: bool


_identity_decoder = msgspec.msgpack.Decoder(IdentityRecord)


def parse_identity(raw: bytes) -> IdentityRecord:
    return _identity_decoder.decode(raw)


def linked_identities(flat: Sequence[bytes]) -> dict[str, IdentityRecord]:
    """Of a user's list: by entry in the index, without those that are pending."""
    found = {entry.decode(): parse_identity(raw) for entry, raw in zip(flat[::2], flat[1::2], strict=True)}
    return {entry: identity for entry, identity in found.items() if not identity.pending}
