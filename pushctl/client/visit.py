"""One open connection of a member of a swarm, from hello to its end: what connection.py is for a phone, in one task.

Owns: hello and welcome, taking frames in, acknowledging and reading in batches, noticing that the server is gone.
Promises: as connection.py: at most one ack per 200 ms or 20 frames, unconfirmed reads said again after each hello,
the moment of a `reconnect` frame kept, a silent server asked and then left.
Must not know: how a WebSocket is opened and closed, which server is next, what is counted beside the ledger.

There is one deadline and no timer: whatever is due first (an ack, leaving, asking a silent server) ends the waiting for
bytes. Only that waiting is ever cut short, so no frame is left half written.
"""

from collections.abc import Callable
from math import inf
from typing import Final

import trio

from pushctl.client import events
from pushctl.client.api import READ_BATCH
from pushctl.client.connection import (
    ACK_FRAMES,
    ACK_SECONDS,
    LEAST_PING_SECONDS,
    NO_CODE,
    PONG_SECONDS,
    WELCOME_SECONDS,
)
from pushctl.client.dialing import NotConnected
from pushctl.client.intake import Intake
from pushctl.client.ledger import DeviceLedger
from pushctl.client.websocket import Closed, WebSocket
from pushctl.protocol import frames
from pushctl.protocol.frames import ClientFrame, FrameInvalid, Urgency

QUIET_PINGS: Final = 1.5
"""A server that said nothing for so many of its own ping intervals is asked whether it is still there."""


class Visit:
    __slots__ = (
        "_flush_at",
        "_intake",
        "_ledger",
        "_min_urgency",
        "_pinged",
        "_pongs",
        "_quiet_at",
        "_quiet_seconds",
        "_up_to_date",
        "_websocket",
        "leave_at",
        "welcomed_at",
    )

    def __init__(
        self, websocket: WebSocket, ledger: DeviceLedger, min_urgency: Urgency, up_to_date: Callable[[], None]
    ) -> None:
        """`up_to_date` is called whenever all that was missed has been said."""
        self._websocket = websocket
        self._ledger = ledger
        self._min_urgency = min_urgency
        self._up_to_date = up_to_date
        self._intake = Intake(ledger, min_urgency)
        self._pongs = 0
        self._pinged = False
        self._flush_at = inf
        self._quiet_at = inf
        self._quiet_seconds = inf
        self.leave_at = inf
        """The moment (trio.current_time) a `reconnect` frame named for going back to the Box Office."""
        self.welcomed_at: float | None = None

    async def run(self, token: str) -> int:
        """Until it is over: the close code. Raises NotConnected if the server never says welcome."""
        self._ledger.begin_connection()
        hello = frames.Hello(token=token, cursor=self._ledger.cursor, min_urgency=self._min_urgency)
        try:
            await self._send(hello)
            self._quiet_at = trio.current_time() + WELCOME_SECONDS
            while await self._next():
                pass
        except Closed as closed:
            return closed.code
        except FrameInvalid as error:
            if self.welcomed_at is None:
                raise NotConnected(f"does not speak {frames.SUBPROTOCOL}: {error}") from None
            return NO_CODE
        if self.welcomed_at is None:
            raise NotConnected(f"no welcome within {WELCOME_SECONDS:g} s")
        return 1000 if self.leave_at <= trio.current_time() else NO_CODE

    async def _next(self) -> bool:
        """Waits for something to do, and does it. False when it is time to go."""
        with trio.CancelScope(deadline=min(self._flush_at, self.leave_at, self._quiet_at)) as waiting:
            await self._websocket.wait()
        now = trio.current_time()
        for text in self._websocket.messages():
            self._take(frames.decode_server_frame(text), now)
        await self._websocket.answer()
        for _ in range(self._pongs):
            await self._send(frames.Pong())
        self._pongs = 0
        if self._flush_at <= now or self._intake.frames_unacknowledged >= ACK_FRAMES:
            await self.flush()
        if not waiting.cancelled_caught and self.welcomed_at is not None:
            self._quiet_at, self._pinged = now + self._quiet_seconds, False
        return self.leave_at > now and (self._quiet_at > now or await self._ask_whether_it_lives())

    async def _ask_whether_it_lives(self) -> bool:
        """False if it was asked already, or never said welcome."""
        if self._pinged or self.welcomed_at is None:
            return False
        await self._websocket.ping()
        self._quiet_at, self._pinged = trio.current_time() + PONG_SECONDS, True
        return True

    def _take(self, frame: frames.ServerFrame | None, now: float) -> None:
        """Raises FrameInvalid."""
        match frame:
            case None | frames.Pong() | frames.ErrorFrame():
                pass
            case frames.Ping():
                self._pongs += 1
            case frames.Reconnect(after_ms):
                self.leave_at = now + max(after_ms, 0) / 1000
            case frames.Welcome(ping_ms=ping_ms):
                self.welcomed_at = now
                self._quiet_seconds = QUIET_PINGS * max(ping_ms / 1000, LEAST_PING_SECONDS)
            case _ if self.welcomed_at is not None:
                self._take_in(frame, now)

    def _take_in(self, frame: frames.Event | frames.DeltaFrame | frames.SnapshotFrame, now: float) -> None:
        if any(isinstance(event, events.SyncEvent) for event in self._intake.take(frame)):
            self._ledger.repeat_reads()
            self._up_to_date()
        if self._flush_at == inf and (self._intake.unacknowledged is not None or self._ledger.unsaid):
            self._flush_at = now + ACK_SECONDS

    async def flush(self) -> None:
        """Acknowledge what is taken in, say what is read. Raises Closed."""
        self._flush_at = inf
        cursor, ids = self._intake.acknowledged(), self._ledger.unsaid
        if cursor is not None:
            await self._send(frames.Ack(cursor))
        while ids:
            await self._send(frames.Read(ids=ids[:READ_BATCH]))
            del ids[:READ_BATCH]

    async def _send(self, frame: ClientFrame) -> None:
        await self._websocket.send(frames.encode(frame).decode())
