"""Bodies of the client API: what a client sends and what it is answered (docs/protocol.md, section 1).

Owns: their shapes. One Struct serves validation, encoding and the OpenAPI document.
Promises: in what is sent, unknown members are refused and null or a default may be left out; in answers every field
is present.
Must not know: where the values come from.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from pushctl.protocol.frames import CursorText, Event, Message, MessageIds, PushUrl
from roles.api.checks import (
    MAX_CREDENTIAL_CHARACTERS,
    MAX_DEVICE_NAME_CHARACTERS,
    MAX_ICON_DATA_CHARACTERS,
    MAX_SITE_CHARACTERS,
)

# --- what a client sends ---------------------------------------------------------------------------------------------


class DeviceIn(Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=MAX_DEVICE_NAME_CHARACTERS)]
    id: Annotated[str, Meta(max_length=128)] | None = None
    """A device of this user that logs in again; null: a new one."""


class LoginIn(Struct, frozen=True, forbid_unknown_fields=True):
    device: DeviceIn
    provider: Annotated[str, Meta(max_length=128)] | None = None


class IdentityIn(Struct, frozen=True, forbid_unknown_fields=True):
    """`credential`: of a log-in of its own at the second identity's provider, spelled as the `Authorization` of POST
    /v1/login."""

    credential: Annotated[str, Meta(min_length=1, max_length=MAX_CREDENTIAL_CHARACTERS)]
    provider: Annotated[str, Meta(max_length=128)] | None = None


class PushUrlIn(Struct, frozen=True, forbid_unknown_fields=True):
    site: Annotated[str, Meta(min_length=1, max_length=MAX_SITE_CHARACTERS)]
    icon: Annotated[str, Meta(max_length=MAX_ICON_DATA_CHARACTERS)] | None = None
    vapid_key: Annotated[str, Meta(max_length=128)] | None = None


class ReadIn(Struct, frozen=True, forbid_unknown_fields=True):
    """Exactly one of `ids` and `upto`."""

    ids: MessageIds | None = None
    upto: CursorText | None = None


# --- what it is answered ---------------------------------------------------------------------------------------------


class DeviceRef(Struct, frozen=True):
    id: str
    name: str


class LoginOut(Struct, frozen=True):
    token: str
    user: str
    device: DeviceRef
    expires_at: str


class DeviceOut(Struct, frozen=True):
    id: str
    name: str
    created_at: str
    last_seen_at: str
    connected: bool
    current: bool


class DevicesOut(Struct, frozen=True):
    devices: list[DeviceOut]


class IdentityOut(Struct, frozen=True):
    """Who it is at its provider is stored nowhere. `current`: this session's device logged in with it."""

    id: str
    provider: str
    linked_at: str
    last_used_at: str
    current: bool


class IdentitiesOut(Struct, frozen=True):
    identities: list[IdentityOut]


class PushUrlsOut(Struct, frozen=True):
    push_urls: list[PushUrl]


class MessagesOut(Struct, frozen=True):
    messages: list[Message]
    next: str | None


class ReadOut(Struct, frozen=True):
    read: int


class DeltaOut(Struct, frozen=True):
    """The events a device missed, oldest first: the objects of the live frames."""

    mode: Literal["delta"]
    events: list[Event]
    cursor: str
    done: bool
    next: str | None


class SnapshotOut(Struct, frozen=True):
    """All push URLs and unread messages, in pages: continuity could not be proved, or there was no cursor."""

    mode: Literal["snapshot"]
    push_urls: list[PushUrl]
    messages: list[Message]
    cursor: str | None
    done: bool
    next: str | None
