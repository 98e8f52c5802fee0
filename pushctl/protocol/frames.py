"""Frames of the subprotocol `pushctl.v1` and the objects they share with HTTP bodies (docs/protocol.md, section 4).

Owns: shapes and their encoding. One Struct serves validation, encoding and the OpenAPI document.
Promises: whatever bytes arrive, `decode_client_frame` returns a frame or raises FrameInvalid, nothing else.
Must not know: connections, the registry, time.
"""

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from pushctl.errors import Problem

SUBPROTOCOL = "pushctl.v1"

Urgency = Literal["very-low", "low", "normal", "high"]
URGENCIES: tuple[Urgency, ...] = ("very-low", "low", "normal", "high")
"""In rising order: RFC 8030, section 5.3."""

URGENCY_RANK: dict[str, int] = {name: rank for rank, name in enumerate(URGENCIES)}

MAX_IDS = 500
"""How many message ids one `read` frame or body may name."""

MessageIds = Annotated[list[Annotated[str, Meta(max_length=256)]], Meta(max_length=MAX_IDS)]
CursorText = Annotated[str, Meta(max_length=128)]


class FrameInvalid(Problem):
    """A peer sent something that is no frame of this protocol."""

    close_code = 4502


# --- the objects -----------------------------------------------------------------------------------------------------


class Notification(Struct, frozen=True):
    """What a device shows. At least `title` or `body` is present."""

    title: str | None = None
    body: str | None = None
    icon: str | None = None
    url: str | None = None
    tag: str | None = None


class EncryptionHeaders(Struct, frozen=True):
    """The headers that `aesgcm` needs beside the ciphertext."""

    encryption: str | None = None
    crypto_key: str | None = None


class Message(Struct, frozen=True):
    id: str
    push_url: str
    site: str
    sent_at: str
    expires_at: str
    urgency: Urgency
    topic: str | None
    notification: Notification | None
    data: str | None
    encoding: str | None
    headers: EncryptionHeaders | None


class PushUrl(Struct, frozen=True):
    id: str
    site: str
    url: str
    icon: str | None
    vapid_key: str | None
    created_at: str


# --- what a client sends ---------------------------------------------------------------------------------------------


class _Frame(Struct, frozen=True, tag_field="type"):
    """Unknown members are ignored: a newer client may say more than we know."""


class Hello(_Frame, frozen=True, tag="hello"):
    token: Annotated[str, Meta(max_length=256)]
    cursor: CursorText | None = None
    min_urgency: Urgency = "very-low"


class Ack(_Frame, frozen=True, tag="ack"):
    cursor: CursorText


class Read(_Frame, frozen=True, tag="read"):
    """Exactly one of `ids` and `upto`."""

    ids: MessageIds | None = None
    upto: CursorText | None = None


class Token(_Frame, frozen=True, tag="token"):
    token: Annotated[str, Meta(max_length=256)]


class Ping(_Frame, frozen=True, tag="ping"):
    pass


class Pong(_Frame, frozen=True, tag="pong"):
    pass


ClientFrame = Hello | Ack | Read | Token | Ping | Pong


# --- what a server sends ---------------------------------------------------------------------------------------------


class Welcome(_Frame, frozen=True, tag="welcome"):
    server: str
    ping_ms: int
    user: str
    device: str


class MessageEvent(_Frame, frozen=True, tag="message"):
    """`cursor` is null for TTL 0 only: such a message is not in the log."""

    cursor: str | None
    message: Message


class ReadEvent(_Frame, frozen=True, tag="read"):
    cursor: str
    ids: list[str]


class PushUrlEvent(_Frame, frozen=True, tag="push_url"):
    cursor: str
    push_url: PushUrl


class RevokedEvent(_Frame, frozen=True, tag="revoked"):
    cursor: str
    id: str


DropReason = Literal["replaced", "cancelled", "evicted"]


class DroppedEvent(_Frame, frozen=True, tag="dropped"):
    cursor: str
    ids: list[str]
    reason: DropReason


