"""A device's end of a WebSocket, as raw as the protocol allows, and how it may misbehave.

Promises: whatever happens to the connection comes out as Over with a code. Nothing of our own client is in it, so what
a device concludes is independent of it. Must not know: what frames mean.
"""

import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import trio
import trio_websocket

from tests.faults.proxy import reset

Frame = dict[str, Any]

SMALL_BUFFER_BYTES = 4096


class Over(Exception):
    """The connection is over. `code`: of its Close frame; 1006 without one; 0 when there never was one."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class _Heard(trio.abc.Stream):
    """A stream that knows when it last heard anything, pings too. `ended`: called when there is no more."""

    def __init__(self, stream: trio.SocketStream, ended: Callable[[], None]) -> None:
        self.stream = stream
        self.at = trio.current_time()
        self._ended = ended

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        chunk: bytes | bytearray = b""
        try:
            chunk = await self.stream.receive_some(max_bytes)
        finally:
            if not chunk:
                self._ended()
        self.at = trio.current_time()
        return chunk

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self.stream.aclose()


class Line:
    """An open WebSocket."""

    def __init__(self, heard: _Heard, websocket: trio_websocket.WebSocketConnection) -> None:
        self._heard = heard
        self._websocket = websocket

    @property
    def silent_seconds(self) -> float:
        return trio.current_time() - self._heard.at

    async def receive(self) -> Frame:
        """The next frame. Raises Over."""
        try:
            frame: Frame = json.loads(await self._websocket.get_message())
        except trio_websocket.ConnectionClosed as closed:
            raise Over(closed.reason.code if closed.reason else 1006) from None
        return frame

    async def send(self, frame: Frame | str | bytes) -> None:
        """Raises Over."""
        try:
            await self._websocket.send_message(json.dumps(frame) if isinstance(frame, dict) else frame)
        except trio_websocket.ConnectionClosed as closed:
            raise Over(closed.reason.code if closed.reason else 1006) from None

    async def send_raw(self, garbage: bytes) -> None:
        """Bytes that are no WebSocket."""
        await self._heard.send_all(garbage)

    async def vanish(self, *, by_reset: bool) -> None:
        """No goodbye: TCP ends, or is reset."""
        if by_reset:
            await reset(self._heard.stream)
        else:
            await trio.aclose_forcefully(self._heard.stream)


@asynccontextmanager
async def line_to(url: str, *, seconds: float, small: bool = False) -> AsyncIterator[Line]:
    """Dial, shake hands within `seconds`, and drop the connection without ceremony at the end. `small`: little room
    for what was not read yet. Whatever goes wrong with the connection raises Over."""
    parts = urlsplit(url)
    over: Over | None = None
    try:
        # The library waits for ever for an answer to a handshake when TCP ends instead.
        shaken = False
        with trio.CancelScope(deadline=trio.current_time() + seconds) as dialling:
            stream = await trio.open_tcp_stream(parts.hostname or "", parts.port or 0)
            if small:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
            heard = _Heard(stream, lambda: None if shaken else dialling.cancel())
            async with stream, trio.open_nursery() as nursery:
                websocket = await trio_websocket.wrap_client_stream(
                    nursery,
                    heard,  # type: ignore[arg-type]  # any stream will do
                    parts.netloc,
                    parts.path,
                    subprotocols=["pushctl.v1"],
                )
                shaken = True
                dialling.deadline = float("inf")
                yield Line(heard, websocket)
                nursery.cancel_scope.cancel()
        if dialling.cancelled_caught:
            over = Over(0)
    except* Over as group:
        over = next(error for error in _leaves(group) if isinstance(error, Over))
    except* (
        OSError,
        trio.BrokenResourceError,
        trio.ClosedResourceError,
        trio_websocket.HandshakeError,
        trio_websocket.ConnectionClosed,
    ):
        over = Over(0)
    if over is not None:
        raise over


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]
