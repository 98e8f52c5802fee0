"""The narrow seam to a WebSocket: accept, receive text, send a frame, ping, close and drop.

Owns: trio-websocket and everything peculiar about it; nothing else in this role imports it.
Promises: a send that was cancelled may have left half a frame, so that socket is never written again; a close drops the
TCP connection after CLOSE_SECONDS whether or not the peer answers; whatever a peer sends, only Disconnected comes out.
Must not know: frames' meaning, users.
"""

import base64
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

import trio
import trio_websocket
import wsproto.utilities

from pushctl.errors import Problem
from pushctl.http.problem import problem_response
from pushctl.log import get_logger

log = get_logger(part="wire")

CLOSE_SECONDS = 2.0
RECEIVE_BYTES = 4096
PIECE_BYTES = 16_384


class Disconnected(Exception):
    """The peer is gone, closed, or broke the protocol. `code`: of its Close frame, 1006 without one."""

    def __init__(self, code: int) -> None:
        super().__init__(f"disconnected ({code})")
        self.code = code


class Wire:
    """An accepted WebSocket."""

    def __init__(self, stream: "Watched", websocket: trio_websocket.WebSocketConnection) -> None:
        self._stream = stream
        self._websocket = websocket
        self._half_written = False

    async def receive(self) -> str | bytes:
        """The next message, whole. Raises Disconnected."""
        try:
            message: str | bytes = await self._websocket.get_message()
        except trio_websocket.ConnectionClosed as closed:
            raise Disconnected(closed.reason.code if closed.reason else 1006) from None
        return message

    @property
    def sending(self) -> bool:
        """A frame is on its way, or was left half-way."""
        return self._half_written

    async def send(self, frame: bytes, *, stall_seconds: float = math.inf) -> bool:
        """Send one text frame. False when the peer took nothing for `stall_seconds`: it then has half a frame, as after
        a cancellation, and the socket is dead for writing. Raises Disconnected."""
        if self._half_written:
            raise Disconnected(1006)
        self._half_written = True
        with self._stream.watched(stall_seconds) as stalled:
            await self._send(frame)
        return not stalled.cancelled_caught

    async def _send(self, frame: bytes) -> None:
        try:
            await self._websocket.send_message(frame.decode())
        except trio_websocket.ConnectionClosed as closed:
            raise Disconnected(closed.reason.code if closed.reason else 1006) from None
        except wsproto.utilities.LocalProtocolError:
            raise Disconnected(1006) from None  # closing was under way
        self._half_written = False

    async def ping(self) -> None:
        """Send a WebSocket ping and wait for its pong. Raises Disconnected."""
        try:
            await self._websocket.ping()
        except (trio_websocket.ConnectionClosed, wsproto.utilities.LocalProtocolError):
            raise Disconnected(1006) from None

    async def close(self, code: int, reason: str, *, by: float = math.inf) -> None:
        """Close with a code; drop TCP after CLOSE_SECONDS at the latest, or at the moment `by`. Safe while being
        cancelled."""
        with trio.CancelScope(deadline=min(by, trio.current_time() + CLOSE_SECONDS), shield=True):
            if not self._half_written:
                with suppress(trio_websocket.ConnectionClosed, wsproto.utilities.LocalProtocolError):
                    # A close reason is at most 123 bytes (RFC 6455 s.5.5).
                    await self._websocket.aclose(code, reason.encode()[:120].decode(errors="ignore"))
        await trio.aclose_forcefully(self._stream)


class Upgrade:
    """What a peer asks for before anything is promised: answer with `accept` or `refuse`."""

    def __init__(self, stream: "Watched", request: trio_websocket.WebSocketRequest) -> None:
        headers = {name.lower(): value.decode("latin-1") for name, value in request.headers}
        self._stream = stream
        self._request = request
        self.origin = headers.get(b"origin")
        self.subprotocols: tuple[str, ...] = request.proposed_subprotocols
        self.key_is_valid = _is_key(headers.get(b"sec-websocket-key", ""))

    async def accept(self, subprotocol: str) -> Wire:
        """Complete the upgrade. No extension is ever negotiated: no compression, no compression bombs.

        Raises Disconnected.
        """
        try:
            return Wire(self._stream, await self._request.accept(subprotocol=subprotocol))
        except trio_websocket.ConnectionClosed:
            raise Disconnected(1006) from None

    async def refuse(self, problem: Problem) -> None:
        """Answer with an HTTP error, before any WebSocket cost."""
        status, headers, body = problem_response(problem)
        with trio.move_on_after(CLOSE_SECONDS), suppress(trio_websocket.ConnectionClosed):
            await self._request.reject(status, extra_headers=headers, body=body)


def _is_key(text: str) -> bool:
    """Sixteen bytes in base64 (RFC 6455 s.4.2.1, 5), which the library does not look at."""
    try:
        return len(base64.b64decode(text, validate=True)) == 16
    except ValueError:
        return False


class Watched(trio.abc.Stream):
    """A stream that sends in pieces, so that somebody can tell slow from stalled."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._scope: trio.CancelScope | None = None
        self._seconds = math.inf

    @contextmanager
    def watched(self, seconds: float) -> Iterator[trio.CancelScope]:
        """Cancels the block when no piece could be sent for `seconds`."""
        with trio.CancelScope(deadline=trio.current_time() + seconds) as scope:
            self._scope, self._seconds = scope, seconds
            try:
                yield scope
            finally:
                self._scope = None

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        for start in range(0, max(1, len(view)), PIECE_BYTES):
            await self._stream.send_all(view[start : start + PIECE_BYTES])
            if self._scope is not None:
                self._scope.deadline = trio.current_time() + self._seconds

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


Handler = Callable[[Upgrade], Awaitable[None]]


async def serve_stream(plain: trio.abc.Stream, handler: Handler, *, by: float, max_message_bytes: int) -> None:
    """Read the upgrade request on a fresh stream, by that moment (trio.current_time), and let `handler` answer it. The
    stream is dropped when the handler is done. The handler raises nothing; what the library raises of a peer's doing
    ends here."""
    stream = Watched(plain)
    try:
        async with trio.open_nursery() as nursery:
            request = None
            with trio.move_on_at(by):
                request = await trio_websocket.wrap_server_stream(
                    nursery, stream, max_message_size=max_message_bytes, receive_buffer_size=RECEIVE_BYTES
                )
            if request is not None:
                await handler(Upgrade(stream, request))
            nursery.cancel_scope.cancel()
    except* (
        wsproto.utilities.ProtocolError,
        trio_websocket.ConnectionClosed,
        trio.BrokenResourceError,
        UnicodeError,  # of headers that the library decodes
    ) as group:
        # The library's reader task met a peer that broke the protocol at a moment it did not expect.
        log.info("peer_broke_protocol", errors=[repr(error) for error in group.exceptions])
    except* Exception as group:
        log.error("connection_crashed", exc_info=group)
    finally:
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(stream)
