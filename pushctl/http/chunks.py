"""Chunked bodies (RFC 9112, section 7.1), read strictly. Sans-I/O.

Owns: where each chunk, and with the last one the request, ends. httptools cannot say that: it runs on into the next
request before anybody could have looked at it.
Promises: whatever bytes come, data, or a Problem; what is held back is shorter than a line; what is spent on lines that
carry no data (extensions, trailers) is bounded.
Must not know: heads, buffers, sockets.
"""

import re
from typing import Final

from pushctl.errors import BodyInvalid, BodyTooLarge, HeadersTooLarge
from pushctl.http.grammar import FIELD_LINE

MAX_SIZE_LINE: Final = 256
"""Bytes of a chunk's size and extensions."""
MAX_EXTENSIONS: Final = 4096
"""Bytes of extensions of all chunks of a body."""
MAX_TRAILERS: Final = 4096
"""Bytes of all trailer fields."""

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,8}+)((?:;[\t\x20-\x7e]*+)?+)\r\n")
_SIZE_LINE_SO_FAR = re.compile(rb"(?:[0-9A-Fa-f]{1,8}+(?:;[\t\x20-\x7e]*+)?+\r?+)?+\Z")
_TRAILER = re.compile(FIELD_LINE)
_FRAMING_TRAILER = re.compile(rb"(?:content-length|transfer-encoding|host):", re.IGNORECASE)


class ChunkedBody:
    """One chunked body. Trailer fields are checked and dropped: nothing here has a use for them."""

    __slots__ = ("_extensions", "_in_trailers", "_left", "_limit", "_needs_crlf", "_size", "_trailers", "done")

    def __init__(self, limit: int) -> None:
        """`limit`: bytes of data."""
        self.done = False
        self._limit = limit
        self._size = 0
        self._left = 0
        self._needs_crlf = False
        self._in_trailers = False
        self._extensions = 0
        self._trailers = 0

    def decode(self, buffer: bytes, at: int) -> tuple[bytes, int]:
        """(data, end) of what can be read from `buffer` at `at` on; what is behind `end` belongs to the next call.

        Raises BodyInvalid, BodyTooLarge, HeadersTooLarge (trailers).
        """
        pieces = []
        while not self.done:
            if self._left:
                piece = buffer[at : at + self._left]
                if not piece:
                    break
                pieces.append(piece)
                self._left -= len(piece)
                at += len(piece)
                continue
            begin = at
            at = self._line(buffer, at)
            if at == begin:
                break
        return b"".join(pieces), at

    def _line(self, buffer: bytes, at: int) -> int:
        """Where the next line ends; `at` if it is not all there."""
        if self._in_trailers:
            return self._trailer(buffer, at)
        if self._needs_crlf:
            if buffer[at : at + 2] == b"\r\n":
                self._needs_crlf = False
                return at + 2
            if buffer[at : at + 2] not in (b"", b"\r"):
                raise BodyInvalid("a chunk's data is longer than its size says: CR LF must follow it")
            return at
        return self._size_line(buffer, at)

    def _size_line(self, buffer: bytes, at: int) -> int:
        line = _SIZE_LINE.match(buffer, at)
        if line is None:
            if len(buffer) - at > MAX_SIZE_LINE:
                raise BodyInvalid(f"a chunk's size and extensions have at most {MAX_SIZE_LINE} bytes")
            if _SIZE_LINE_SO_FAR.match(buffer, at) is None:
                raise BodyInvalid("a chunk begins with its size in hexadecimal digits (at most 8) and CR LF")
            return at
        self._extensions += len(line[2])
        if line.end() - at > MAX_SIZE_LINE or self._extensions > MAX_EXTENSIONS:
            raise BodyInvalid("the chunks' extensions are too long")
        self._left = int(line[1], 16)
        self._size += self._left
        if self._size > self._limit:
            raise BodyTooLarge(f"a body has at most {self._limit} bytes")
        self._in_trailers = self._left == 0
        self._needs_crlf = not self._in_trailers
        return line.end()

    def _trailer(self, buffer: bytes, at: int) -> int:
        if buffer[at : at + 2] == b"\r\n":
            self.done = True
            return at + 2
        line = _TRAILER.match(buffer, at)
        end = line.end() if line is not None else len(buffer)
        if self._trailers + end - at > MAX_TRAILERS:
            raise HeadersTooLarge(f"trailer fields have at most {MAX_TRAILERS} bytes")
        if line is None:
            if buffer.find(b"\n", at) >= 0:
                raise BodyInvalid("a trailer field is Name: value, ended by CR LF")
            return at
        if _FRAMING_TRAILER.match(buffer, at):
            raise BodyInvalid("no trailer field says how a request is framed or where it goes")
        self._trailers += end - at
        return end
