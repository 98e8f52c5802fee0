"""One browser's connection in Mozilla's subprotocol `push-notification` (docs/protocol.md, section 5).

A browser has no cursor: what it has not acknowledged is what is unread. So nothing is tailed here. The unread messages
are the queue; a hint only says that there may be more of them, and the order of steps is that of tail.py: join, claim,
read, so a message is either read or its hint comes after.

Owns: what a browser is told and in which order, its window, its first subscription.
Promises: a message is sent once on a connection, and what was acknowledged is gone from the store before anything that
the browser says later is answered; at most MAX_OUTSTANDING messages are unacknowledged; replies keep the order of what
they answer. Must not know: WebSockets (wire.py), how a connection lives and ends (held.py), what a UAID is.
"""

import math
from collections import deque
from collections.abc import Awaitable
from typing import TYPE_CHECKING

import trio

from pushctl.errors import LimitReached, StoreUnavailable
from pushctl.ids import Cursor, Position
from pushctl.inbox import Browser
from pushctl.inbox.render import notification_of_event
from pushctl.points import Point, passed
from pushctl.protocol import jobs, mozilla
from pushctl.registry.browsers import Undelivered
from pushctl.stages import Stage
from roles.socket.ending import OF_BROWSERS, SlowConsumer
from roles.socket.held import Held
from roles.socket.listening import Listening
from roles.socket.trail import Trail
from roles.socket.window import Window
from roles.socket.wire import Wire

if TYPE_CHECKING:
    from roles.socket.serve import SocketRole

MAX_OUTSTANDING = 50
MAX_REPLIES = 16
"""That wait for a browser to take them: it is not read until it has."""

MAX_EPHEMERAL = 16
"""Messages with TTL 0 that wait; more are lost, as they may be."""

SETTLE_SECONDS = 0.1
"""Firefox loses its way when it is dropped within a millisecond after it was given a new UAID."""


