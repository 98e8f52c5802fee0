"""A connection that this server holds, whatever it speaks: from the moment it is known to the close.

Owns: the task that reads frames, its lease, and how it ends; who writes is voice.py's.
Promises: whatever ends the connection, the lease is given back, the peer is told why if it still listens, and TCP is
dropped within two seconds. While Redis is away the connection stays. One that says nothing costs one task, which waits
for its socket without a scope or a nursery of its own.
Must not know: WebSockets (wire.py), where hints come from (hub.py), what is said: that is a device's (connection.py) or
a browser's (browser.py).
"""

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from pushctl.errors import Problem
from pushctl.ids import ConnectionId, Cursor, DeviceId, SessionHash, UserId, new_id
from pushctl.points import Point, passed
from pushctl.protocol import jobs
from pushctl.registry.browsers import NO_SESSION
from pushctl.registry.records import MessageRecord
from pushctl.stages import Stage
from pushctl.traces import OFF
from roles.socket.ending import Ending, Endings
from roles.socket.leaving import Leaving
from roles.socket.line import Interrupted
from roles.socket.patience import Patience
from roles.socket.voice import Voice
from roles.socket.wire import Disconnected, Wire

if TYPE_CHECKING:
    from roles.socket.serve import SocketRole


class Held(Voice, ABC):
    __slots__ = (
        "_claiming",
        "_close_by",
        "_close_from",
        "_ending",
        "_endings",
        "_hearing",
        "_leaving",
        "_patience",
        "_writer",
        "_written",
        "device",
        "due",
        "has_lease",
        "id",
        "user",
    )

    def __init__(self, role: "SocketRole", wire: Wire, user: UserId, device: DeviceId, endings: Endings) -> None:
        super().__init__(role, wire)
        self.user = user
        self.device = device
        self.id = ConnectionId(new_id())
        self._endings = endings
        self._patience = Patience(role.until_back, user)
        self._claiming = False
        """A claim is on its way, and nobody knows whether it ran."""
        self.has_lease = False
        self._ending: Ending | None = None
        self._leaving: Leaving | None = None
        """Since it was asked to."""
        self._hearing: trio.CancelScope | None = None
        """Of what the reader waits for that is not the peer."""
        self._writer: trio.CancelScope | None = None
        self._written: trio.Event | None = None
        """For whoever waits for the writer to be over."""
        self._close_by = math.inf
        self._close_from = -math.inf
        """Not closed before, though it may be over."""
        self.due = -math.inf
        """`check` has nothing to do before this moment."""

    # --- what it speaks ----------------------------------------------------------------------------------------------

    min_rank = 0
    """Of messages that it wants."""

    @property
    def session(self) -> SessionHash | None:
        """None: it never logged in."""
        return None

    @property
    def is_stored(self) -> bool:
        """The registry knows its user."""
        return True

    @abstractmethod
    def _claimed(self, *, lowered: bool) -> None:
        """Its lease stands; `lowered`: it wants more than before."""

    @abstractmethod
    async def _greet(self) -> None:
        """The first frame. Raises Problem, Disconnected."""

    @abstractmethod
    async def _write_next(self) -> bool:
        """What is due; False if nothing is. Raises Problem, Disconnected."""

    @abstractmethod
    async def _write_rest(self) -> None:
        """Of a connection that is sent away: what would be lost."""

    @abstractmethod
    def _hear(self, message: str | bytes) -> Awaitable[object] | None:
        """One message of the peer; what there is to wait for before the next one. Both may raise Problem."""

    @abstractmethod
    def _word_to_leave(self) -> bytes | None:
        """The frame that says when to come back: once, when it has not been told yet."""

    @property
    @abstractmethod
    def is_behind(self) -> bool:
        """Its log, or what is unread, has to be read."""

    @property
    def outbox_bytes(self) -> int:
        """Of frames that are prepared for it."""
        return 0

    @abstractmethod
    def is_at(self, last: Cursor) -> bool:
        """Whether nothing is missing if the log ends at `last`."""

    @abstractmethod
    def fall_behind(self) -> None:
        """Read the log: hints of it may have been lost."""

    @abstractmethod
    def hear_appended(self, job: jobs.Appended) -> None:
        """A hint that events were appended. Waits for nothing; `speak` follows."""

    @abstractmethod
    def hear_ephemeral(self, job: jobs.Ephemeral, *, seconds_left: float) -> None:
        """A message in no log, good for so long. Waits for nothing; `speak` follows."""

    @abstractmethod
    def speak(self) -> None:
        """What was heard may be written: now as far as the peer takes it, the rest by the writer. Waits for nothing."""

    def session_ends(self, job: jobs.SessionEnds) -> None:
        """Sessions of the user end. Waits for nothing."""
        if self.session in job.sessions:
            self.signed_out()

    # --- life --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until the connection is over. Order matters: join, claim, read the log, go live (tail.py says why)."""
        self._role.hub.join(self)
        if self._role.draining:
            self.drain(after_ms=random.randrange(1000))  # noqa: S311 - spread
        try:
            try:
                await passed(Point.JOINED)
                if self.is_stored:
                    await self._claim()
                await passed(Point.CLAIMED)
                self._plan()
                self._is_held = True
                self.wake()
                await self._read()
            except Problem as problem:
                self.end(problem)
            await self._written_out()
        finally:
            self._role.hub.leave(self)
            await passed(Point.LEFT)
            if self._claiming:
                self._role.withdraw(self)
            elif self.has_lease:
                self._role.release(self)
            self._is_held = False
            self._end(self._endings.stopped)  # if nothing else has: so the writer has a deadline, whatever happened
            with trio.CancelScope(shield=True):  # cancelled, as we are, or by its deadline: soon
                await self._written_out()
            await self._close()

    async def _claim(self) -> None:
        role = self._role
        await role.present()
        self._claiming = True
        lowered, displaced = await role.registry.presence.claim(
            self.user,
            self.device,
            self.id,
            session=self.session or NO_SESSION,
            server=role.id,
            generation=role.generation,
            rank=self.min_rank,
        )
        self._claiming = False
        self.has_lease = True
        self._claimed(lowered=lowered)
        role.displace(self.user, displaced)

    def end(self, problem: Problem) -> None:
        """End with an error: the peer is told the code and whether to come back."""
        self._end(self._endings.of_problem(problem))

    def displaced(self) -> None:
        self._end(self._endings.replaced)

    def bereft(self) -> None:
        """A newer connection took the lease and gave up: perhaps this one may have it back."""
        self._role.look_at(self.user)

    def signed_out(self) -> None:
        self._end(self._endings.signed_out)

    def drain(self, after_ms: int) -> None:
        """End now; the device is to come back after so long."""
        self._end(self._endings.sent_away(after_ms))

    def ask_to_leave(self, after_seconds: float, *, closed_after: float) -> None:
        """Back to the Box Office then. Until it goes, or is closed after so many seconds, all comes here as before."""
        now = trio.current_time()
        self._leaving = self._leaving or Leaving()
        self._leaving.ask(now + after_seconds, now + closed_after)
        self._plan()
        self.wake()

    @property
    def was_asked_to_leave(self) -> bool:
        return self._leaving is not None and self._leaving.was_asked

    def may_stay(self) -> None:
        """Unless it goes by itself: what was said cannot be taken back."""
        if self._leaving is not None:
            self._leaving.take_back()

    def leave_now(self) -> None:
        """End a connection that was asked to leave."""
        self._end(self._endings.sent_away(self._when_to_return()))

    def _when_to_return(self) -> int | None:
        """After how many ms: once, when it was asked to leave and has not been told yet."""
        return None if self._leaving is None else self._leaving.to_say(trio.current_time())

    def _plan(self) -> None:
        """When `check` has something to do again: to be called when that may be sooner than it was."""
        self.due = min(self._wire.pulse.look_at, self._leaving.by if self._leaving else math.inf)

    def check(self, now: float) -> None:
        """Called when it is `due`, and then about every second: is its time up, does the peer still answer?"""
        if self._leaving is not None and self._leaving.by <= now:
            self.leave_now()
            return
        # We do not listen ourselves while we wait for Redis or do not know whether we are still who we were; a
        # peer that the writer waits for is judged by the writer.
        excused = self._patience.is_needed or self._wire.busy or self._role.heart.absent
        if self._wire.pulse.is_lost(now, excused=excused):
            self._end(self._endings.no_pong)
        elif self._wire.pulse.ping_due:
            self._ping()
        self._plan()

    def _ping(self) -> None:
        if self._is_over() or not self._may_interject:
            self.wake()
            return
        try:
            self._pinged()
            self._wire.write_ping()
        except Disconnected as gone:
            self._end(self._endings.of_peer(gone))
        if self._wire.busy:
            self.wake()

    def _pinged(self) -> None:
        super()._pinged()
        self._plan()

    def _is_over(self) -> bool:
        return self._ending is not None

    def _end(self, how: Ending) -> None:
        """The first ending counts. The writer finishes what it must; all is over within CLOSE_SECONDS."""
        if self._ending is None:
            self._ending = how
            self._close_by = self._role.close_by()
            if self._writer is not None:
                self._writer.deadline = self._close_by
            if self._hearing is not None:
                self._hearing.cancel()
            self._wire.interrupt()
            if self._writing or how.is_draining:
                self.wake()

    async def _close(self) -> None:
        how = self._ending
        assert how is not None
        by = min(self._close_by, self._role.close_by())
        with trio.CancelScope(deadline=by, shield=True), suppress(Disconnected):
            await trio.sleep_until(min(by, self._close_from))
            if how.last is not None:
                await self._wire.send(how.last)
        await self._wire.close(how.code, how.detail, by=by)
        self._role.metrics.closes.labels(how.label).inc()

    def _followed(self, messages: Sequence[MessageRecord]) -> Iterator[tuple[bytes, int, float]]:
        """Of those read from the store, the ones that are followed; see Trail.deliver_all."""
        if self._role.traces is OFF:
            return
        now_ms = self._role.heart.registry_now_ms()
        for message in messages:
            if context := self._role.inbox.render.trace(message):
                yield context, message.ref.seq, now_ms - message.sent_at_ms

    # --- writing -----------------------------------------------------------------------------------------------------

    async def _write(self) -> None:
        try:
            with trio.CancelScope(deadline=self._close_by) as self._writer:
                await self._write_all()
        except Problem as problem:
            self.end(problem)
        except Disconnected as gone:
            self._end(self._endings.of_peer(gone))
        except Exception as error:  # a mistake of ours ends this connection, and no other
            self._role.log.error("connection_crashed", exc_info=error)
            self._end(self._endings.stopped)
        finally:
            self._writing, self._writer = False, None
            if self._written is not None:
                self._written.set()

    async def _write_all(self) -> None:
        """Until nothing is left to do. Raises Problem, Disconnected."""
        if not self._greeted:
            self._greeted = True
            await self._greet()
        while not self._is_over():
            self._more = False
            await self._keep_alive()
            if not await self._write_next() and not self._more:
                return
        if self._ending is not None and self._ending.is_draining:
            await self._write_rest()

    async def _written_out(self) -> None:
        """Until there is no writer."""
        while self._writing:
            self._written = trio.Event()
            await self._written.wait()

    # --- reading -----------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        """Until it is over. Raises Problem."""
        while not self._is_over():
            try:
                message = await self._wire.receive()
            except Interrupted:
                return
            except Disconnected as gone:
                self._end(self._endings.of_peer(gone))
                return
            if self._role.heart.absent:
                await self._unless_over(self._role.present())
            if self._is_over():
                return
            if (work := self._hear(message)) is not None:
                await self._unless_over(work)

    async def _unless_over(self, work: Awaitable[object]) -> None:
        """Wait for it, but no longer than the connection lives."""
        with trio.CancelScope() as self._hearing:
            await work
        self._hearing = None

    @property
    def is_held_back(self) -> bool:
        """It sends too fast, and is read later."""
        return self._wire.held_back

    # --- measuring ---------------------------------------------------------------------------------------------------

    def _note_delivered(self, way: str, accepted_ms: Sequence[int]) -> None:
        """Messages that were accepted then (0: nobody knows when) have just been written; `way`: see metrics."""
        now_ms = self._role.heart.registry_about_ms()
        tally = self._role.metrics.delivery_seconds[way]
        for each in accepted_ms:
            if each:
                tally.add((now_ms - each) / 1000)

    def _note_acknowledged(self, done: Sequence[tuple[int, float]], cursor: Cursor | None) -> None:
        """`done`: how many messages, written when."""
        now = trio.current_time()
        for messages, written_at in done:
            self._role.metrics.acknowledge_seconds.add(now - written_at, messages)
        self._note(Stage.ACKNOWLEDGED, sum(messages for messages, _ in done), cursor)

    def _note(self, stage: Stage, messages: int, cursor: Cursor | None) -> None:
        """Count and log a stage that messages reached on this device; `seq`: up to where in the user's log."""
        if messages:
            self._role.metrics.stage(stage, messages)
            seq = cursor.position.seq if cursor else None
            self._role.log.info(stage.value, user=self.user, device=self.device, messages=messages, seq=seq)
