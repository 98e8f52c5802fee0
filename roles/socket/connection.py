"""One device's connection, from hello to close.

Owns: the two tasks of a connection (one reads frames, one writes), its session, and how it ends.
Promises: the writer alone writes, so frames never mix; whatever ends the connection, the lease is given back, the peer
is told why if it still listens, and TCP is dropped within two seconds. While Redis is away the connection stays.
Must not know: WebSockets (wire.py), where hints come from (hub.py), what to send next (tail.py).
"""

import math
import random
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import trio

from pushctl.errors import Problem, Unauthenticated
from pushctl.ids import ConnectionId, Cursor, new_id
from pushctl.inbox import Session
from pushctl.inbox.inbox import parse_cursor
from pushctl.points import Point, passed
from pushctl.protocol import frames
from pushctl.protocol.jobs import Ephemeral, SessionEnds
from pushctl.registry.messages import Delta, Snapshot, SnapshotPlace
from pushctl.registry.records import MessageEntry
from pushctl.stages import Stage
from roles.socket import ending
from roles.socket.ending import Ending
from roles.socket.frames_in import decode
from roles.socket.leaving import Leaving
from roles.socket.patience import Patience, Wait
from roles.socket.pulse import Pulse
from roles.socket.tail import Prepared, Tail
from roles.socket.wire import Disconnected, Wire

if TYPE_CHECKING:
    from roles.socket.serve import SocketRole

HOLE_SECONDS = 0.010
"""How long hints are waited for whose successors came first, before the log is read."""

MAX_PONGS = 16
"""Answers to pings that may wait; a peer that asks faster gets fewer."""

T = TypeVar("T")
_PONG = frames.encode(frames.Pong())


