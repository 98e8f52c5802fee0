"""The narrow seam to a WebSocket: messages in, frames out, pings and pongs, close and drop.

Owns: what goes over the line and when, with upgrade.py; framing.py says what it must look like. It runs no task of its
own: one task of the caller's may receive, and while that waits anybody may write.
Promises: what a peer sends costs bounded memory and time (intake.py), and however many pings it sends, one pong is
owed; a frame goes to the kernel in one call and at once, if it takes it, and nothing else before what it did not take;
after a wait for that was cancelled, nothing is written any more; a close drops TCP after CLOSE_SECONDS whether or not
the peer answers; whatever a peer sends, only Disconnected comes out.
Must not know: frames' meaning, users.
"""

import math
from contextlib import suppress
from typing import Final

import trio

from roles.socket.framing import Incoming, Kind, Violation, close_frame, control_frame, text_header
from roles.socket.intake import Pace, TooFast
from roles.socket.line import PIECE_BYTES, Interrupted, Line, StreamLine
from roles.socket.pulse import Pulse

CLOSE_SECONDS = 2.0
DISCARD_BYTES = 262_144
"""Of what a peer still sends after our Close: were it left unread, the kernel would reset the connection, and the peer
might never see that Close. A peer that sends more is reset."""

TOGETHER_BYTES: Final = PIECE_BYTES
"""More than this need not be written in one call: the kernel would not take it."""

_PING: Final = control_frame(Kind.PING)


class Disconnected(Exception):
    """The peer is gone, closed, or broke the protocol. `code`: of its Close frame, or what it deserves; 1006 without a
    reason."""

    def __init__(self, code: int) -> None:
        super().__init__(f"disconnected ({code})")
        self.code = code


class Stalled(Disconnected):
    """The peer took nothing for too long. It may have half a frame, and the socket is dead for writing."""

    def __init__(self) -> None:
        super().__init__(1006)


class Flooded(Disconnected):
    """The peer goes on sending more frames than anybody needs."""

    def __init__(self) -> None:
        super().__init__(1008)


