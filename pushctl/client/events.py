"""What a device tells whoever watches it: one Struct per event, and its JSON line.

Owns: the documented names of `pushctl client listen --json` and `sync --json` (docs/protocol.md, section 6).
Promises: every field is present in every line, null when there is nothing to say.
Must not know: terminals, sockets, the store.
"""

from typing import Literal

import msgspec
from msgspec import Struct

from pushctl.clock import parse_rfc3339, rfc3339
from pushctl.protocol.frames import Message

Gone = Literal["replaced", "cancelled", "evicted", "gone"]
"""Why a message is dropped. `gone`: not in a snapshot any more (read or expired while this device was away)."""


class _Event(Struct, frozen=True, tag_field="event"):
    pass


class Connected(_Event, frozen=True, tag="connected"):
    """A socket server said welcome; `server` is its URL, `id` its name."""

    server: str
    id: str
    user: str
    device: str


class Disconnected(_Event, frozen=True, tag="disconnected"):
    """The connection is over. `code` null: without a close code. `next`: what this client does now.

    `after_ms`: how long it waits before it does so; null when it stops.
    """

    server: str
    code: int | None
    reason: str
    next: Literal["box_office", "server", "login", "stop"]
    after_ms: int | None


class Retrying(_Event, frozen=True, tag="retrying"):
    """The Box Office or a server did not take us, for `reason`; the next try comes after `after_ms`."""

    reason: str
    after_ms: int


class MessageEvent(_Event, frozen=True, tag="message"):
    """A message this device did not have. `icon`: the notification's, else the one of its push URL.

    `live`: it came as it was sent, not as something missed while away; `latency_ms` (sent to received, by two clocks)
    is null otherwise. `cursor` is null for TTL 0. `encoding`: it came encrypted; what this device has
    no keys for (`pushctl client allow --web-push`) is in `data`, and `title` and `body` are null.
    """

    id: str
    push_url: str
    site: str
    title: str | None
    body: str | None
    icon: str | None
    url: str | None
    tag: str | None
    urgency: str
    topic: str | None
    data: str | None
    encoding: str | None
    sent_at: str
    expires_at: str
    received_at: str
    latency_ms: int | None
    live: bool
    cursor: str | None


class ReadEvent(_Event, frozen=True, tag="read"):
    """Read on some device of the user, perhaps this one. Only messages this device had."""

    ids: list[str]


class PushUrlEvent(_Event, frozen=True, tag="push_url"):
    """A push URL is new, or has another icon."""

    id: str
    site: str
    url: str
    icon: str | None


class RevokedEvent(_Event, frozen=True, tag="revoked"):
    """`site` is null if this device never knew the push URL."""

    id: str
    site: str | None


class DroppedEvent(_Event, frozen=True, tag="dropped"):
    """Taken away unread. Only messages this device had."""

    ids: list[str]
    reason: Gone


class SyncEvent(_Event, frozen=True, tag="sync"):
    """All that was missed has been said; what follows is live.

    A delta counts `events`, a snapshot `push_urls` and `messages`; the others are null.
    """

    mode: Literal["delta", "snapshot"]
    events: int | None
    push_urls: int | None
    messages: int | None
    cursor: str


Event = (
    Connected
    | Disconnected
    | Retrying
    | MessageEvent
    | ReadEvent
    | PushUrlEvent
    | RevokedEvent
    | DroppedEvent
    | SyncEvent
)


def message_event(
    message: Message, *, push_url_icon: str | None, received_at_ms: int, live: bool, cursor: str | None
) -> MessageEvent:
    """A message as it is told. ValueError if `sent_at` is no moment."""
    shown = message.notification
    return MessageEvent(
        id=message.id,
        push_url=message.push_url,
        site=message.site,
        title=shown.title if shown else None,
        body=shown.body if shown else None,
        icon=(shown.icon if shown else None) or push_url_icon,
        url=shown.url if shown else None,
        tag=shown.tag if shown else None,
        urgency=message.urgency,
        topic=message.topic,
        data=message.data,
        encoding=message.encoding,
        sent_at=message.sent_at,
        expires_at=message.expires_at,
        received_at=rfc3339(received_at_ms),
        latency_ms=received_at_ms - parse_rfc3339(message.sent_at) if live else None,
        live=live,
        cursor=cursor,
    )


class StoredEvent(Struct, frozen=True):
    """A line of `pushctl client messages --json`: the fields of a "message" event that last."""

    id: str
    push_url: str
    site: str
    title: str | None
    body: str | None
    icon: str | None
    url: str | None
    tag: str | None
    urgency: str
    topic: str | None
    data: str | None
    encoding: str | None
    sent_at: str
    expires_at: str
    received_at: str
    read: bool


def stored_event(message: Message, *, icon: str | None, received_at_ms: int, read: bool) -> StoredEvent:
    told = message_event(message, push_url_icon=icon, received_at_ms=received_at_ms, live=False, cursor=None)
    shared = {name: getattr(told, name) for name in StoredEvent.__struct_fields__ if name != "read"}
    return StoredEvent(**shared, read=read)


def json_line(event: Struct) -> str:
    """One line, without its end."""
    return msgspec.json.encode(event).decode()
