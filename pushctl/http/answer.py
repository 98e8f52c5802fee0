"""Answers to bytes: the head of a response and the framing of its body (RFC 9112, sections 4 to 6). Sans-I/O.

Owns: status line, Date, Content-Length or Transfer-Encoding, Connection.
Promises: what is framed is what was announced; no header that an application makes can end a line or begin another
answer (ValueError).
Must not know: sockets, requests beyond what the head of an answer depends on.
"""

from collections.abc import Iterable
from email.utils import formatdate
from enum import Enum
from http import HTTPStatus
from typing import Final

from pushctl.clock import system_clock
from pushctl.errors import Problem
from pushctl.http.problem import problem_response

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"

_BODILESS: Final = frozenset({204, 304})
_SPECIAL: Final = frozenset(
    {b"content-length", b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"date"}
)
"""Headers that this layer writes itself. What it cannot honour (keep-alive, upgrade, ...) is left out."""

_status_lines: dict[int, bytes] = {}
_date: tuple[int, bytes] = (0, b"")


class Framing(Enum):
    """How the end of a body is told."""

    NONE = "no body, whatever the application sends"
    LENGTH = "Content-Length"
    CHUNKED = "Transfer-Encoding: chunked"
    CLOSE = "the end of the connection"


class Head:
    """The head of one answer, as an application gave it."""

    __slots__ = ("_dated", "_lines", "close", "length", "status")

    def __init__(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Raises ValueError for a status or header that cannot be sent."""
        if not 200 <= status <= 999:
            raise ValueError(f"{status} is no status of a final answer")
        self.status = status
        self.close = False
        self.length = -1
        """of the body; -1 if nobody said"""
        self._dated = False
        lines = b""
        count = 0
        for name, value in headers:
            name = name.lower()
            if name in _SPECIAL and not self._passes(name, value):
                continue
            lines += name + b": " + value + b"\r\n"
            count += 1
        if lines.count(b"\n") != count or lines.count(b"\r") != count or b"\0" in lines:
            raise ValueError("a header of the answer has a CR, LF or NUL in it")
        self._lines = lines

    def _passes(self, name: bytes, value: bytes) -> bool:
        """Take note of a header that this layer has a say in. Does it go out as it is?"""
        if name == b"content-length":
            if self.length >= 0 or not value.isdigit():
                raise ValueError("an answer has one Content-Length, of decimal digits")
            self.length = int(value)
        elif name == b"connection":
            self.close = self.close or b"close" in value.lower()
        elif name == b"date":
            self._dated = True
            return True
        return False

    def framing(self, method: str, http_version: str, whole: int | None) -> Framing:
        """How the body is framed. `whole`: its length if it is all there, which then is the Content-Length."""
        if self.status in _BODILESS:
            self.length = -1
            return Framing.NONE
        if self.length < 0 and whole is not None and (whole or method != "HEAD"):
            self.length = whole
        if method == "HEAD":
            return Framing.NONE
        if self.length >= 0:
            return Framing.LENGTH
        return Framing.CHUNKED if http_version == "1.1" else Framing.CLOSE

    def encode(self, framing: Framing, http_version: str, *, keep_alive: bool) -> bytes:
        """The bytes, with the empty line."""
        length, date, end = b"", b"", b"\r\n"
        if self.length >= 0:
            length = b"content-length: %d\r\n" % self.length
        elif framing is Framing.CHUNKED:
            length = b"transfer-encoding: chunked\r\n"
        if not self._dated:
            date = _date_line()
        if not keep_alive:
            end = b"connection: close\r\n\r\n"
        elif http_version == "1.0":
            end = b"connection: keep-alive\r\n\r\n"
        return b"".join((_status_line(self.status), self._lines, length, date, end))


def whole_without_body(status: int, lines: bytes, *, keep_alive: bool) -> bytes:
    """A whole answer on HTTP/1.1. `lines`: header lines that are well-formed, none of them this layer's."""
    end = b"\r\n" if keep_alive else b"connection: close\r\n\r\n"
    return b"".join((_status_line(status), lines, b"content-length: 0\r\n", _date_line(), end))


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body. Not for b"", which would end it."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def whole_problem(problem: Problem, *, head_only: bool = False) -> bytes:
    """A problem as a whole answer that ends the connection."""
    status, headers, body = problem_response(problem)
    head = Head(status, headers)
    framing = head.framing("GET", "1.1", len(body))
    return head.encode(framing, "1.1", keep_alive=False) + (b"" if head_only else body)


def _status_line(status: int) -> bytes:
    line = _status_lines.get(status)
    if line is None:
        phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""
        line = _status_lines[status] = f"HTTP/1.1 {status} {phrase}\r\n".encode("ascii")
    return line


def _date_line() -> bytes:
    global _date
    second = system_clock() // 1000
    if _date[0] != second:
        _date = (second, f"date: {formatdate(second, usegmt=True)}\r\n".encode("ascii"))
    return _date[1]