class BrowserConnection(Held):
    """`hello` was said by a browser that was recognised; `run` does the rest."""

    __slots__ = (
        "_after",
        "_at",
        "_behind",
        "_browser",
        "_caught_up",
        "_conversation",
        "_ephemeral",
        "_has_news",
        "_heard",
        "_hints",
        "_listening",
        "_replies",
        "_room",
        "_trail",
        "_wanted",
        "_window",
    )

    def __init__(
        self,
        role: "SocketRole",
        wire: Wire,
        browser: Browser,
        hello: mozilla.Hello,
        conversation: mozilla.Conversation,
    ) -> None:
        super().__init__(role, wire, browser.user, browser.device, OF_BROWSERS)
        self._browser = browser
        self._wanted = hello.broadcasts or {}
        self._listening = Listening()
        self._has_news = False
        self._conversation = conversation
        self._window = Window(MAX_OUTSTANDING, stall_seconds=role.config.socket.stall_seconds)
        self._replies: deque[bytes] = deque()
        self._room = trio.Semaphore(MAX_REPLIES, max_value=MAX_REPLIES)
        self._ephemeral: deque[tuple[bytes, float, int, bytes | None]] = deque()
        """(frame, when it is too late, when it was accepted, its trace)"""
        self._trail = Trail.of(role.traces, mozilla.SUBPROTOCOL)
        self._behind = False
        self._caught_up = False
        """It was sent once all that had waited for it."""
        self._at: Cursor | None = None
        """Where the log ended at the last look at what is unread, and the number up to which that was sent."""
        self._after = 0
        self._hints = 0
        self._heard: Cursor | None = None
        """The last place that a hint named."""

    @property
    def is_stored(self) -> bool:
        return self._browser.stored

    def _claimed(self, *, lowered: bool) -> None:
        self.fall_behind()

    def _plan(self) -> None:
        super()._plan()
        if self._window.room <= 0:  # until it acknowledges, every look counts
            self.due = -math.inf

    def check(self, now: float) -> None:
        if self._patience.is_needed:
            self._window.wait_for(now)
        if self._window.is_stalled(now):
            self.end(SlowConsumer("this browser acknowledges nothing"))
        else:
            super().check(now)

    def _word_to_leave(self) -> bytes | None:
        return None  # the protocol has none

    # --- hints (from the hub; none of these waits) -------------------------------------------------------------------

    @property
    def is_behind(self) -> bool:
        return self._behind

    def is_at(self, last: Cursor) -> bool:
        return self._behind or self._at == last

    def fall_behind(self) -> None:
        self._note_behind(None)
        self.wake()

    def hear_appended(self, job: jobs.Appended) -> None:
        last = job.events[-1]
        heard = Cursor(job.epoch, Position(last.seq, last.tag))
        if not _covers(self._at, heard):
            self._note_behind(heard)

    def _note_behind(self, heard: Cursor | None) -> None:
        self._hints += 1
        self._heard = heard
        self._behind = True

    def hear_ephemeral(self, job: jobs.Ephemeral, *, seconds_left: float) -> None:
        if len(self._ephemeral) < MAX_EPHEMERAL:
            frame = mozilla.encode(notification_of_event(job.frame))
            until = trio.current_time() + seconds_left
            self._ephemeral.append((frame, until, job.until_ms - jobs.EPHEMERAL_MS, job.trace))

    def speak(self) -> None:
        self.wake()

    def session_ends(self, job: jobs.SessionEnds) -> None:
        pass  # it has none

    def hear_broadcasts(self) -> None:
        """Some have changed, perhaps one that it listens to. Waits for nothing."""
        self._has_news = True
        self.wake()

    # --- writing -----------------------------------------------------------------------------------------------------

    async def _greet(self) -> None:
        changed = self._listening.ask(self._wanted, self._role.broadcasts.versions)
        await self._send(mozilla.encode(mozilla.HelloReply(self._browser.uaid, changed)))
        if not self.is_stored:
            self._close_from = trio.current_time() + SETTLE_SECONDS

    async def _write_aside(self) -> bool:
        if self._replies or self._ephemeral:
            await self._write_rest()
        elif self._has_news:
            self._has_news = False
            if changed := self._listening.changes(self._role.broadcasts.versions):
                await self._send(mozilla.encode(mozilla.Broadcast({**changed})))
        else:
            return False
        return True

    async def _write_next(self) -> bool:
        if await self._write_aside():
            return True
        if self._behind and self._window.room > 0:
            await self._deliver()
            return True
        return False

    async def _write_rest(self) -> None:
        while self._replies:
            self._room.release()
            await self._send(self._replies.popleft())
        while self._ephemeral:
            frame, until, accepted_ms, trace = self._ephemeral.popleft()
            if trio.current_time() < until:
                with self._trail.deliver(trace):
                    await self._send(frame)
                self._note_delivered("hint", [accepted_ms])
                self._note(Stage.WRITTEN, 1, None)

    async def _deliver(self) -> None:
        """Send what is unread, as much as the window has room for."""
        hints = self._hints
        page = await self._patience.ask(self._page, meanwhile=self._write_meanwhile)
        sent = 0
        for message in page.messages:
            if self._window.holds(message.ref):
                continue
            # Before it is sent: an acknowledgement may come back faster than the send returns.
            self._window.sent(message.ref, trio.current_time())
            with self._trail.deliver_all(self._followed([message])):
                await self._send(mozilla.encode(self._role.inbox.render.notification(self.user, message)))
            self._note_delivered("log" if self._caught_up else "sync", [message.sent_at_ms])
            sent += 1
            await self._write_rest()
        self._at, self._after = page.end, page.after
        self._behind = page.more or (self._hints != hints and not _covers(self._at, self._heard))
        self._caught_up = self._caught_up or not page.more
        self._plan()
        self._note(Stage.WRITTEN, sent, self._at)
        await passed(Point.LIVE)

    async def _page(self) -> Undelivered:
        await self._role.settling.write(self.user)  # what an older connection of this browser was done with
        page = await self._role.browsers.undelivered(
            self.user,
            self._at,
            self._after,
            limit=self._window.room,
            page_bytes=self._role.config.socket.page_bytes,
        )
        await passed(Point.READ)
        return page

    # --- reading -----------------------------------------------------------------------------------------------------

    def _hear(self, message: str | bytes) -> Awaitable[object] | None:
        match self._conversation.hear(message, trio.current_time()):
            case mozilla.Register(channel, key):
                return self._register(channel, key)
            case mozilla.Unregister(channel):
                return self._unregister(channel)
            case mozilla.Ack(updates):
                return self._acknowledge([update.version for update in updates])
            case mozilla.Ping():
                return self._reply(mozilla.PONG)
            case mozilla.BroadcastSubscribe(broadcasts):
                if changed := self._listening.ask(broadcasts, self._role.broadcasts.versions):
                    return self._reply(mozilla.encode(mozilla.Broadcast(changed)))
            case mozilla.Nack() | mozilla.Hello():
                pass
        return None

    async def _reply(self, frame: bytes) -> None:
        await self._room.acquire()
        self._replies.append(frame)
        self.wake()

    async def _register(self, channel: str, key: str | None) -> None:
        await self._reply(mozilla.encode(await self._registered(channel, key)))

    async def _registered(self, channel: str, key: str | None) -> mozilla.RegisterReply:
        try:
            vapid_key = mozilla.parse_key(key)
        except ValueError:
            return mozilla.RegisterReply(channel, 400, "the key is no uncompressed P-256 point in base64url")
        try:
            if not self._browser.stored:
                self._browser = await self._role.browsers.store(self._browser)
            # Before anybody knows the push URL: what is sent to it finds this connection.
            if not self.has_lease:
                await self._claim()
            url = await self._role.browsers.subscribe(self._browser, channel, vapid_key)
        except LimitReached:
            return mozilla.RegisterReply(channel, 409, "")
        except StoreUnavailable:
            return mozilla.RegisterReply(channel, 500, "")
        return mozilla.RegisterReply(channel, 200, url)

    async def _unregister(self, channel: str) -> None:
        await self._reply(mozilla.encode(await self._unregistered(channel)))

    async def _unregistered(self, channel: str) -> mozilla.UnregisterReply:
        try:
            await self._role.browsers.unsubscribe(self._browser, channel)
        except StoreUnavailable:
            return mozilla.UnregisterReply(channel, 500)
        return mozilla.UnregisterReply(channel, 200)

    async def _acknowledge(self, versions: list[str]) -> None:
        """Any code means that the browser is done with it."""
        settling = self._role.settling
        refs = self._role.inbox.own(self.user, versions)
        settling.note(self.user, refs)
        written = False
        try:
            gone = await self._patience.ask(lambda: settling.write(self.user))
            written = True
        finally:
            if not written:
                settling.abandon(self.user)
        now = trio.current_time()
        for sent_at in self._window.done(refs, now):
            self._role.metrics.acknowledge_seconds.add(now - sent_at)
        self._trail.acknowledged([ref.seq for ref in refs])
        self._note(Stage.ACKNOWLEDGED, gone, None)
        self.wake()


def _covers(end: Cursor | None, place: Cursor | None) -> bool:
    """Whether who has read up to the log's end has all up to that place."""
    if end is None or place is None or end.epoch != place.epoch:
        return False
    return place.position.seq < end.position.seq or place == end