class Wire:
    """An accepted WebSocket."""

    __slots__ = (
        "_answering",
        "_awaken",
        "_closing",
        "_dead",
        "_flushed",
        "_flushing",
        "_incoming",
        "_line",
        "_pace",
        "_pong",
        "_rest",
        "_stall_seconds",
        "pulse",
    )

    def __init__(
        self, line: Line | StreamLine, first: bytes, *, max_message_bytes: int, stall_seconds: float, pulse: Pulse
    ) -> None:
        """`first`: what the peer sent behind its upgrade request; `pulse`: told of its pongs."""
        self._line = line
        self._incoming = Incoming(max_message_bytes)
        self._incoming.feed(first)
        self._pace = Pace()
        self._stall_seconds = stall_seconds
        self.pulse = pulse
        self._rest = b""
        """What the kernel did not take at once."""
        self._flushing = False
        self._flushed: trio.Event | None = None
        """For whoever wants to write while another waits for the kernel."""
        self._dead = False
        """The peer may have half of something: nothing can follow it."""
        self._closing = False
        self._pong: bytes | None = None
        self._answering: trio.CancelScope | None = None
        """While whoever receives waits for the peer to take a pong."""
        self._awaken: trio.Event | None = None
        """While it sends too fast, and is read a little later."""

    # --- in ----------------------------------------------------------------------------------------------------------

    async def receive(self) -> str | bytes:
        """The next message, whole. Answers pings itself while nobody waits to write. Raises Disconnected,
        Interrupted."""
        while True:
            message = self._next_message()
            if message is not None:
                return message
            if self._pong is not None and not self.busy:
                await self._answer()
            octets = await self._feed()
            now = trio.current_time()
            self.pulse.heard(now)
            await self._keep_pace(octets, now)

    async def _answer(self) -> None:
        """With the pong that is owed."""
        self._write(self._take_pong())
        if self._rest:
            with trio.CancelScope() as self._answering:
                await self.flush()
            self._answering = None

    async def _keep_pace(self, octets: int, now: float) -> None:
        """Before what was just read is looked at: its bytes and the frames before it are paid for first."""
        try:
            seconds = self._pace.wait_seconds(self._incoming.frames, octets, now)
        except TooFast:
            raise Flooded from None
        self._incoming.frames = 0
        if seconds:
            self._awaken = trio.Event()
            with trio.move_on_after(seconds):
                await self._awaken.wait()
            self._awaken = None

    @property
    def held_back(self) -> bool:
        """The peer sends too fast, and is read a little later."""
        return self._awaken is not None

    def _next_message(self) -> str | bytes | None:
        """Of what has been read."""
        while True:
            try:
                event = self._incoming.next_event()
            except Violation as violation:
                raise Disconnected(violation.code) from None
            if event is None:
                return None
            kind, content = event
            if kind is Kind.PING:
                assert isinstance(content, bytes)
                self._pong = content  # of several only the last needs an answer (RFC 6455, section 5.5.3)
            elif kind is Kind.PONG:
                self.pulse.ponged()
            elif isinstance(content, int):
                raise Disconnected(content)
            else:
                return content

    async def _feed(self) -> int:
        """Read some; how many bytes. Raises Disconnected, Interrupted."""
        try:
            data = await self._line.receive()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Disconnected(1006) from None
        if not data:
            raise Disconnected(1006)
        self._incoming.feed(data)
        return len(data)

    def interrupt(self) -> None:
        """Whoever waits in `receive`, now or later, is Interrupted, or has one more message."""
        self._line.interrupt()
        if self._answering is not None:
            self._answering.cancel()
        if self._awaken is not None:
            self._awaken.set()

    # --- out ---------------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """The kernel has not taken all yet: `flush` before anything else is written. For ever, once it is dead."""
        return bool(self._rest) or self._dead

    @property
    def owes_pong(self) -> bool:
        return self._pong is not None

    def write(self, *messages: bytes) -> None:
        """Give text messages to the kernel, which may take a part: `flush`, if it is `busy` then. Not while it is.
        Raises Disconnected."""
        self._write(b"".join([text_header(len(message)) + message for message in messages]))

    def write_ping(self) -> None:
        """As `write`."""
        self._write(_PING)

    def _write(self, data: bytes) -> None:
        if self._closing or self._incoming.closed or self._dead:
            raise Disconnected(1006)
        self._put(data)

    def _put(self, data: bytes) -> None:
        assert not self._rest
        try:
            taken = self._line.send_some(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Disconnected(1006) from None
        if taken < len(data):
            self._rest = data[taken:]

    async def flush(self) -> None:
        """Until the kernel has taken all. Raises Disconnected: Stalled when the peer took nothing for
        `stall_seconds`."""
        while self._flushing:
            if self._flushed is None:
                self._flushed = trio.Event()
            await self._flushed.wait()
        if self._dead:
            raise Disconnected(1006)
        if not self._rest:
            return
        self._flushing = self._dead = True
        try:
            await self._send_rest()
            self._dead = False
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Disconnected(1006) from None
        finally:
            self._flushing, self._rest = False, b""
            if self._flushed is not None:
                self._flushed.set()
                self._flushed = None

    async def _send_rest(self) -> None:
        rest = memoryview(self._rest)
        with trio.CancelScope() as patience:
            while rest:
                patience.deadline = trio.current_time() + self._stall_seconds
                taken = 0
                while not taken:
                    taken = await self._line.send_piece(rest)
                rest = rest[taken:]
        if rest:
            raise Stalled

    async def send(self, frame: bytes) -> None:
        """One text message, when its turn comes. As `flush`."""
        await self._send(text_header(len(frame)) + frame)

    async def ping(self) -> None:
        """A WebSocket ping. As `send`."""
        await self._send(_PING)

    async def pong(self) -> None:
        """The pong that is owed. As `send`."""
        await self._send(self._take_pong())

    def _take_pong(self) -> bytes:
        payload, self._pong = self._pong or b"", None
        self.pulse.answered()
        return control_frame(Kind.PONG, payload)

    async def _send(self, data: bytes) -> None:
        while self.busy:
            await self.flush()
        self._write(data)
        if self._rest:
            await self.flush()

    # --- the end -----------------------------------------------------------------------------------------------------

    async def close(self, code: int, reason: str, *, by: float = math.inf) -> None:
        """Close with a code; drop TCP after CLOSE_SECONDS at the latest, or at the moment `by`. Safe while being
        cancelled."""
        by = min(by, trio.current_time() + CLOSE_SECONDS)
        with trio.CancelScope(deadline=by, shield=True), suppress(Disconnected, Interrupted):
            await self._say_close(code, reason)
            self._line.resume()
            discarded = 0
            while not self._has_closed() and discarded < DISCARD_BYTES:
                discarded += await self._feed()
        self._line.close()

    async def _say_close(self, code: int, reason: str) -> None:
        while self.busy:
            await self.flush()
        self._closing = True
        self._put(close_frame(code, reason))
        await self.flush()

    def _has_closed(self) -> bool:
        """Whether the peer's Close is in what has been read, which is passed over."""
        while True:
            with suppress(Violation):
                if self._incoming.next_event() is None:
                    return self._incoming.closed