Event = MessageEvent | ReadEvent | PushUrlEvent | RevokedEvent | DroppedEvent


class DeltaFrame(Struct, frozen=True):
    """One page of what a device missed, oldest first. The same event objects as live."""

    events: list[Event]
    cursor: str
    done: bool
    type: Literal["sync"] = "sync"
    mode: Literal["delta"] = "delta"


class SnapshotFrame(Struct, frozen=True):
    """One page of all push URLs and unread messages. `cursor` is null in all pages but the last."""

    push_urls: list[PushUrl]
    messages: list[Message]
    cursor: str | None
    done: bool
    min_urgency: Urgency | UnsetType = UNSET
    """Said when a filter left messages out: the device then keeps what is below it."""
    type: Literal["sync"] = "sync"
    mode: Literal["snapshot"] = "snapshot"


class Reconnect(_Frame, frozen=True, tag="reconnect"):
    after_ms: int
    reason: str


class ErrorFrame(_Frame, frozen=True, tag="error"):
    code: str
    detail: str
    retry: bool


ServerFrame = Welcome | Event | DeltaFrame | SnapshotFrame | Reconnect | ErrorFrame | Ping | Pong


# --- in and out ------------------------------------------------------------------------------------------------------

_encoder = msgspec.json.Encoder()
_client_decoder = msgspec.json.Decoder(ClientFrame)

_AT_FIELD = re.compile(r"^(?P<what>.*?)(?: - at `(?P<field>[^`]*)`)?$", re.DOTALL)


def encode(frame: Struct) -> bytes:
    """A frame as the UTF-8 text that travels."""
    return _encoder.encode(frame)


def explain(error: msgspec.ValidationError) -> tuple[str, str]:
    """(what was wrong, JSON path of the field) of a msgspec validation error."""
    match = _AT_FIELD.match(str(error))
    assert match is not None
    return match["what"], match["field"] or "$"


def decode_client_frame(text: str | bytes) -> ClientFrame:
    """The frame a client sent. Raises FrameInvalid that names the field, and nothing else."""
    try:
        frame: ClientFrame = _client_decoder.decode(text)
    except msgspec.ValidationError as error:
        what, field = explain(error)
        raise FrameInvalid(what, field=field) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise FrameInvalid(f"not a JSON object in UTF-8: {error}", field="$") from None
    if isinstance(frame, Read) and (frame.ids is None) == (frame.upto is None):
        raise FrameInvalid("give exactly one of ids and upto", field="$.ids")
    return frame


_SERVER_FRAMES: dict[str, Any] = {
    "welcome": Welcome,
    "message": MessageEvent,
    "read": ReadEvent,
    "push_url": PushUrlEvent,
    "revoked": RevokedEvent,
    "dropped": DroppedEvent,
    "reconnect": Reconnect,
    "error": ErrorFrame,
    "ping": Ping,
    "pong": Pong,
}


class _Kind(Struct, frozen=True):
    type: str
    mode: str | None = None


_kind_decoder = msgspec.json.Decoder(_Kind)
_server_decoders = {name: msgspec.json.Decoder(shape) for name, shape in _SERVER_FRAMES.items()}
_sync_decoders: dict[str | None, msgspec.json.Decoder[Any]] = {
    "delta": msgspec.json.Decoder(DeltaFrame),
    "snapshot": msgspec.json.Decoder(SnapshotFrame),
}


def decode_server_frame(text: str | bytes) -> ServerFrame | None:
    """The frame a server sent; None for a type this client does not know. Raises FrameInvalid."""
    try:
        kind = _kind_decoder.decode(text)
        decoder = _sync_decoders.get(kind.mode) if kind.type == "sync" else _server_decoders.get(kind.type)
        frame: ServerFrame | None = decoder.decode(text) if decoder is not None else None
    except msgspec.ValidationError as error:
        what, field = explain(error)
        raise FrameInvalid(what, field=field) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise FrameInvalid(f"not a JSON object in UTF-8: {error}", field="$") from None
    return frame
