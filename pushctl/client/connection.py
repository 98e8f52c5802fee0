"""One open connection of a device to a socket server, from hello to its end (docs/protocol.md, section 4).

Owns: hello and welcome, taking frames in, acknowledging them in batches, repeating unconfirmed reads, the token frame,
and noticing that the server is gone.
Promises: a frame is in the store before it is told and before it is acknowledged; at most one ack per 200 ms or 20
frames; no frame follows one whose sending was cancelled half-way.
Must not know: how a WebSocket is opened and closed (dialing.py), which server to try next (protocol/peer.py), where
events are shown.
"""

from dataclasses import dataclass
from typing import Final

import trio
import trio_websocket

from pushctl.client import events
from pushctl.client.api import READ_BATCH
from pushctl.client.dialing import NotConnected
from pushctl.client.intake import Intake
from pushctl.client.store import Store
from pushctl.protocol import frames
from pushctl.protocol.frames import ClientFrame, FrameInvalid, Urgency

WELCOME_SECONDS: Final = 10.0
PONG_SECONDS: Final = 20.0
LEAST_PING_SECONDS: Final = 1.0
"""However often the server says that it pings."""

GOODBYE_SECONDS: Final = 1.0
"""For the last ack."""

ACK_SECONDS: Final = 0.2
ACK_FRAMES: Final = 20

NO_CODE: Final = 1006
"""What WebSocket calls an end without a close code (RFC 6455, section 7.1.5)."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a connection ended: its close code, NO_CODE without one, and why in words."""

    code: int
    reason: str


