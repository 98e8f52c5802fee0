"""One device's connection in the subprotocol `pushctl.v1` (docs/protocol.md, section 4).

Owns: what a device is told and in which order, what it may say, its session. Promises: what is said stands in the log,
or is gone in two seconds. Must not know: WebSockets (wire.py), how a connection lives and ends (held.py), what to send
next (tail.py).
"""

from collections.abc import Awaitable, Iterator, Sequence
from typing import TYPE_CHECKING

import trio

from pushctl.errors import Unauthenticated
from pushctl.ids import Cursor, SessionHash
from pushctl.inbox import Session
from pushctl.inbox.inbox import parse_cursor
from pushctl.points import Point, passed
from pushctl.protocol import frames, jobs
from pushctl.registry.messages import Delta, Snapshot, SnapshotPlace
from pushctl.registry.records import MessageEntry, MessageRecord
from pushctl.stages import Stage
from roles.socket.ending import OF_DEVICES, reconnect
from roles.socket.flight import Flight
from roles.socket.frames_in import decode
from roles.socket.held import Held
from roles.socket.tail import Prepared, Tail
from roles.socket.trail import Trail
from roles.socket.wire import TOGETHER_BYTES, Disconnected, Wire

if TYPE_CHECKING:
    from roles.socket.serve import SocketRole

HOLE_SECONDS = 0.010
"""How long hints are waited for whose successors came first, before the log is read."""

MAX_PONGS = 16
"""Answers to pings that may wait; a peer that asks faster gets fewer."""

_PONG = frames.encode(frames.Pong())


