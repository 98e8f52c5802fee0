"""Typed identifiers and the two small values everything is ordered by: `Position` and `Cursor`.

Owns: the spelling of ids, positions, cursors and message references.
Promises: parsing accepts exactly what formatting makes, anything else is a ValueError.
Must not know: who stores them, or how ids travel sealed (identity/sealing.py).
"""

import binascii
import re
import secrets
from dataclasses import dataclass
from typing import NewType

UserId = NewType("UserId", str)
DeviceId = NewType("DeviceId", str)
PushUrlId = NewType("PushUrlId", str)
ServerId = NewType("ServerId", str)
ConnectionId = NewType("ConnectionId", str)
SessionHash = NewType("SessionHash", str)

ID_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,128}")

LARGEST_SEQ = 2**53 - 1
"""Sequence numbers are added up in Lua, whose numbers are doubles."""

LARGEST_TAG = 2**64 - 1
"""A tag is the second half of a Redis stream id: 64 bits."""


def new_id(octets: int = 9) -> str:
    """A fresh random id of `octets` bytes, as base64url without padding. Never with a dash in front, which a command
    line would take for an option."""
    while (drawn := b64url(secrets.token_bytes(octets))).startswith("-"):
        pass
    return drawn


def new_tag() -> int:
    """A fresh random tag. Never 0: that is the tag of the empty log."""
    return secrets.randbits(64) or 1


_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_+/", b"+/**")
"""What is not of the alphabet becomes what no alphabet has."""


def b64url(raw: bytes) -> str:
    """base64url without padding (RFC 4648 s.5)."""
    return binascii.b2a_base64(raw, newline=False).translate(_TO_URL).rstrip(b"=").decode()


def unb64url(text: str) -> bytes:
    """The bytes of an unpadded base64url text.

    Raises ValueError unless `text` is their one spelling: no padding, no foreign characters, no stray bits.
    """
    quads = text.encode("ascii").translate(_FROM_URL)
    if not len(quads) % 4:
        if quads.endswith(b"="):
            raise ValueError("not canonical base64url")
        return binascii.a2b_base64(quads, strict_mode=True)
    raw = binascii.a2b_base64(quads + b"=" * (-len(quads) % 4), strict_mode=True)
    if b64url(raw) != text:
        raise ValueError("not canonical base64url")
    return raw


@dataclass(frozen=True, slots=True)
class Position:
    """A place in one user's event log: sequence number and the random tag of the append that made it.

    Sequence numbers alone could repeat after a failover that lost the newest writes; with the tag they cannot be
    mistaken for each other.
    """

    seq: int
    tag: int

    @classmethod
    def parse(cls, text: str) -> "Position":
        """From `<seq>-<tag>`, both decimal: the id of an entry in the Redis stream."""
        seq, _, tag = text.partition("-")
        return cls(int(seq), int(tag))

    def __str__(self) -> str:
        return f"{self.seq}-{self.tag}"


START = Position(0, 0)
"""Before the first event of an epoch."""

_CURSOR = re.compile(r"([0-9a-f]{16})-([0-9]{1,16})-([0-9a-f]{16})")


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a device has come: a position within one epoch of its user's log. Opaque to clients."""

    epoch: str
    position: Position

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        match = _CURSOR.fullmatch(text)
        if match is None:
            raise ValueError("not a cursor")
        seq = int(match[2])
        if seq > LARGEST_SEQ or str(seq) != match[2]:
            raise ValueError("not a cursor")
        return cls(match[1], Position(seq, int(match[3], 16)))

    def __str__(self) -> str:
        return f"{self.epoch}-{self.position.seq}-{self.position.tag:016x}"


def new_epoch() -> str:
    return secrets.token_hex(8)


@dataclass(frozen=True, slots=True)
class MessageRef:
    """What a message id says when it is opened, and what the registry keeps instead of the id.

    The key that sealed the id first and the expiry stand in the reference, so that the id never changes while sealing
    keys rotate, and `expired` can be answered from the id alone.
    """

    seq: int
    tag: int
    key_id: str
    expires_at_ms: int

    @classmethod
    def parse(cls, text: str) -> "MessageRef":
        """From `<seq>:<tag>:<key id>:<expires_at_ms>`, as the registry's scripts spell it."""
        seq, tag, key_id, expires_at_ms = text.split(":")
        return cls(int(seq), int(tag), key_id, int(expires_at_ms))

    def __str__(self) -> str:
        return f"{self.seq}:{self.tag}:{self.key_id}:{self.expires_at_ms}"