class Connection:
    """What happens on one open WebSocket."""

    def __init__(
        self,
        socket: trio_websocket.WebSocketConnection,
        store: Store,
        watchers: trio.MemorySendChannel[events.Event],
        min_urgency: Urgency,
    ) -> None:
        self._socket = socket
        self._store = store
        self._watchers = watchers
        self._min_urgency = min_urgency
        self._intake = Intake(store, min_urgency)
        self._sends_begun = 0
        self._sends_finished = 0
        self._unacknowledged = trio.Event()
        self._batch_full = trio.Event()
        self._reads_waiting = trio.Event()
        self._token_changed = trio.Event()
        self._leave_asked = trio.Event()
        self._reads_said: set[str] = set()
        self._last_error: frames.ErrorFrame | None = None
        self.leave_at: float | None = None
        """The moment (trio.current_time) a `reconnect` frame named for going back to the Box Office."""

    def reads_are_waiting(self) -> None:
        """A message was marked read in the store: say so to the server."""
        self._reads_waiting.set()

    def token_changed(self) -> None:
        """The session in the store was renewed: tell the server, so that the older one may end."""
        self._token_changed.set()

    async def greet(self, token: str) -> frames.Welcome | Ended:
        """Hello and the answer to it, within WELCOME_SECONDS. Raises NotConnected if there is none."""
        hello = frames.Hello(
            token=token, cursor=self._store.resume_cursor(self._min_urgency), min_urgency=self._min_urgency
        )
        with trio.move_on_after(WELCOME_SECONDS):
            try:
                await self._send(hello)
                while True:
                    frame = await self._receive()
                    if isinstance(frame, frames.Welcome):
                        return frame
                    if isinstance(frame, frames.ErrorFrame):
                        self._last_error = frame
                    if isinstance(frame, frames.Reconnect):
                        self._asked_to_leave(frame.after_ms)
            except trio_websocket.ConnectionClosed as closed:
                return self._ended(closed)
            except FrameInvalid as error:
                raise NotConnected(f"does not speak {frames.SUBPROTOCOL}: {error}") from None
        raise NotConnected(f"no welcome within {WELCOME_SECONDS:g} s")

    async def live(self, ping_seconds: float) -> Ended:
        """Until the connection is over. Everything it brings is applied, told and acknowledged."""
        ended = Ended(NO_CODE, "the server does not answer any more")
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._acknowledge)
                nursery.start_soon(self._repeat_reads)
                nursery.start_soon(self._say_new_token)
                nursery.start_soon(self._watch_pulse, ping_seconds, nursery.cancel_scope)
                nursery.start_soon(self._leave_when_asked, nursery.cancel_scope)
                ended = await self._take_frames()
                nursery.cancel_scope.cancel()
        finally:
            await self._say_goodbye()
        if self.leave_at is not None and ended.code == NO_CODE:
            return Ended(1000, "the server asked to reconnect")
        return ended

    # --- in ----------------------------------------------------------------------------------------------------------

    async def _take_frames(self) -> Ended:
        while True:
            try:
                frame = await self._receive()
                match frame:
                    case None | frames.Pong() | frames.Welcome():
                        pass
                    case frames.Ping():
                        await self._send(frames.Pong())
                    case frames.Reconnect(after_ms):
                        self._asked_to_leave(after_ms)
                    case frames.ErrorFrame():
                        self._last_error = frame
                    case _:
                        await self._take_in(frame)
            except trio_websocket.ConnectionClosed as closed:
                return self._ended(closed)
            except FrameInvalid as error:
                return Ended(NO_CODE, f"the server sent what this client does not understand: {error}")

    async def _take_in(self, frame: frames.Event | frames.DeltaFrame | frames.SnapshotFrame) -> None:
        news = self._intake.take(frame)
        if self._intake.unacknowledged is not None:
            self._unacknowledged.set()
            if self._intake.frames_unacknowledged >= ACK_FRAMES:
                self._batch_full.set()
        for event in news:
            # Bounded: a display that does not keep up stops the reading, and the server stops sending.
            await self._watchers.send(event)
            if isinstance(event, events.SyncEvent):
                self._reads_said.clear()
                self._reads_waiting.set()

    async def _receive(self) -> frames.ServerFrame | None:
        return frames.decode_server_frame(await self._socket.get_message())

    def _asked_to_leave(self, after_ms: int) -> None:
        self.leave_at = trio.current_time() + max(after_ms, 0) / 1000
        self._leave_asked.set()

    def _ended(self, closed: trio_websocket.ConnectionClosed) -> Ended:
        code = closed.reason.code if closed.reason is not None else NO_CODE
        said = self._last_error.detail if self._last_error is not None else None
        reason = said or (closed.reason.reason if closed.reason is not None else None)
        return Ended(code, reason or ("the connection broke" if code == NO_CODE else f"closed with {code}"))

    # --- out ---------------------------------------------------------------------------------------------------------

    async def _send(self, frame: ClientFrame) -> None:
        # Cancelled here, nothing of the frame is written, and others may follow.
        await trio.lowlevel.checkpoint_if_cancelled()
        self._sends_begun += 1
        await self._socket.send_message(frames.encode(frame).decode())
        self._sends_finished += 1

    async def _acknowledge(self) -> None:
        while True:
            await self._unacknowledged.wait()
            with trio.move_on_after(ACK_SECONDS):
                await self._batch_full.wait()
            self._unacknowledged, self._batch_full = trio.Event(), trio.Event()
            if not await self._send_ack():
                return

    async def _send_ack(self) -> bool:
        """False if the connection is closed."""
        cursor = self._intake.acknowledged()
        try:
            if cursor is not None:
                await self._send(frames.Ack(cursor))
        except trio_websocket.ConnectionClosed:
            return False
        return True

    async def _repeat_reads(self) -> None:
        """After each hello all that is not confirmed (once what was missed is known: it may be the confirmation), then
        whatever is read here."""
        while True:
            await self._reads_waiting.wait()
            if not await self._say_reads():
                return

    async def _say_reads(self) -> bool:
        """False if the connection is closed."""
        self._reads_waiting = trio.Event()
        ids = [i for i in self._store.pending_reads() if i not in self._reads_said]
        try:
            for start in range(0, len(ids), READ_BATCH):
                await self._send(frames.Read(ids=ids[start : start + READ_BATCH]))
        except trio_websocket.ConnectionClosed:
            return False
        self._reads_said.update(ids)
        return True

    async def _say_new_token(self) -> None:
        while True:
            await self._token_changed.wait()
            self._token_changed = trio.Event()
            session = self._store.session()
            try:
                if session is not None:
                    await self._send(frames.Token(session.token))
            except trio_websocket.ConnectionClosed:
                return

    async def _watch_pulse(self, ping_seconds: float, connection: trio.CancelScope) -> None:
        """The server's own pings are answered by the library; ours notice a server that is no longer there."""
        while True:
            await trio.sleep(ping_seconds)
            with trio.move_on_after(PONG_SECONDS) as waited:
                try:
                    await self._socket.ping()
                except trio_websocket.ConnectionClosed:
                    return
            if waited.cancelled_caught:
                connection.cancel()

    async def _leave_when_asked(self, connection: trio.CancelScope) -> None:
        """A draining server names a moment; until then messages still come here."""
        await self._leave_asked.wait()
        assert self.leave_at is not None
        await trio.sleep_until(self.leave_at)
        connection.cancel()

    async def _say_goodbye(self) -> None:
        """The last ack and what was read a moment ago, also when we are cancelled; never into a frame that was cut
        off."""
        if self._sends_begun != self._sends_finished or self._socket.closed is not None:
            return
        with trio.move_on_after(GOODBYE_SECONDS, shield=True):
            if await self._send_ack():
                await self._say_reads()
