"""What one device knows: its session, push URLs with icons, messages with their read state, and its cursor (SQLite).

Owns: the questions asked of a profile, and its transactions.
Promises: a frame and the cursor behind it are written in one transaction, so whatever moment the process dies at, the
cursor never claims more than what is there; applying the same thing again changes nothing; a message read here stays
`pending` until the service confirms it, over restarts.
Must not know: sockets, HTTP, who displays; the rows of the inbox are inbox_rows.py's.

No thread: a transaction here takes well under a millisecond (a local file; in WAL mode with synchronous=NORMAL a commit
does not wait for the disk), less than the hop to a worker thread and back would cost the event loop, and the
connection stays with the one task that owns it. NORMAL may lose the last transactions when the power fails, but whole
and in order, cursor included: the service then says again what came after the older cursor. An `ack` frees nothing on
the server, so that is enough for "safe on this device".
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from pushctl.client import events
from pushctl.client.inbox_rows import InboxRows
from pushctl.client.profile import Database
from pushctl.clock import Clock, system_clock
from pushctl.protocol import frames
from pushctl.protocol.frames import URGENCY_RANK, Message, PushUrl, Urgency
from pushctl.webpush.encryption import DeviceKeys

_decoder = msgspec.json.Decoder(Message)


@dataclass(frozen=True, slots=True)
class Session:
    """A login. `account`: who the user said to be."""

    token: str = field(repr=False)
    user: str
    device: str
    device_name: str
    account: str
    expires_at: str


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message as this device has it. `confirmed` is False while a read made here is not known to the service."""

    message: Message
    icon: str | None
    read: bool
    confirmed: bool
    received_at_ms: int


