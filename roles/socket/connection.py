"""One device's connection, from hello to close.

Owns: the two tasks of a connection (one reads frames, one writes), its session, and how it ends.
Promises: the writer alone writes, so frames never mix; whatever ends the connection, the lease is given back, the peer
is told why if it still listens, and TCP is dropped within two seconds. While Redis is away the connection stays.
Must not know: WebSockets (wire.py), where hints come from (hub.py), what to send next (tail.py).
"""

import math
import random
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import trio

from pushctl.errors import Problem, RateLimited, StoreUnavailable, TooSlow, Unauthenticated
from pushctl.ids import ConnectionId, Cursor, new_id
from pushctl.inbox import Session
from pushctl.inbox.inbox import parse_cursor
from pushctl.points import Point, passed
from pushctl.protocol import frames
from pushctl.protocol.jobs import Ephemeral, SessionEnds
from pushctl.registry.messages import Delta, Snapshot, SnapshotPlace
from pushctl.registry.records import MessageEntry
from pushctl.stages import Stage
from roles.socket.tail import Prepared, Tail
from roles.socket.wire import Disconnected, Flooded, Stalled, Wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from roles.socket.serve import SocketRole

HOLE_SECONDS = 0.010
"""How long hints are waited for whose successors came first, before the log is read."""

MAX_PONGS = 16
"""Answers to pings that may wait; a peer that asks faster gets fewer."""

T = TypeVar("T")
_PONG = frames.encode(frames.Pong())
_DRAINING = 4001


@dataclass(frozen=True, slots=True)
class Ending:
    code: int
    detail: str
    last: bytes | None
    """A frame to send before the close."""
    by_peer: bool = False
    """It chose the code."""