class Connection(Held):
    """`hello` was said and `signed_in`, its session, found; `run` does the rest."""

    __slots__ = ("_acknowledged", "_flight", "_pongs", "_session", "_session_deadline", "_trail", "min_rank", "tail")

    def __init__(self, role: "SocketRole", wire: Wire, signed_in: Session, hello: frames.Hello) -> None:
        super().__init__(role, wire, signed_in.user, signed_in.device, OF_DEVICES)
        self._session = signed_in.hash
        cursor = parse_cursor(hello.cursor)
        self._acknowledged = cursor
        self.min_rank = frames.URGENCY_RANK[hello.min_urgency]
        self.tail = Tail(outbox_bytes=role.config.socket.outbox_bytes, min_rank=self.min_rank, cursor=cursor)
        self._trail = Trail.of(role.traces, frames.SUBPROTOCOL)
        self._pongs = 0
        self._flight = Flight()
        self._session_deadline = trio.current_time() + role.seconds_left(signed_in.expires_at_ms)

    @property
    def session(self) -> SessionHash:
        return self._session

    def _claimed(self, *, lowered: bool) -> None:
        if lowered:
            self.tail.cursor = None
        elif self._acknowledged is not None:
            self._role.acknowledge(self, self._acknowledged)

    def _plan(self) -> None:
        super()._plan()
        self.due = min(self.due, self._session_deadline)

    def check(self, now: float) -> None:
        if self._session_deadline <= now:
            self.signed_out()
        else:
            super().check(now)

    def _word_to_leave(self) -> bytes | None:
        after_ms = self._when_to_return()
        return None if after_ms is None else reconnect(after_ms)

    # --- hints (from the hub; none of these waits) -------------------------------------------------------------------

    @property
    def is_behind(self) -> bool:
        return self.tail.behind

    @property
    def outbox_bytes(self) -> int:
        return self.tail.outbox_bytes

    def is_at(self, last: Cursor) -> bool:
        return self.tail.is_at(last)

    def fall_behind(self) -> None:
        self.tail.fall_behind()
        self.wake()

    def hear_appended(self, job: jobs.Appended) -> None:
        self.tail.offer(job)

    def hear_ephemeral(self, job: jobs.Ephemeral, *, seconds_left: float) -> None:
        until = trio.current_time() + seconds_left
        accepted_ms = job.until_ms - jobs.EPHEMERAL_MS
        self.tail.offer_ephemeral(job.rank, job.frame, until, accepted_ms, job.trace)

    def speak(self) -> None:
        if self._ending is not None and not self._ending.is_draining:
            return
        if self._may_write_now and self._ending is None:
            try:
                self._write_outbox()
            except Disconnected as gone:
                self._end(self._endings.of_peer(gone))
        if self._wire.busy or self.tail.has_work():
            self.wake()

    def session_ends(self, job: jobs.SessionEnds) -> None:
        if self.session not in job.sessions:
            return
        if job.in_ms:
            self._session_deadline = min(self._session_deadline, trio.current_time() + job.in_ms / 1000)
            self._plan()
        else:
            self.signed_out()

    # --- writing -----------------------------------------------------------------------------------------------------

    async def _greet(self) -> None:
        ping_ms = int(self._role.config.socket.ping_seconds * 1000)
        await self._send(frames.encode(frames.Welcome(self._role.id, ping_ms, self.user, self.device)))

    async def _write_aside(self) -> bool:
        something = self._pongs > 0
        if self._pongs:
            self._pongs -= 1
            await self._send(_PONG)
        if (word := self._word_to_leave()) is not None:
            something = True
            await self._send(word)
        return something

    async def _write_next(self) -> bool:
        something = await self._write_aside()
        if self.tail.outbox_bytes:
            await self._write_prepared()
        elif self.tail.behind:
            await self._read_log()
        elif self.tail.has_hole():
            with trio.move_on_after(HOLE_SECONDS):
                while self.tail.has_hole() and self._ending is None:
                    await self._wait()
            if self.tail.has_hole():
                self.tail.fall_behind()
        else:
            return something
        return True

    async def _write_prepared(self) -> None:
        if self._role.heart.absent:
            await self._role.present()
        self._write_outbox()
        if self._wire.busy:
            await self._wire.flush()

    async def _write_rest(self) -> None:
        """Of a connection that is sent away: what is in no log would be lost."""
        while self.tail.outbox_bytes:
            await self._write_prepared()

    def _write_outbox(self) -> None:
        """Of what is prepared, as much as the kernel takes: one call for all that is small. Raises Disconnected."""
        while not self._wire.busy and self.tail.outbox_bytes:
            now = trio.current_time()
            together: list[Prepared] = []
            size = 0
            while size < TOGETHER_BYTES and (prepared := self.tail.take()) is not None:
                if prepared.until >= now:
                    together.append(prepared)
                    size += len(prepared.frame)
            if together:
                self._write_together(together, now)

    def _write_together(self, together: Sequence[Prepared], now: float) -> None:
        messages = [prepared for prepared in together if prepared.is_message]
        # Before it is sent: an acknowledgement may come back faster than the send returns.
        for prepared in messages:
            if prepared.cursor is not None:
                self._flight.written(prepared.cursor.position.seq, 1, now)
        with self._trail.deliver_all(_followed(messages)):
            self._write_now(*(prepared.frame for prepared in together))
        if messages:
            self._note_delivered("hint", [prepared.accepted_ms for prepared in messages])
            self._note(Stage.WRITTEN, len(messages), messages[-1].cursor)

    async def _read_log(self) -> None:
        """Bring the device to the log's end: a delta, or all pages of a snapshot."""
        heard = self.tail.begin_read()
        page = await self._patience.ask(lambda: self._page(self.tail.cursor), meanwhile=self._write_meanwhile)
        while isinstance(page, Snapshot) and not page.done:
            await self._write_page(page)
            place = page.next
            page = await self._patience.ask(
                lambda place=place: self._page(place),  # type: ignore[misc]  # bound now
                meanwhile=self._write_meanwhile,
            )
        if isinstance(page, Delta) and self.tail.live:
            await self._write_events(page)
        else:
            await self._write_page(page)
        self.tail.end_read(_place_after(page), done=page.done, heard_before=heard)
        await passed(Point.LIVE)

    async def _write_page(self, page: Delta | Snapshot) -> None:
        """In one frame."""
        messages, cursor = _messages_of(page), _place_after(page)
        self._flight.written(cursor.position.seq, len(messages), trio.current_time())
        with self._trail.deliver_all(self._followed(messages)):
            await self._send(frames.encode(self._role.inbox.render.page(self.user, page, self.min_rank)))
        self._note_delivered("sync", [message.sent_at_ms for message in messages])
        self._note(Stage.WRITTEN, len(messages), cursor)

    async def _write_events(self, page: Delta) -> None:
        """Each in a frame of its own, as if it had just happened."""
        for entry in page.entries:
            # Before it is sent: an acknowledgement may come back faster than the send returns.
            self.tail.sent = Cursor(page.cursor.epoch, entry.position)
            if isinstance(entry, MessageEntry):
                self._flight.written(entry.position.seq, 1, trio.current_time())
            with self._trail.deliver_all(self._followed([entry.message] if isinstance(entry, MessageEntry) else [])):
                await self._send(frames.encode(self._role.inbox.render.event(self.user, page.cursor.epoch, entry)))
            if isinstance(entry, MessageEntry):
                self._note_delivered("log", [entry.message.sent_at_ms])
        self._note(Stage.WRITTEN, len(_messages_of(page)), page.cursor)

    async def _page(self, place: Cursor | SnapshotPlace | None) -> Delta | Snapshot:
        messages = self._role.registry.messages
        page = await messages.sync(
            self.user, place, min_rank=self.min_rank, page_bytes=self._role.config.socket.page_bytes
        )
        await passed(Point.READ)
        return page

    # --- reading -----------------------------------------------------------------------------------------------------

    def _hear(self, message: str | bytes) -> Awaitable[object] | None:
        match decode(message):
            case frames.Ack(cursor):
                self._acknowledge(cursor)
            case frames.Read(ids, upto):
                return self._patience.ask(lambda: self._role.inbox.read(self.user, ids=ids, upto=upto))
            case frames.Token(token):
                return self._renew(token)
            case frames.Ping():
                self._pongs = min(self._pongs + 1, MAX_PONGS)
                self.wake()
            case frames.Pong():
                pass
            case frames.Hello():
                raise frames.FrameInvalid("hello is said once, first", field="$.type")
        return None

    def _acknowledge(self, text: str) -> None:
        cursor = parse_cursor(text)
        if cursor is None:
            raise frames.FrameInvalid("not a cursor of this service", field="$.cursor")
        sent = self.tail.sent
        if sent is not None and cursor.epoch == sent.epoch:
            if cursor.position.seq > sent.position.seq:
                raise frames.FrameInvalid("acknowledges what this connection was not sent", field="$.cursor")
            self._role.acknowledge(self, cursor)
            self._trail.acknowledged_up_to(cursor.position.seq)
            self._note_acknowledged(self._flight.acknowledged(cursor.position.seq), cursor)

    async def _renew(self, token: str) -> None:
        session = await self._patience.ask(lambda: self._role.accounts.session_of_token(token))
        if (session.user, session.device) != (self.user, self.device):
            raise Unauthenticated("this token is another device's", field="$.token")
        old, self._session = self._session, session.hash
        self._session_deadline = trio.current_time() + self._role.seconds_left(session.expires_at_ms)
        # If it ended since it was looked up, nobody told this connection, which did not use it yet.
        await self._patience.ask(lambda: self._role.accounts.session_of_token(token))
        await self._patience.ask(lambda: self._role.accounts.renewed(old, session))


def _place_after(page: Delta | Snapshot) -> Cursor:
    """To which a page brings the device; of a snapshot's pages only the last does."""
    return page.cursor if isinstance(page, Delta) else page.next.pin


def _messages_of(page: Delta | Snapshot) -> list[MessageRecord]:
    if isinstance(page, Snapshot):
        return page.messages
    return [entry.message for entry in page.entries if isinstance(entry, MessageEntry)]


def _followed(messages: Sequence[Prepared]) -> Iterator[tuple[bytes, int, float]]:
    """Those whose trace is followed; see Trail.deliver_all."""
    for message in messages:
        if message.trace:
            yield message.trace, message.cursor.position.seq if message.cursor else 0, 0
