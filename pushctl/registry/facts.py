"""What a look finds (inspection.py), as values: one user, message, push URL or socket server in full.

Owns: their shapes. All moments are Redis time in ms, plus `shift_ms`. Must not know: what they mean.
"""

from typing import Literal

import msgspec

from pushctl.ids import DeviceId
from pushctl.registry.messages import State
from pushctl.registry.presence import Holder
from pushctl.registry.rates import RateState
from pushctl.registry.records import MessageRecord, PushUrlRecord
from pushctl.registry.servers import Row
from pushctl.registry.users import Device

Life = Literal["live", "revoked", ""]
Devices = dict[DeviceId, Device]


class Nobody(msgspec.Struct, frozen=True):
    """No such user now. `deleted_until_ms`: of the tombstone; without one nobody can say whether there ever was.
    `keys_left`: of the user, without the one that makes a user."""

    now_ms: int
    deleted_until_ms: int | None
    keys_left: int


class LogFacts(msgspec.Struct, frozen=True):
    """`first`, `last`: (seq, tag, at ms); None when it is empty. `bytes`: None where Redis does not say."""

    entries: int
    first: tuple[int, int, int] | None
    last: tuple[int, int, int] | None
    bytes: int | None


class UserFacts(msgspec.Struct, frozen=True):
    now_ms: int
    epoch: str
    seq: int
    tag: int
    floor: int
    created_ms: int
    push_urls_made: int
    devices: Devices
    leases: list[Holder]
    leases_last_ms: int
    push_urls: list[PushUrlRecord]
    messages: list[MessageRecord]
    """Without bodies, newest first; those past their moment, too."""
    unread: int
    log: LogFacts
    stubs: int
    ghosts: int
    bytes: int | None


class IndexFacts(msgspec.Struct, frozen=True):
    """What gc knows of a user. `idle`: it found nothing at its last visit and looks once more."""

    due_ms: int | None
    idle: bool
    listed: bool


class MessageFacts(msgspec.Struct, frozen=True):
    """`message`: without body, while Redis has it. `entry`: (kind, at ms) of the log's entry of this number and tag."""

    now_ms: int
    epoch: str
    last_seq: int
    floor: int
    state: State | Literal["none"]
    state_ms: int | None
    seq: int
    tag: int | None
    expires_ms: int | None
    message: MessageRecord | None
    entry: tuple[str, int] | None
    push_url: PushUrlRecord | None
    life: Life
    devices: Devices
    leases: list[Holder]


class PushUrlFacts(msgspec.Struct, frozen=True):
    """`events`: (seq, kind, at ms) of entries that name it, newest first, among the newest `looked` of the log. A
    rate is None where there is no limit."""

    now_ms: int
    epoch: str
    push_urls_made: int
    life: Life
    record: PushUrlRecord | None
    icon_bytes: int
    messages: list[MessageRecord]
    unread: int
    events: list[tuple[int, str, int]]
    looked: int
    log_entries: int
    devices: Devices
    rate: RateState | None
    user_rate: RateState | None


class ServerFacts(msgspec.Struct, frozen=True):
    """`judges`: (name, when it last asked, since when it was watching without a gap), in ms."""

    now_ms: int
    seen_ms: int | None
    row: Row | None
    newest_generation: int | None
    judges: list[tuple[str, int, int]]
