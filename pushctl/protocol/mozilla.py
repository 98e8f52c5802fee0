"""Frames of Mozilla's subprotocol `push-notification`, which Firefox speaks (docs/protocol.md, section 5).

Owns: their shapes and encoding, the order in which a browser may send them, the least time between its pings.
Promises: whatever bytes arrive, `Conversation.hear` returns a frame or raises Violation, nothing else; a channel id
comes back as it was spelled. What is said of a violation is a word of ours, never what the peer sent.
Must not know: connections, the registry, what a UAID or a version means. Time is a parameter.
"""

import math
import re
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from pushctl.errors import Problem
from pushctl.webpush import public_key

SUBPROTOCOL: Final = "push-notification"

MAX_BROADCASTS: Final = 100
"""That one browser listens to."""

MAX_UPDATES: Final = 1000
"""Messages that one ack may name."""

UNEXPECTED: Final = 1011
UNSUPPORTED: Final = 1003
"""Close codes, as autopush chooses them."""

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_UAID = re.compile(r"[0-9a-f]{32}")


class Violation(Problem):
    """A browser broke the protocol: it is closed with `close_with` and `reason`, words that autopush uses."""

    def __init__(self, reason: Literal["Json", "SM", "UnsupportedMessage"], detail: str) -> None:
        super().__init__(detail)
        self.reason = reason

    @property
    def close_with(self) -> int:
        return UNSUPPORTED if self.reason == "UnsupportedMessage" else UNEXPECTED


# --- what a browser sends --------------------------------------------------------------------------------------------

Channel = Annotated[str, Meta(max_length=64)]
Broadcasts = Annotated[
    dict[Annotated[str, Meta(max_length=128)], Annotated[str, Meta(max_length=256)]], Meta(max_length=MAX_BROADCASTS)
]


class _Frame(Struct, frozen=True, tag_field="messageType"):
    """Unknown members are ignored."""


class Hello(_Frame, frozen=True, tag="hello"):
    uaid: str | None = None
    broadcasts: Broadcasts | None = None


class Register(_Frame, frozen=True, tag="register"):
    channel: Channel = field(name="channelID")
    key: str | None = None


class Unregister(_Frame, frozen=True, tag="unregister"):
    channel: Channel = field(name="channelID")
    code: int | None = None


class BroadcastSubscribe(_Frame, frozen=True, tag="broadcast_subscribe"):
    broadcasts: Broadcasts


class Update(Struct, frozen=True):
    """`code`: 100 delivered, 101 could not be decrypted, 102 not delivered: with each the browser is done with it."""

    version: str
    code: int | None = None


class Ack(_Frame, frozen=True, tag="ack"):
    updates: Annotated[list[Update], Meta(max_length=MAX_UPDATES)]


class Nack(_Frame, frozen=True, tag="nack"):
    """The page's handler failed, after the ack: nothing follows from it."""

    version: str
    code: int | None = None


class Ping(_Frame, frozen=True, tag="ping"):
    """Firefox sends `{}`."""


Frame = Hello | Register | Unregister | BroadcastSubscribe | Ack | Nack | Ping


# --- what a server sends ---------------------------------------------------------------------------------------------

Versions = dict[str, str | dict[str, str]]
"""By broadcast id; under `errors` what is wrong with ids that are none."""


class HelloReply(_Frame, frozen=True, tag="hello"):
    uaid: str
    broadcasts: Versions
    status: int = 200
    use_webpush: bool = True


class RegisterReply(_Frame, frozen=True, tag="register"):
    """`endpoint`: the push URL; with status 400 what is wrong with the key."""

    channel: str = field(name="channelID")
    status: int
    endpoint: str = field(name="pushEndpoint")


class UnregisterReply(_Frame, frozen=True, tag="unregister"):
    channel: str = field(name="channelID")
    status: int


class Headers(Struct, frozen=True, omit_defaults=True):
    encoding: str
    encryption: str | None = None
    crypto_key: str | None = None


class Notification(_Frame, frozen=True, tag="notification"):
    """`data`: base64url without padding. A push without a body has neither `data` nor `headers`."""

    channel: str = field(name="channelID")
    version: str
    data: str | UnsetType = UNSET
    headers: Headers | UnsetType = UNSET


class Broadcast(_Frame, frozen=True, tag="broadcast"):
    broadcasts: Versions


Reply = HelloReply | RegisterReply | UnregisterReply | Notification | Broadcast

PONG: Final = b"{}"

_encoder = msgspec.json.Encoder()


def encode(frame: Reply) -> bytes:
    """A frame as the UTF-8 text that travels."""
    return _encoder.encode(frame)


# --- in --------------------------------------------------------------------------------------------------------------


_decoder = msgspec.json.Decoder(Frame)
_any_decoder = msgspec.json.Decoder()


def decode(message: str | bytes) -> Frame:
    """One frame of a browser; `bytes`: it came as a binary one. Raises Violation."""
    if isinstance(message, bytes):
        raise Violation("UnsupportedMessage", "a binary frame")
    try:
        frame: Frame = _decoder.decode(message)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        if _is_ping(message):
            return Ping()
        raise Violation("Json", "no frame of this protocol") from None
    return frame


def _is_ping(message: str) -> bool:
    try:
        return bool(_any_decoder.decode(message) == {})
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False


class Conversation:
    """What a browser has said so far, as far as it decides what it may say next."""

    def __init__(self, *, ping_seconds: float) -> None:
        """`ping_seconds`: least time between two pings of the browser; the first is free."""
        self._ping_seconds = ping_seconds
        self._ping_again_at = -math.inf
        self._greeted = False

    def hear(self, message: str | bytes, now: float) -> Frame:
        """The frame in a message. `now`: seconds of a clock that only goes forward. Raises Violation."""
        frame = decode(message)
        if isinstance(frame, Hello) == self._greeted:
            raise Violation("SM", "hello is said once, first")
        self._greeted = True
        if isinstance(frame, Register | Unregister) and not _UUID.fullmatch(frame.channel):
            raise Violation("SM", "a channel id is a UUID in lower case with hyphens")
        if isinstance(frame, Ping):
            if now < self._ping_again_at:
                raise Violation("SM", "pings too often")
            self._ping_again_at = now + self._ping_seconds
        return frame


def is_uaid(text: str) -> bool:
    """Whether a service like ours can have given this out. What is not counts as none."""
    return _UAID.fullmatch(text) is not None


def parse_key(text: str | None) -> str | None:
    """The VAPID key of a register, as push URLs spell it; None: it has none. Raises ValueError."""
    return public_key.canonical(text) if text else None
