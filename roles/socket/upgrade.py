"""The upgrade from HTTP to a WebSocket, and the end of the stream it came on.

Owns: reading the request, answering it. Promises: within its deadline or not at all; nothing is promised and no
WebSocket made before somebody accepts; whatever a peer sends, nothing is raised.
Must not know: who is let in (admission.py).
"""

import base64
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal

import trio
import wsproto
from wsproto.events import AcceptConnection, RejectConnection, RejectData, Request
from wsproto.utilities import ProtocolError, RemoteProtocolError

from pushctl.errors import Problem
from pushctl.http.problem import problem_response
from pushctl.log import get_logger
from roles.socket.watched import Watched
from roles.socket.wire import CLOSE_SECONDS, RECEIVE_BYTES, Disconnected, Wire

log = get_logger(part="upgrade")


class Upgrade:
    """What a peer asks for before anything is promised: answer with `accept` or `refuse`."""

    def __init__(
        self, stream: Watched, protocol: wsproto.WSConnection, request: Request, max_message_bytes: int
    ) -> None:
        headers = {name: value.decode("latin-1") for name, value in request.extra_headers}
        self._stream = stream
        self._protocol = protocol
        self._max_message_bytes = max_message_bytes
        self.headers = request.extra_headers
        """Names in lower case."""
        self.origin = headers.get(b"origin")
        self.subprotocols: tuple[str, ...] = tuple(request.subprotocols)
        self.key_is_valid = _is_key(headers.get(b"sec-websocket-key", ""))

    async def accept(self, subprotocol: str | None, *, stall_seconds: float) -> Wire:
        """Complete the upgrade. No extension is ever negotiated: no compression, no compression bombs.

        Raises Disconnected.
        """
        await self._send(self._protocol.send(AcceptConnection(subprotocol=subprotocol)))
        return Wire(
            self._stream,
            self._protocol,
            max_message_bytes=self._max_message_bytes,
            stall_seconds=stall_seconds,
        )

    async def refuse(self, problem: Problem) -> None:
        """Answer with an HTTP error, before any WebSocket cost."""
        status, headers, body = problem_response(problem)
        headers = [*headers, (b"content-length", b"%d" % len(body)), (b"connection", b"close")]
        answer = self._protocol.send(RejectConnection(status_code=status, headers=headers, has_body=True))
        answer += self._protocol.send(RejectData(data=body))
        with trio.move_on_after(CLOSE_SECONDS), suppress(Disconnected):
            await self._send(answer)

    async def _send(self, data: bytes) -> None:
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Disconnected(1006) from None


def _is_key(text: str) -> bool:
    """Sixteen bytes in base64 (RFC 6455 s.4.2.1, 5), which the library does not look at."""
    try:
        return len(base64.b64decode(text, validate=True)) == 16
    except ValueError:
        return False


async def _read_upgrade(stream: Watched, max_message_bytes: int) -> Upgrade:
    """Raises ProtocolError, UnicodeError (of headers that the library decodes), Disconnected."""
    protocol = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
    while True:
        try:
            data = await stream.receive_some(RECEIVE_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Disconnected(1006) from None
        if not data:
            raise Disconnected(1006)
        protocol.receive_data(bytes(data))
        for event in protocol.events():
            if isinstance(event, Request):
                return Upgrade(stream, protocol, event, max_message_bytes)


Handler = Callable[[Upgrade], Awaitable[None]]


async def serve_stream(
    plain: trio.abc.Stream, handler: Handler, *, by: float, max_message_bytes: int
) -> Literal["too_slow", "handshake"] | None:
    """Read the upgrade request on a fresh stream, by that moment (trio.current_time), and let `handler` answer it. The
    stream is dropped when the handler is done. The handler raises nothing. Returns what was wrong if no handler was
    needed."""
    stream = Watched(plain)
    upgrade = None
    try:
        with trio.move_on_at(by) as slow:
            try:
                upgrade = await _read_upgrade(stream, max_message_bytes)
            except RemoteProtocolError as error:
                await _answer_nonsense(stream, error)
                return "handshake"
            except (ProtocolError, UnicodeError):
                return "handshake"
            except Disconnected:
                return None
        if upgrade is not None:
            await handler(upgrade)
    except Exception as error:
        log.error("connection_crashed", exc_info=error)
    finally:
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(stream)
    return "too_slow" if slow.cancelled_caught else None


async def _answer_nonsense(stream: Watched, error: RemoteProtocolError) -> None:
    """What the library would answer."""
    hint = error.event_hint
    if isinstance(hint, RejectConnection):
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            version = b"Sec-WebSocket-Version: 13\r\n" if hint.status_code == 426 else b""
            head = b"HTTP/1.1 %d \r\n%sContent-Length: 0\r\nConnection: close\r\n\r\n" % (hint.status_code, version)
            await stream.send_all(head)