class Connection:
    """`hello` was said and `session` found; `run` does the rest."""

    def __init__(self, role: "SocketRole", wire: Wire, session: Session, hello: frames.Hello) -> None:
        self._role = role
        self._wire = wire
        self.session = session
        self.user = session.user
        self.device = session.device
        self.id = ConnectionId(new_id())
        cursor = parse_cursor(hello.cursor)
        self._acknowledged = cursor
        rank = frames.URGENCY_RANK[hello.min_urgency]
        self.tail = Tail(outbox_bytes=role.config.socket.outbox_bytes, min_rank=rank, cursor=cursor)
        self._woken = trio.Event()
        self._patience = Patience(lambda: role.registry.wait_for(self.user))
        self._claiming = False
        """A claim is on its way, and nobody knows whether it ran."""
        self._pongs = 0
        self._unacknowledged = 0
        """Messages written since the device last said that all it was sent is safe."""
        self._ending: Ending | None = None
        self._leaving = Leaving()
        self._reading = trio.CancelScope()
        self._writing = trio.CancelScope()
        self._close_by = math.inf
        self._session_deadline = trio.current_time() + role.seconds_left(session.expires_at_ms)
        socket = role.config.socket
        self._pulse = Pulse(trio.current_time(), ping_seconds=socket.ping_seconds, pong_seconds=socket.pong_seconds)
        wire.on_pong_owed = self.wake
        wire.on_pong = self._pulse.ponged

    # --- life --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until the connection is over. Order matters: join, claim, read the log, go live (tail.py says why)."""
        self._role.hub.join(self)
        if self._role.draining:
            self.drain(after_ms=random.randrange(1000))  # noqa: S311 - spread
        try:
            try:
                await passed(Point.JOINED)
                await self._claim()
                await passed(Point.CLAIMED)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    nursery.start_soon(self._read)
            except Problem as problem:
                self.end(problem)
        finally:
            self._role.hub.leave(self)
            await passed(Point.LEFT)
            if self._claiming:
                self._role.withdraw(self)
            else:
                self._role.release(self)
            await self._close()

    async def _claim(self) -> None:
        role = self._role
        await role.present()
        self._claiming = True
        lowered, displaced = await role.registry.presence.claim(
            self.user,
            self.device,
            self.id,
            session=self.session.hash,
            server=role.id,
            generation=role.generation,
            rank=self.tail.min_rank,
        )
        self._claiming = False
        if lowered:
            self.tail.cursor = None
        elif self._acknowledged is not None:
            role.acknowledge(self, self._acknowledged)
        role.displace(self.user, displaced)

    def end(self, problem: Problem) -> None:
        """End with an error: the peer is told the code and whether to come back."""
        self._end(ending.of_problem(problem))

    def displaced(self) -> None:
        self._end(ending.REPLACED)

    def bereft(self) -> None:
        """A newer connection took the lease and gave up: perhaps this one may have it back."""
        self._role.look_at(self.user)

    def signed_out(self) -> None:
        self._end(ending.SIGNED_OUT)

    def drain(self, after_ms: int) -> None:
        """End now; the device is to come back after so long."""
        self._end(ending.sent_away(ending.reconnect(after_ms)))

    def ask_to_leave(self, after_seconds: float, *, closed_after: float) -> None:
        """Back to the Box Office then. Until it goes, or is closed after so many seconds, all comes here as before."""
        now = trio.current_time()
        self._leaving.ask(now + after_seconds, now + closed_after)
        self.wake()

    @property
    def was_asked_to_leave(self) -> bool:
        return self._leaving.was_asked

    def may_stay(self) -> None:
        """Unless it goes by itself: what was said cannot be taken back."""
        self._leaving.take_back()

    def leave_now(self) -> None:
        """End a connection that was asked to leave."""
        self._end(ending.sent_away(self._word_to_leave()))

    def _word_to_leave(self) -> bytes | None:
        after_ms = self._leaving.to_say(trio.current_time())
        return None if after_ms is None else ending.reconnect(after_ms)

    def check(self, now: float) -> None:
        """Called about every second: is its time up, does the peer still answer?"""
        if self._session_deadline <= now:
            self.signed_out()
        elif self._leaving.by <= now:
            self.leave_now()
        else:
            # We do not listen ourselves while we wait for Redis or do not know whether we are still who we were; a
            # peer that the writer waits for is judged by the writer.
            excused = self._patience.is_needed or self._wire.sending or self._role.heart.absent
            if self._pulse.is_lost(now, excused=excused):
                self._end(ending.NO_PONG)
            elif self._pulse.ping_due:
                self.wake()

    def _end(self, how: Ending) -> None:
        """The first ending counts. The writer finishes what it must; all is over within CLOSE_SECONDS."""
        if self._ending is None:
            self._ending = how
            self._reading.cancel()
            self._close_by = self._writing.deadline = self._role.close_by()
            self.wake()

    async def _close(self) -> None:
        how = self._ending or ending.STOPPED
        by = min(self._close_by, self._role.close_by())
        with trio.CancelScope(deadline=by, shield=True), suppress(Disconnected):
            if how.last is not None:
                await self._wire.send(how.last)
        await self._wire.close(how.code, how.detail, by=by)
        self._role.metrics.closes.labels(how.label).inc()

    def wake(self) -> None:
        self._woken.set()

    # --- hints (from the hub; none of these waits) -------------------------------------------------------------------

    def hear_ephemeral(self, job: Ephemeral, *, seconds_left: float) -> None:
        until = trio.current_time() + seconds_left
        if self.tail.offer_ephemeral(job.rank, job.frame, until):
            self.wake()

    def session_ends(self, job: SessionEnds) -> None:
        if self.session.hash not in job.sessions:
            return
        if job.in_ms:
            self._session_deadline = min(self._session_deadline, trio.current_time() + job.in_ms / 1000)
        else:
            self.signed_out()

    # --- writing -----------------------------------------------------------------------------------------------------

    async def _write(self) -> None:
        config = self._role.config.socket
        with self._writing:
            try:
                welcome = frames.Welcome(self._role.id, int(config.ping_seconds * 1000), self.user, self.device)
                await self._send(frames.encode(welcome))
                while self._ending is None:
                    await self._write_next()
                if self._ending.code == ending.DRAINING:
                    await self._write_rest()
            except Problem as problem:
                self.end(problem)
            except Disconnected as gone:
                self._end(ending.of_peer(gone))

    async def _write_next(self) -> None:
        await self._keep_alive()
        prepared = self.tail.take()
        if self._pongs:
            self._pongs -= 1
            await self._send(_PONG)
        if (word := self._word_to_leave()) is not None:
            await self._send(word)
        if prepared is not None:
            await self._write_prepared(prepared)
        elif self.tail.behind:
            await self._read_log()
        elif self.tail.has_hole():
            with trio.move_on_after(HOLE_SECONDS):
                while self.tail.has_hole() and self._ending is None:
                    await self._wait()
            if self.tail.has_hole():
                self.tail.fall_behind()
        elif not self._pongs:
            await self._wait()

    async def _write_prepared(self, prepared: Prepared) -> None:
        if prepared.until < trio.current_time():
            return
        await self._send(prepared.frame)
        if prepared.is_message:
            self._note(Stage.WRITTEN, 1, prepared.cursor)
            self._unacknowledged += prepared.cursor is not None

    async def _write_rest(self) -> None:
        """Of a connection that is sent away: what is in no log would be lost."""
        while (prepared := self.tail.take()) is not None:
            await self._write_prepared(prepared)

    async def _wait(self) -> None:
        """Until something happened since the last look: hints, pings and endings all wake."""
        await self._woken.wait()
        self._woken = trio.Event()

    async def _send(self, frame: bytes) -> None:
        """Send one frame, and first what is due of pings and pongs."""
        await self._role.present()
        await self._keep_alive()
        await self._wire.send(frame)
        self._role.frames_written += 1

    async def _keep_alive(self) -> None:
        if self._wire.owes_pong:
            await self._wire.pong()
        if self._pulse.ping_due:
            self._pulse.pinged(trio.current_time())
            await self._wire.ping()

    async def _ping_meanwhile(self, wait: Wait) -> None:
        """Write pings and pongs that are due while something is waited for: nobody else writes them, and the device
        must not take us for dead. Raises Disconnected."""
        over = False
        gone: Disconnected | None = None

        async def watch() -> None:
            nonlocal over
            await wait()
            over = True
            self.wake()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            try:
                while not over:
                    await self._keep_alive()
                    await self._wait()
            except Disconnected as error:
                gone = error
                nursery.cancel_scope.cancel()
        if gone is not None:
            raise gone

    async def _read_log(self) -> None:
        """Bring the device to the log's end: a delta, or all pages of a snapshot."""
        heard = self.tail.begin_read()
        page = await self._patience.ask(lambda: self._page(self.tail.cursor), meanwhile=self._ping_meanwhile)
        while isinstance(page, Snapshot) and not page.done:
            await self._send(self._frame(page))
            place = page.next
            page = await self._patience.ask(
                lambda place=place: self._page(place),  # type: ignore[misc]  # bound now
                meanwhile=self._ping_meanwhile,
            )
        if isinstance(page, Delta) and self.tail.live:
            for entry in page.entries:
                # Before it is sent: an acknowledgement may come back faster than the send returns.
                self.tail.sent = Cursor(page.cursor.epoch, entry.position)
                await self._send(frames.encode(self._role.inbox.render.event(self.user, page.cursor.epoch, entry)))
        else:
            await self._send(self._frame(page))
        messages = (
            sum(isinstance(entry, MessageEntry) for entry in page.entries)
            if isinstance(page, Delta)
            else len(page.messages)
        )
        cursor = page.cursor if isinstance(page, Delta) else page.next.pin
        self._note(Stage.WRITTEN, messages, cursor)
        self._unacknowledged += messages
        self.tail.end_read(cursor, done=page.done, heard_before=heard)
        await passed(Point.LIVE)

    async def _page(self, place: Cursor | SnapshotPlace | None) -> Delta | Snapshot:
        messages = self._role.registry.messages
        page = await messages.sync(
            self.user, place, min_rank=self.tail.min_rank, page_bytes=self._role.config.socket.page_bytes
        )
        await passed(Point.READ)
        return page

    def _frame(self, page: Delta | Snapshot) -> bytes:
        return frames.encode(self._role.inbox.render.page(self.user, page, self.tail.min_rank))

    # --- reading -----------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        with self._reading:
            try:
                while True:
                    await self._receive(decode(await self._wire.receive()))
            except Problem as problem:
                self.end(problem)
            except Disconnected as gone:
                self._end(ending.of_peer(gone))

    async def _receive(self, frame: frames.ClientFrame) -> None:
        await self._role.present()
        match frame:
            case frames.Ack(cursor):
                self._acknowledge(cursor)
            case frames.Read(ids, upto):
                await self._patience.ask(lambda: self._role.inbox.read(self.user, ids=ids, upto=upto))
            case frames.Token(token):
                await self._renew(token)
            case frames.Ping():
                self._pongs = min(self._pongs + 1, MAX_PONGS)
                self.wake()
            case frames.Pong():
                pass
            case frames.Hello():
                raise frames.FrameInvalid("hello is said once, first", field="$.type")

    def _acknowledge(self, text: str) -> None:
        cursor = parse_cursor(text)
        if cursor is None:
            raise frames.FrameInvalid("not a cursor of this service", field="$.cursor")
        sent = self.tail.sent
        if sent is not None and cursor.epoch == sent.epoch:
            if cursor.position.seq > sent.position.seq:
                raise frames.FrameInvalid("acknowledges what this connection was not sent", field="$.cursor")
            self._role.acknowledge(self, cursor)
            if cursor.position == sent.position:
                self._note(Stage.ACKNOWLEDGED, self._unacknowledged, cursor)
                self._unacknowledged = 0

    async def _renew(self, token: str) -> None:
        session = await self._patience.ask(lambda: self._role.accounts.session_of_token(token))
        if (session.user, session.device) != (self.user, self.device):
            raise Unauthenticated("this token is another device's", field="$.token")
        old, self.session = self.session, session
        self._session_deadline = trio.current_time() + self._role.seconds_left(session.expires_at_ms)
        # If it ended since it was looked up, nobody told this connection, which did not use it yet.
        await self._patience.ask(lambda: self._role.accounts.session_of_token(token))
        await self._patience.ask(lambda: self._role.accounts.renewed(old.hash, session))

    def _note(self, stage: Stage, messages: int, cursor: Cursor | None) -> None:
        """Count and log a stage that messages reached on this device; `seq`: up to where in the user's log."""
        if messages:
            self._role.metrics.stage(stage, messages)
            seq = cursor.position.seq if cursor else None
            self._role.log.info(stage.value, user=self.user, device=self.device, messages=messages, seq=seq)
