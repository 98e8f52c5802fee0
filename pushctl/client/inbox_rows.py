"""The rows of a device's inbox: how one event, page or snapshot changes them. Always inside a transaction of store.py.

Owns: what each event does to the tables push_urls, messages and position, and what of it is told to who watches.
Promises: doing it again changes nothing. Of a page or snapshot only what is new here is told; a live event always is,
since another command on the same profile (`allow`, `sync`) may have written down the same thing a moment before.
Must not know: transactions, sessions, sockets.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from pushctl.client import events
from pushctl.clock import Clock, parse_rfc3339
from pushctl.ids import unb64url
from pushctl.protocol import frames
from pushctl.protocol.frames import URGENCY_RANK, Message, PushUrl, Urgency
from pushctl.webpush.encryption import DeviceKeys, Undecryptable, open_message

DAY_MS: Final = 86_400_000

_notification_decoder = msgspec.json.Decoder(frames.Notification)


def _told(push_url: PushUrl) -> events.Event:
    return events.PushUrlEvent(push_url.id, push_url.site, push_url.url, push_url.icon)


def _notification(plaintext: str) -> frames.Notification:
    """What an encrypted message says: the members of a notification in JSON, or a text, or nothing."""
    try:
        said = _notification_decoder.decode(plaintext)
    except msgspec.DecodeError:
        said = frames.Notification()
    return said if said.title is not None or said.body is not None else frames.Notification(body=plaintext)


class InboxRows:
    def __init__(self, connection: sqlite3.Connection, clock: Clock) -> None:
        self._database = connection
        self._clock = clock

    def apply(self, event: frames.Event, *, live: bool) -> list[events.Event]:
        match event:
            case frames.MessageEvent(cursor, message):
                return self._put_message(message, live=live, cursor=cursor)
            case frames.ReadEvent(_, ids):
                known = self._known(ids)
                self._database.executemany("UPDATE messages SET state = 'read' WHERE id = ?", [(i,) for i in known])
                return [events.ReadEvent(known)] if known else []
            case frames.PushUrlEvent(_, push_url):
                self.put_push_url(push_url)
                return [_told(push_url)]
            case frames.RevokedEvent(_, push_url_id):
                return [self._drop_push_url(push_url_id)]
            case frames.DroppedEvent(_, ids, reason):
                known = self._known(ids)
                self._drop_messages(known)
                return [events.DroppedEvent(known, reason)] if known else []

    def _put_message(self, message: Message, *, live: bool, cursor: str | None) -> list[events.Event]:
        now = self._clock()
        message = self._decrypted(message)
        ephemeral = live and cursor is None
        icon = self._database.execute("SELECT icon FROM push_urls WHERE id = ?", (message.push_url,)).fetchone()
        try:
            told = events.message_event(
                message, push_url_icon=icon[0] if icon else None, received_at_ms=now, live=live, cursor=cursor
            )
            # A TTL 0 message expires as it is sent; on the screen it stays until it is read, for a day at most.
            keep_until_ms = now + DAY_MS if ephemeral else parse_rfc3339(message.expires_at)
        except ValueError as error:
            raise frames.FrameInvalid(f"not a moment: {error}", field="$.message") from None
        added = self._database.execute(
            "INSERT OR IGNORE INTO messages (id, rank, sent_at, keep_until_ms, received_at_ms, state, ephemeral,"
            " message) VALUES (?, ?, ?, ?, ?, 'unread', ?, ?)",
            (
                message.id,
                URGENCY_RANK[message.urgency],
                message.sent_at,
                keep_until_ms,
                now,
                int(ephemeral),
                msgspec.json.encode(message),
            ),
        )
        return [told] if live or added.rowcount else []

    def _decrypted(self, message: Message) -> Message:
        """With what it says, if keys of this device open it; `encoding` stays. Any other message as it came."""
        keys = self.keys_of(message.push_url) if message.data is not None else None
        if keys is None or message.data is None or message.encoding is None:
            return message
        beside = message.headers or frames.EncryptionHeaders()
        try:
            plaintext = open_message(
                unb64url(message.data),
                message.encoding,
                keys,
                encryption=beside.encryption,
                crypto_key=beside.crypto_key,
            ).decode()
        except (Undecryptable, ValueError):
            return message
        return msgspec.structs.replace(message, notification=_notification(plaintext), data=None, headers=None)

    def keys_of(self, push_url_id: str) -> DeviceKeys | None:
        """They outlive the push URL: messages that were sent before it was revoked may be still to come."""
        row = self._database.execute(
            "SELECT private, auth FROM push_keys WHERE push_url = ?", (push_url_id,)
        ).fetchone()
        return DeviceKeys.parse(*row) if row else None

    def make_keys(self, push_url_id: str) -> DeviceKeys:
        keys = DeviceKeys.generate()
        self._database.execute(
            "INSERT INTO push_keys (push_url, private, auth) VALUES (?, ?, ?)", (push_url_id, *keys.texts())
        )
        return keys

    def put_push_url(self, push_url: PushUrl) -> bool:
        """False if it was here already, with this icon."""
        row = (push_url.id, push_url.site, push_url.url, push_url.icon, push_url.vapid_key, push_url.created_at)
        same = self._database.execute(
            "SELECT 1 FROM push_urls WHERE id = ? AND site = ? AND url = ? AND icon IS ? AND vapid_key IS ?", row[:5]
        ).fetchone()
        if same is not None:
            return False
        self._database.execute(
            "INSERT OR REPLACE INTO push_urls (id, site, url, icon, vapid_key, created_at) VALUES (?, ?, ?, ?, ?, ?)",
            row,
        )
        return True

    def _drop_push_url(self, push_url_id: str) -> events.Event:
        site = self._database.execute("SELECT site FROM push_urls WHERE id = ?", (push_url_id,)).fetchone()
        self._database.execute("DELETE FROM push_urls WHERE id = ?", (push_url_id,))
        return events.RevokedEvent(push_url_id, site[0] if site else None)

    def replace_push_urls(self, push_urls: Sequence[PushUrl]) -> list[events.Event]:
        kept = {push_url.id for push_url in push_urls}
        here = [row[0] for row in self._database.execute("SELECT id FROM push_urls")]
        news = [self._drop_push_url(push_url_id) for push_url_id in here if push_url_id not in kept]
        return news + [_told(push_url) for push_url in push_urls if self.put_push_url(push_url)]

    def replace_messages(self, messages: Sequence[Message], least_rank: int) -> list[events.Event]:
        kept = {message.id for message in messages}
        here = self._database.execute(
            "SELECT id FROM messages WHERE state != 'read' AND NOT ephemeral AND rank >= ? ORDER BY n", (least_rank,)
        ).fetchall()
        gone = [row[0] for row in here if row[0] not in kept]
        self._drop_messages(gone)
        # Unread again for the service though it was confirmed: Redis lost the read. Say it again.
        self._database.executemany(
            "UPDATE messages SET state = 'pending' WHERE id = ? AND state = 'read' AND NOT ephemeral",
            [(message_id,) for message_id in kept],
        )
        news: list[events.Event] = [events.DroppedEvent(gone, "gone")] if gone else []
        return news + [new for m in messages for new in self._put_message(m, live=False, cursor=None)]

    def _known(self, ids: Iterable[str]) -> list[str]:
        look = "SELECT 1 FROM messages WHERE id = ?"
        return [i for i in ids if self._database.execute(look, (i,)).fetchone() is not None]

    def _drop_messages(self, ids: Iterable[str]) -> None:
        self._database.executemany("DELETE FROM messages WHERE id = ?", [(i,) for i in ids])

    def move_to(self, cursor: str, min_urgency: Urgency) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO position (one, cursor, min_urgency) VALUES (1, ?, ?)", (cursor, min_urgency)
        )

    def forget_expired(self) -> None:
        """A day late, so that a clock that is a little off takes nothing away."""
        self._database.execute("DELETE FROM messages WHERE keep_until_ms < ?", (self._clock() - DAY_MS,))

    def forget(self) -> None:
        for table in ("position", "push_urls", "push_keys", "messages"):
            self._database.execute(f"DELETE FROM {table}")  # noqa: S608  (names from the line above)
