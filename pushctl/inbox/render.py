"""From what the registry keeps to what devices are told: ids sealed, push URLs absolute, moments spelled out.

Owns: the one way from records to frames; live frames, deltas, snapshots and HTTP answers all come from here, so they
cannot differ. Must not know: where records come from or frames go.
"""

import msgspec

from pushctl.clock import rfc3339
from pushctl.identity.sealing import PushAddress, Sealer
from pushctl.ids import Cursor, MessageRef, UserId, b64url
from pushctl.protocol import frames, mozilla
from pushctl.registry.browsers import channel_of
from pushctl.registry.messages import Delta, Snapshot
from pushctl.registry.records import (
    DroppedEntry,
    Entry,
    MessageEntry,
    MessageRecord,
    PushUrlEntry,
    PushUrlRecord,
    ReadEntry,
)


class Content(msgspec.Struct, frozen=True, array_like=True):
    """A message's body at rest: what the registry keeps and never looks into."""

    notification: frames.Notification | None
    data: bytes | None
    encoding: str | None
    headers: frames.EncryptionHeaders | None
    trace: bytes | None = None
    """If it is followed (pushctl/traces): what its deliveries follow or, later, link to. No device is told."""


_content_decoder = msgspec.msgpack.Decoder(Content)
_event_decoder = msgspec.json.Decoder(frames.MessageEvent)


class Renderer:
    def __init__(self, sealer: Sealer, public_url: str) -> None:
        """`public_url`: the origin that push URLs begin with, without a slash at the end."""
        self._sealer = sealer
        self._public_url = public_url

    def message_id(self, user: UserId, ref: MessageRef) -> str:
        return self._sealer.seal_message_id(user, ref)

    def message(self, user: UserId, record: MessageRecord) -> frames.Message:
        content = _content_decoder.decode(record.body)
        return frames.Message(
            id=self.message_id(user, record.ref),
            push_url=record.push_url,
            site=record.site,
            sent_at=rfc3339(record.sent_at_ms),
            expires_at=rfc3339(record.ref.expires_at_ms),
            urgency=frames.URGENCIES[record.rank],
            topic=record.topic,
            notification=content.notification,
            data=None if content.data is None else b64url(content.data),
            encoding=content.encoding,
            headers=content.headers,
        )

    def trace(self, record: MessageRecord) -> bytes:
        """Its context, if it is followed; see pushctl/traces."""
        return _content_decoder.decode(record.body).trace or b""

    def notification(self, user: UserId, record: MessageRecord) -> mozilla.Notification:
        """A message as a browser gets it; the channel is what stands in its site."""
        content = _content_decoder.decode(record.body)
        return _notification(
            record.site,
            self.message_id(user, record.ref),
            None if content.data is None else b64url(content.data),
            content.encoding,
            content.headers,
        )

    def push_url(self, user: UserId, record: PushUrlRecord) -> frames.PushUrl:
        token = self._sealer.seal_push_url(PushAddress(user, record.id, record.number), record.key_id)
        return frames.PushUrl(
            id=record.id,
            site=record.site,
            url=f"{self._public_url}/push/{token}",
            icon=record.icon,
            vapid_key=record.vapid_key,
            created_at=rfc3339(record.created_at_ms),
        )

    def event(self, user: UserId, epoch: str, entry: Entry) -> frames.Event:
        cursor = str(Cursor(epoch, entry.position))
        if isinstance(entry, MessageEntry):
            return frames.MessageEvent(cursor, self.message(user, entry.message))
        if isinstance(entry, ReadEntry):
            return frames.ReadEvent(cursor, [self.message_id(user, ref) for ref in entry.refs])
        if isinstance(entry, DroppedEntry):
            return frames.DroppedEvent(cursor, [self.message_id(user, ref) for ref in entry.refs], entry.reason)
        if isinstance(entry, PushUrlEntry):
            return frames.PushUrlEvent(cursor, self.push_url(user, entry.push_url))
        return frames.RevokedEvent(cursor, entry.push_url)

    def page(self, user: UserId, page: Delta | Snapshot, min_rank: int = 0) -> frames.DeltaFrame | frames.SnapshotFrame:
        """One page of a sync as its frame."""
        if isinstance(page, Delta):
            events = [self.event(user, page.cursor.epoch, entry) for entry in page.entries]
            return frames.DeltaFrame(events, str(page.cursor), page.done)
        return frames.SnapshotFrame(
            [self.push_url(user, record) for record in page.push_urls],
            [self.message(user, record) for record in page.messages],
            str(page.next.pin) if page.done else None,
            page.done,
            frames.URGENCIES[min_rank] if min_rank else msgspec.UNSET,
        )


def notification_of_event(frame: bytes) -> mozilla.Notification:
    """From the frame that other devices would get."""
    message = _event_decoder.decode(frame).message
    return _notification(message.site, message.id, message.data, message.encoding, message.headers)


def _notification(
    site: str, message_id: str, data: str | None, encoding: str | None, headers: frames.EncryptionHeaders | None
) -> mozilla.Notification:
    channel = channel_of(site) or site
    if data is None or encoding is None:
        return mozilla.Notification(channel, message_id)
    more = headers or frames.EncryptionHeaders()
    return mozilla.Notification(channel, message_id, data, mozilla.Headers(encoding, more.encryption, more.crypto_key))
