"""The upgrade from HTTP to a WebSocket (RFC 6455, section 4.2).

Owns: reading the request, answering it. Promises: nothing is promised and no WebSocket made before somebody accepts;
whatever a peer sends, a request comes out, or the Problem to answer with, or Disconnected.
Must not know: who is let in (admission.py), deadlines.
"""

import base64
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Final

import trio

from pushctl.config.model import Http
from pushctl.errors import BodyInvalid, Problem
from pushctl.http.parser import Request, RequestParser
from pushctl.http.problem import problem_response
from roles.socket.line import Interrupted, Line, StreamLine
from roles.socket.pulse import Pulse
from roles.socket.wire import CLOSE_SECONDS, Disconnected, Wire

VERSION: Final = b"13"
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class OtherVersion(BodyInvalid):
    status = 426


class Upgrade:
    """What a peer asks for before anything is promised: answer with `accept` or `refuse`."""

    def __init__(self, line: Line | StreamLine, request: Request, first: bytes) -> None:
        """`first`: what came behind the request."""
        keys = [value for name, value in request.headers if name == b"sec-websocket-key"]
        self._line = line
        self._first = first
        self._key = keys[0] if len(keys) == 1 else b""
        self.headers = request.headers
        """Names in lower case."""
        origin = dict(request.headers).get(b"origin")
        self.origin = None if origin is None else origin.decode("latin-1")
        self.subprotocols = tuple(
            word.decode("latin-1") for word in words_of(request.headers, b"sec-websocket-protocol")
        )
        self.key_is_valid = _is_key(self._key)

    async def accept(
        self, subprotocol: str | None, *, max_message_bytes: int, stall_seconds: float, pulse: Pulse
    ) -> Wire:
        """Complete the upgrade. No extension is ever negotiated: no compression, no compression bombs.

        Raises Disconnected.
        """
        proof = base64.b64encode(hashlib.sha1(self._key + _GUID, usedforsecurity=False).digest())
        chosen = f"Sec-WebSocket-Protocol: {subprotocol}\r\n".encode() if subprotocol else b""
        await _say(
            self._line,
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n%b\r\n" % (proof, chosen),
        )
        return Wire(
            self._line, self._first, max_message_bytes=max_message_bytes, stall_seconds=stall_seconds, pulse=pulse
        )

    async def refuse(self, problem: Problem) -> None:
        """Answer with an HTTP error, before any WebSocket cost."""
        await refuse(self._line, problem)


async def refuse(line: Line | StreamLine, problem: Problem) -> None:
    """Answer with an HTTP error, if the peer takes it, within CLOSE_SECONDS."""
    status, headers, body = problem_response(problem)
    if isinstance(problem, OtherVersion):
        headers = [*headers, (b"upgrade", b"websocket"), (b"sec-websocket-version", VERSION)]
    lines = [b"%b: %b\r\n" % header for header in headers]
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
    end = b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body)
    with trio.move_on_after(CLOSE_SECONDS), suppress(Disconnected):
        await _say(line, b"".join([head, *lines, end, body]))


async def _say(line: Line | StreamLine, data: bytes) -> None:
    rest = memoryview(data)
    try:
        rest = rest[line.send_some(data) :]
        while rest:
            rest = rest[await line.send_piece(rest) :]
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        raise Disconnected(1006) from None


async def read_upgrade(line: Line | StreamLine, limits: Http) -> Upgrade:
    """Raises Problem, Disconnected."""
    parser = RequestParser(limits, upgrades=True)
    while (request := parser.next_request()) is None:
        try:
            data = await line.receive()
        except (trio.BrokenResourceError, trio.ClosedResourceError, Interrupted):
            raise Disconnected(1006) from None
        if not data:
            raise Disconnected(1006)
        parser.feed(data)
    _check(request, has_body=not parser.body_done)
    return Upgrade(line, request, parser.take_rest())


def _check(request: Request, *, has_body: bool) -> None:
    """Raises Problem."""
    asked = {word.lower() for word in words_of(request.headers, b"connection")}
    towards = {word.lower() for word in words_of(request.headers, b"upgrade")}
    if b"upgrade" not in asked or b"websocket" not in towards:
        raise BodyInvalid("only WebSockets are served here", field="Upgrade")
    if request.method != "GET" or request.http_version != "1.1" or has_body:
        raise BodyInvalid("a WebSocket begins with GET, HTTP/1.1 and no body")
    if [value for name, value in request.headers if name == b"sec-websocket-version"] != [VERSION]:
        raise OtherVersion("this server speaks version 13 of the WebSocket protocol", field="Sec-WebSocket-Version")


def words_of(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """The elements of a list in a header, which may come more than once (RFC 9110, section 5.6.1)."""
    lists = [value.split(b",") for each, value in headers if each == name]
    return [word for words in lists for each in words if (word := each.strip(b" \t"))]


def _is_key(key: bytes) -> bool:
    """Sixteen bytes in base64 (RFC 6455, section 4.2.1, 5)."""
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except ValueError:
        return False