class SlowConsumer(Problem):
    status, code, title, close_code = 408, "too_slow", "The device takes no data", 4002


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
        self._waits_for_redis = False
        self._claiming = False
        """A claim is on its way, and nobody knows whether it ran."""
        self._pongs = 0
        self._ping_due = False
        self._pong_missed = False
        self._unacknowledged = 0
        """Messages written since the device last said that all it was sent is safe."""
        self._ending: Ending | None = None
        self._leave_at = math.inf
        """The moment at which a draining server asked the device to go."""
        self._leave_said = True
        self.leave_by = math.inf
        """When it is closed if it did not."""
        self._reading = trio.CancelScope()
        self._writing = trio.CancelScope()
        self._close_by = math.inf
        self.session_deadline = trio.current_time() + role.seconds_left(session.expires_at_ms)
        self.pong_by = math.inf
        """When the pong to the ping that was written is overdue."""
        self.next_ping = trio.current_time() + role.config.socket.ping_seconds * random.random()  # noqa: S311 - spread
        wire.on_pong_owed = self.wake
        wire.on_pong = self._ponged

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
        retry = problem.close_code < 4500
        error = frames.ErrorFrame(problem.code, problem.detail, retry)
        self._end(Ending(problem.close_code, problem.detail, frames.encode(error)))

    def displaced(self) -> None:
        detail = "a newer connection of this device took over"
        self._end(Ending(4503, detail, frames.encode(frames.ErrorFrame("replaced", detail, retry=False))))

    def bereft(self) -> None:
        """A newer connection took the lease and gave up: perhaps this one may have it back."""
        self._role.look_at(self.user)

    def signed_out(self) -> None:
        detail = "this session expired, was signed out or its device removed; log in again"
        self._end(Ending(4504, detail, frames.encode(frames.ErrorFrame("session_ended", detail, retry=False))))

    def drain(self, after_ms: int) -> None:
        """End now; the device is to come back after so long."""
        self._end(Ending(_DRAINING, "draining", frames.encode(frames.Reconnect(after_ms, "draining"))))

    def ask_to_leave(self, after_seconds: float, *, closed_after: float) -> None:
        """Back to the Box Office then. Until it goes, or is closed after so many seconds, all comes here as before."""
        now = trio.current_time()
        self._leave_at, self.leave_by, self._leave_said = now + after_seconds, now + closed_after, False
        self.wake()

    @property
    def was_asked_to_leave(self) -> bool:
        return self.leave_by < math.inf

    def may_stay(self) -> None:
        """Unless it goes by itself: what was said cannot be taken back."""
        self._leave_at, self.leave_by, self._leave_said = math.inf, math.inf, True

    def leave_now(self) -> None:
        """End a connection that was asked to leave."""
        self._end(Ending(_DRAINING, "draining", None if self._leave_said else self._reconnect()))

    def _reconnect(self) -> bytes:
        after_ms = max(0, int((self._leave_at - trio.current_time()) * 1000))
        return frames.encode(frames.Reconnect(after_ms, "draining"))

    def no_pong(self) -> None:
        """Called a second apart while the pong is overdue. Believed at the second time: it may have come, and wait to
        be read, as we have just been kept from running. Not while we ourselves do not listen, waiting for Redis or not
        knowing whether we are still who we were, nor while the writer waits for the peer and judges it."""
        if self._waits_for_redis or self._wire.sending or self._role.heart.absent:
            self.pong_by = trio.current_time() + self._role.config.socket.pong_seconds
        elif self._pong_missed:
            self._end(Ending(4004, "no pong", None))
        else:
            self._pong_missed = True

    def _ponged(self) -> None:
        self.pong_by, self._pong_missed = math.inf, False

    def _end(self, ending: Ending) -> None:
        """The first ending counts. The writer finishes what it must; all is over within CLOSE_SECONDS."""
        if self._ending is None:
            self._ending = ending
            self._reading.cancel()
            self._close_by = self._writing.deadline = self._role.close_by()
            self.wake()

    def _gone(self, gone: Disconnected) -> None:
        if isinstance(gone, Stalled):
            self.end(SlowConsumer("this device did not take data for too long"))
        elif isinstance(gone, Flooded):
            self.end(RateLimited("this device sends frames too fast"))
        self._end(Ending(1000 if gone.code == 1006 else gone.code, "", None, by_peer=True))

    async def _close(self) -> None:
        ending = self._ending or Ending(_DRAINING, "this server stops", None)
        by = min(self._close_by, self._role.close_by())
        with trio.CancelScope(deadline=by, shield=True), suppress(Disconnected):
            if ending.last is not None:
                await self._wire.send(ending.last)
        await self._wire.close(ending.code, ending.detail, by=by)
        # A peer may close with any of thousands of codes: no label for each.
        label = "peer" if ending.by_peer and ending.code >= 3000 else str(ending.code)
        self._role.metrics.closes.labels(label).inc()

    def ping(self) -> None:
        """Have a WebSocket ping written. Does not wait."""
        self._ping_due = True
        self.wake()

    def wake(self) -> None:
        self._woken.set()

    # --- hints (from the hub; none of these waits) -------------------------------------------------------------------

    def hear_ephemeral(self, job: Ephemeral, *, seconds_left: float) -> None:
        until = trio.current_time() + seconds_left
        if self.tail.offer_ephemeral(job.rank, job.frame, until):
            self.wake()

    def session_ends(self, job: SessionEnds) -> None:
        if job.device not in (None, self.device) or job.session not in (None, self.session.hash):
            return
        if job.in_ms:
            self.session_deadline = min(self.session_deadline, trio.current_time() + job.in_ms / 1000)
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
                if self._ending.code == _DRAINING:
                    await self._write_rest()
            except Problem as problem:
                self.end(problem)
            except Disconnected as gone:
                self._gone(gone)

    async def _write_next(self) -> None:
        await self._keep_alive()
        prepared = self.tail.take()
        if self._pongs:
            self._pongs -= 1
            await self._send(_PONG)
        if not self._leave_said:
            self._leave_said = True
            await self._send(self._reconnect())
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

    async def _keep_alive(self) -> None:
        if self._wire.owes_pong:
            await self._wire.pong()
        if self._ping_due:
            self._ping_due = False
            self.pong_by = min(self.pong_by, trio.current_time() + self._role.config.socket.pong_seconds)
            await self._wire.ping()

    async def _read_log(self) -> None:
        """Bring the device to the log's end: a delta, or all pages of a snapshot."""
        heard = self.tail.begin_read()
        page = await self._patiently(lambda: self._page(self.tail.cursor))
        while isinstance(page, Snapshot) and not page.done:
            await self._send(self._frame(page))
            place = page.next
            page = await self._patiently(lambda place=place: self._page(place))  # type: ignore[misc]  # bound now
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
                self._gone(gone)

    async def _receive(self, frame: frames.ClientFrame) -> None:
        await self._role.present()
        match frame:
            case frames.Ack(cursor):
                self._acknowledge(cursor)
            case frames.Read(ids, upto):
                await self._patiently(lambda: self._role.inbox.read(self.user, ids=ids, upto=upto))
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
        session = await self._patiently(lambda: self._role.accounts.session_of_token(token))
        if (session.user, session.device) != (self.user, self.device):
            raise Unauthenticated("this token is another device's", field="$.token")
        old, self.session = self.session, session
        self.session_deadline = trio.current_time() + self._role.seconds_left(session.expires_at_ms)
        await self._patiently(lambda: self._role.accounts.renewed(old.hash, session))

    def _note(self, stage: Stage, messages: int, cursor: Cursor | None) -> None:
        """Count and log a stage that messages reached on this device; `seq`: up to where in the user's log."""
        if messages:
            self._role.metrics.stage(stage, messages)
            seq = cursor.position.seq if cursor else None
            self._role.log.info(stage.value, user=self.user, device=self.device, messages=messages, seq=seq)

    async def _patiently(self, ask: "Callable[[], Awaitable[T]]") -> T:
        """Ask the registry, again and again while it is away: Redis being slow closes no connection. Only for what may
        be repeated: reading, and marking read."""
        try:
            while True:
                try:
                    return await ask()
                except StoreUnavailable as error:
                    if error.close_code != StoreUnavailable.close_code:
                        raise
                    self._waits_for_redis = True
                    await self._role.registry.wait_for(self.user)
                    await trio.sleep(random.uniform(0.1, 0.5))  # noqa: S311 - jitter is no secret
        finally:
            self._waits_for_redis = False


def decode(message: str | bytes) -> frames.ClientFrame:
    if isinstance(message, bytes):
        raise frames.FrameInvalid("binary frames mean nothing here; send JSON as text", field="$")
    return frames.decode_client_frame(message)


async def read_hello(wire: Wire, seconds: float) -> frames.Hello:
    """The first frame, which must be a hello. Raises Problem or Disconnected."""
    with trio.move_on_after(seconds):
        frame = decode(await wire.receive())
        if not isinstance(frame, frames.Hello):
            raise frames.FrameInvalid("the first frame is hello", field="$.type")
        return frame
    raise TooSlow(f"no hello within {seconds:g} s")