class Store:
    """One profile. Not to be shared between threads; several processes may use one profile."""

    def __init__(self, path: Path, clock: Clock = system_clock) -> None:
        """Opens or makes the file (mode 0600). Failed if it cannot be used or a newer pushctl wrote it."""
        self._clock = clock
        self._database = Database(path)
        self._inbox = InboxRows(self._database.connection, clock)

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # --- session and settings ----------------------------------------------------------------------------------------

    def session(self) -> Session | None:
        rows = self._database.rows(
            "SELECT token, user, device, device_name, account, expires_at FROM session WHERE token IS NOT NULL"
        )
        return Session(*rows[0]) if rows else None

    def known_device(self, account: str) -> str | None:
        """The device this profile was when `account` last logged in with it, to be used again."""
        rows = self._database.rows("SELECT device FROM session WHERE account = ?", (account,))
        return str(rows[0][0]) if rows else None

    def begin_session(self, session: Session) -> None:
        """A login. If it is another user's (of another service: also another id), what was here is forgotten."""
        with self._database.transaction() as database:
            if database.execute("SELECT 1 FROM session WHERE user = ?", (session.user,)).fetchone() is None:
                self._inbox.forget()
            database.execute(
                "INSERT OR REPLACE INTO session (one, token, user, device, device_name, account, expires_at)"
                " VALUES (1, ?, ?, ?, ?, ?, ?)",
                (
                    session.token,
                    session.user,
                    session.device,
                    session.device_name,
                    session.account,
                    session.expires_at,
                ),
            )

    def end_session(self) -> None:
        """A logout: the token and the inbox go, which device we were stays."""
        with self._database.transaction() as database:
            self._inbox.forget()
            database.execute("UPDATE session SET token = NULL")

    def forget_device(self) -> None:
        """The service does not know it any more: the next login makes a new one."""
        with self._database.transaction() as database:
            self._inbox.forget()
            database.execute("DELETE FROM session")

    def setting(self, name: str) -> str | None:
        rows = self._database.rows("SELECT value FROM settings WHERE name = ?", (name,))
        return str(rows[0][0]) if rows else None

    def set_setting(self, name: str, value: str) -> None:
        with self._database.transaction() as database:
            database.execute("INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)", (name, value))

    # --- what is here ------------------------------------------------------------------------------------------------

    def resume_cursor(self, min_urgency: Urgency) -> str | None:
        """From where to go on with this filter. None = a snapshot is needed: nothing is here yet, or what is here was
        filtered more strictly and has holes that a delta would not fill."""
        rows = self._database.rows("SELECT cursor, min_urgency FROM position")
        if not rows or URGENCY_RANK[rows[0][1]] > URGENCY_RANK[min_urgency]:
            return None
        return str(rows[0][0])

    def push_urls(self) -> list[PushUrl]:
        """Oldest first."""
        rows = self._database.rows(
            "SELECT id, site, url, icon, vapid_key, created_at FROM push_urls ORDER BY created_at, id"
        )
        return [PushUrl(*row) for row in rows]

    def messages(self, *, read_too: bool = False) -> list[StoredMessage]:
        """The unread, oldest first; with `read_too` also what was read and has not expired."""
        rows = self._database.rows(
            "SELECT message, state, received_at_ms FROM messages WHERE keep_until_ms > ? AND (? OR state = 'unread')"
            " ORDER BY sent_at, n",
            (self._clock(), read_too),
        )
        icons: dict[str, str | None] = dict(self._database.rows("SELECT id, icon FROM push_urls"))
        found = []
        for raw, state, received_at_ms in rows:
            message = _decoder.decode(raw)
            icon = (message.notification.icon if message.notification else None) or icons.get(message.push_url)
            found.append(StoredMessage(message, icon, state != "unread", state != "pending", received_at_ms))
        return found

    def is_unread(self, message_id: str) -> bool:
        """False also for one that is not here."""
        return bool(self._database.rows("SELECT 1 FROM messages WHERE id = ? AND state = 'unread'", (message_id,)))

    def message_ids(self, prefix: str) -> list[str]:
        """Ids of messages here that begin so."""
        rows = self._database.rows(
            "SELECT id FROM messages WHERE substr(id, 1, ?) = ? ORDER BY n", (len(prefix), prefix)
        )
        return [str(row[0]) for row in rows]

    # --- reading -----------------------------------------------------------------------------------------------------

    def mark_read(self, ids: Iterable[str]) -> list[str]:
        """The user saw these. Those that were unread here are pending now, and are given back.

        TTL 0 messages are not in the service's log: nobody would confirm them, so they are simply read.
        """
        marked = []
        with self._database.transaction() as database:
            for message_id in ids:
                changed = database.execute(
                    "UPDATE messages SET state = CASE ephemeral WHEN 1 THEN 'read' ELSE 'pending' END"
                    " WHERE id = ? AND state = 'unread'",
                    (message_id,),
                )
                if changed.rowcount:
                    marked.append(message_id)
        return marked

    def pending_reads(self) -> list[str]:
        """Read here, not confirmed yet: to be said again after every hello."""
        rows = self._database.rows(
            "SELECT id FROM messages WHERE state = 'pending' AND keep_until_ms > ? ORDER BY n", (self._clock(),)
        )
        return [str(row[0]) for row in rows]

    def confirm_read(self, ids: Iterable[str]) -> None:
        """The service said that these are read, in answer to a request."""
        with self._database.transaction() as database:
            database.executemany("UPDATE messages SET state = 'read' WHERE id = ?", [(i,) for i in ids])

    # --- what the service says ---------------------------------------------------------------------------------------

    def keys_of(self, push_url_id: str) -> DeviceKeys:
        """The keys that a site encrypts to; made when first asked for."""
        with self._database.transaction():
            return self._inbox.keys_of(push_url_id) or self._inbox.make_keys(push_url_id)

    def put_push_url(self, push_url: PushUrl) -> None:
        """An answer to a request that names a push URL; its event comes as well."""
        with self._database.transaction():
            self._inbox.put_push_url(push_url)

    def remove_push_url(self, push_url_id: str) -> None:
        with self._database.transaction() as database:
            database.execute("DELETE FROM push_urls WHERE id = ?", (push_url_id,))

    def apply_event(self, event: frames.Event, min_urgency: Urgency) -> list[events.Event]:
        """A live event. Returns what is new to this device. `min_urgency`: the connection's filter."""
        with self._database.transaction():
            if event.cursor is not None:
                self._inbox.move_to(event.cursor, min_urgency)
            return self._inbox.apply(event, live=True)

    def apply_delta(self, page: frames.DeltaFrame, min_urgency: Urgency) -> list[events.Event]:
        """One page of what was missed, with the cursor behind it."""
        with self._database.transaction():
            self._inbox.forget_expired()
            news = [new for event in page.events for new in self._inbox.apply(event, live=False)]
            self._inbox.move_to(page.cursor, min_urgency)
            return news

    def apply_snapshot(self, pages: Sequence[frames.SnapshotFrame]) -> list[events.Event]:
        """All pages of a snapshot, the last of which has the cursor. What is not in it goes; what was filtered out of
        it, and what was read here (history), stays."""
        cursor = pages[-1].cursor
        if cursor is None:
            raise frames.FrameInvalid("the last page of a snapshot has no cursor", field="$.cursor")
        said = next((page.min_urgency for page in reversed(pages) if isinstance(page.min_urgency, str)), None)
        min_urgency: Urgency = said or "very-low"
        with self._database.transaction():
            self._inbox.forget_expired()
            news = self._inbox.replace_push_urls([push_url for page in pages for push_url in page.push_urls])
            news += self._inbox.replace_messages(
                [m for page in pages for m in page.messages], URGENCY_RANK[min_urgency]
            )
            self._inbox.move_to(cursor, min_urgency)
            return news
