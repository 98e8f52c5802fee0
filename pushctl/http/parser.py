"""Bytes to requests: a strict, sans-I/O HTTP/1.x parser around httptools.

Owns: where each request begins and ends, and what its framing headers mean together (RFC 9112, section 6.3).
Promises: whatever bytes arrive, a request, data of its body, or a Problem; after a Problem it is not used again, so
what follows a request that could be read in two ways is never read at all. What it holds is bounded by what was fed
since it last had nothing to give.
Must not know: sockets, time, applications.

grammar.py looks at every head before httptools does: both must accept it. httptools sees one head at a time, with a
fresh parser, because it neither stops at the end of a request nor says where that was; bodies are counted here.
"""

from typing import Final
from urllib.parse import unquote_to_bytes

import httptools
from msgspec import Struct

from pushctl.config.model import Http
from pushctl.errors import BodyInvalid, BodyTooLarge, HeadersTooLarge, MethodNotAllowed, UriTooLong
from pushctl.http.chunks import ChunkedBody
from pushctl.http.grammar import ABSOLUTE_FORM, HEAD, HOST, METHOD_SO_FAR, REQUEST_LINE, check_beginning, explain

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""What applications are asked. CONNECT and TRACE have no meaning at an origin that is no proxy and no mirror."""

_METHODS: Final = {method.encode(): method for method in METHODS}
_FRAMING: Final = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"connection", b"expect", b"upgrade"}
    | {b"content_length", b"transfer_encoding"}
)
_SLASH: Final = ord("/")
_LONGEST_METHOD: Final = 24
_MOST_KEPT_BYTES: Final = 1024
_MOST_LENGTH_DIGITS: Final = 15
_VERSIONS: Final = {b"0": "1.0", b"1": "1.1"}

HeaderList = list[tuple[bytes, bytes]]


class Request(Struct, frozen=True, gc=False):
    """The head of a request, checked."""

    method: str
    path: str
    """percent-decoded; `*` for OPTIONS *"""
    raw_path: bytes
    query: bytes
    """without the question mark"""
    http_version: str
    """1.0 or 1.1"""
    headers: HeaderList
    """names in lower case, values without white space around them"""
    keep_alive: bool
    """the peer wants to send another request on this connection"""
    expects_continue: bool
    """the peer waits for 100 Continue before it sends the body"""


class _Framing(Struct):
    """What the headers that concern this layer say."""

    host: bytes | None = None
    length: int | None = None
    chunked: bool = False
    close: bool = False
    keep_alive: bool = False
    expects_continue: bool = False


class RequestParser:
    """One connection's requests, in order: feed, next_request, then read_body until body_done, and again."""

    __slots__ = (
        "_at",
        "_blank",
        "_buffer",
        "_chunks",
        "_framing",
        "_headers",
        "_left",
        "_limits",
        "_look_at",
        "_looked",
        "_rest_bytes",
        "_same",
        "_upgrades",
        "body_done",
    )

    def __init__(self, limits: Http, *, upgrades: bool = False) -> None:
        """`upgrades`: a request may ask for a WebSocket."""
        self._limits = limits
        self._upgrades = upgrades
        self._buffer = b""
        self._at = 0
        self._blank = False
        self._looked = 0
        """Bytes of the next head that were looked at and are fine as far as they go"""
        self._look_at = 0
        """With more bytes than this, a limit is passed"""
        self._same = b""
        """The last head from its minor version on; empty if it is too long to keep."""
        self._rest_bytes = 0
        """How long that was"""
        self._headers: HeaderList = []
        """What httptools read from it"""
        self._framing = _Framing()
        """What it means for this layer"""
        self._left = 0
        self._chunks: ChunkedBody | None = None
        self.body_done = True

    @property
    def buffered(self) -> int:
        """Bytes fed and not yet given out."""
        return len(self._buffer) - self._at

    @property
    def body_left(self) -> int | None:
        """Bytes of the body not yet read; None if only its end will tell."""
        return self._left if self._chunks is None else None

    def feed(self, data: bytes | bytearray) -> None:
        """What the peer sent next."""
        self._buffer = self._buffer[self._at :] + data if self._at < len(self._buffer) else bytes(data)
        self._at = 0

    def take_rest(self) -> bytes:
        """What was fed and not given out, for whoever goes on from here with something else than HTTP."""
        rest, self._buffer, self._at = self._buffer[self._at :], b"", 0
        return rest

    def next_request(self) -> Request | None:
        """The next head; None if it is not all there. Raises Problem.

        Not to be called before the body of the last request was read.
        """
        if self._at == len(self._buffer):
            self._forget()
            return None
        if not self._blank and self._buffer.startswith(b"\r\n", self._at):
            self._at += 2  # RFC 9112, section 2.2: one empty line before a request is forgiven
            self._blank = True
            self._looked = 0
        if self._looked and not self._worth_another_look():
            return None
        # One sender, many messages: mostly the version and all headers are, byte for byte, those of the last request.
        head = REQUEST_LINE.match(self._buffer, self._at) if self._same else None
        known = head is not None and self._buffer.startswith(self._same, head.start(3))
        if not known:
            head = HEAD.match(self._buffer, self._at)
        if head is None:
            self._not_a_head()
            self._looked = self.buffered
            return None
        method, target, minor = head.groups()
        if len(target) > self._limits.max_target_bytes:
            raise UriTooLong(f"a request target has at most {self._limits.max_target_bytes} bytes")
        if method not in _METHODS:
            raise MethodNotAllowed(f"methods here are {', '.join(METHODS)}", allow=METHODS)
        if not known:
            self._read_headers(head[0], head.start(3) - head.start())
        self._at = head.start(3) + self._rest_bytes
        self._blank = False
        self._looked = 0
        headers, framing = self._headers.copy(), self._framing
        if target[0] == _SLASH:
            raw_path, _, query = target.partition(b"?")
        else:
            raw_path, query, headers = _resolve(method, target, headers)
        self._left = framing.length or 0
        self._chunks = ChunkedBody(self._limits.max_body_bytes) if framing.chunked else None
        self.body_done = self._left == 0 and self._chunks is None
        return Request(
            _METHODS[method],
            _decoded(raw_path) if b"%" in raw_path else raw_path.decode("ascii"),
            raw_path,
            query,
            _VERSIONS[minor],
            headers,
            framing.keep_alive if minor == b"0" else not framing.close,
            framing.expects_continue and not self.body_done,
        )

    def read_body(self) -> bytes:
        """Data of the body that is there; empty if more must be fed, or if it is done. Raises Problem."""
        if self._chunks is not None:
            data, self._at = self._chunks.decode(self._buffer, self._at)
            self.body_done = self._chunks.done
            return data
        data = self._buffer[self._at : self._at + self._left]
        self._at += len(data)
        self._left -= len(data)
        self.body_done = self._left == 0
        return data

    # --- heads --------------------------------------------------------------------------------------------------------

    def _forget(self) -> None:
        """Thousands of connections wait for their next request: hold nothing for them that is not needed."""
        self._buffer, self._at = b"", 0
        if not self._same:
            self._headers = []

    def _worth_another_look(self) -> bool:
        """A head that drips in is looked at again when a line has ended, not at every byte."""
        return (
            self._looked <= _LONGEST_METHOD
            or self.buffered > self._look_at
            or self._buffer.find(b"\n", self._at + self._looked) >= 0
        )

    def _not_a_head(self) -> None:
        """There is no whole well-formed head: raise what is wrong with it, unless the rest may still come."""
        rest = self._buffer[self._at :]
        end = rest.find(b"\r\n\r\n")
        line = REQUEST_LINE.match(rest)
        self._look_at = _LONGEST_METHOD + self._limits.max_target_bytes + len("  HTTP/1.1")
        if line is not None:
            self._look_at = line.end() + self._limits.max_header_bytes
            self._check_sizes(len(line[2]), (end + 2 if end >= 0 else len(rest)) - line.end())
            self._check_count(rest.count(b"\r\n", line.end(), end if end >= 0 else len(rest)))
        elif METHOD_SO_FAR.match(rest) is not None:
            # The line is not all there, or no request line: too long is too long.
            line_bytes = rest.find(b"\r\n") if b"\r\n" in rest else len(rest)
            self._check_sizes(line_bytes - self._look_at + self._limits.max_target_bytes, 0)
        if end >= 0:
            raise explain(rest[: end + 4])
        check_beginning(rest)

    def _check_sizes(self, target: int, headers: int) -> None:
        if target > self._limits.max_target_bytes:
            raise UriTooLong(f"a request target has at most {self._limits.max_target_bytes} bytes")
        if headers > self._limits.max_header_bytes:
            raise HeadersTooLarge(f"a request's headers have at most {self._limits.max_header_bytes} bytes together")

    def _check_count(self, headers: int) -> None:
        if headers > self._limits.max_headers:
            raise HeadersTooLarge(f"a request has at most {self._limits.max_headers} headers")

    def _read_headers(self, head: bytes, version_at: int) -> None:
        """From a head that HEAD matched; its minor version stands at `version_at`."""
        minor, rest = head[version_at : version_at + 1], head[version_at:]
        self._check_sizes(0, len(rest) - len("1\r\n\r\n"))
        found: HeaderList = []
        try:
            httptools.HttpRequestParser(_HeaderCollector(found)).feed_data(head)
        except httptools.HttpParserUpgrade:
            pass  # every header was read; whether the peer may upgrade is decided in _settle
        except httptools.HttpParserError as error:
            # It refuses some of what _settle refuses too, but cannot say which header is to blame.
            self._settle(_split(head), minor)
            raise BodyInvalid(f"the request cannot be read: {error}") from None
        self._check_count(len(found))
        if b" \r\n" in head or b"\t\r\n" in head:  # httptools leaves white space behind a value where it is
            found = [(name, value.rstrip(b" \t")) for name, value in found]
        self._framing = self._settle(found, minor)
        self._headers = found
        self._rest_bytes = len(rest)
        self._same = rest if len(rest) <= _MOST_KEPT_BYTES else b""

    def _settle(self, headers: HeaderList, minor: bytes) -> _Framing:
        """What the framing headers say together. Anything that another reader could take differently is refused."""
        framing = _Framing()
        for name, value in headers:
            if name in _FRAMING:
                self._settle_one(framing, name, value, minor)
        if framing.chunked and framing.length is not None:
            raise BodyInvalid("Content-Length and Transfer-Encoding exclude each other", field="Transfer-Encoding")
        if framing.host is None and minor == b"1":
            raise BodyInvalid("HTTP/1.1 requests name their Host", field="Host")
        return framing

    def _settle_one(self, framing: _Framing, name: bytes, value: bytes, minor: bytes) -> None:
        if name == b"host":
            if framing.host is not None:
                raise BodyInvalid("there is more than one Host", field="Host")
            if HOST.fullmatch(value) is None:
                raise BodyInvalid("Host is a host name or address, and a port if need be", field="Host")
            framing.host = value
        elif name == b"content-length":
            if framing.length is not None:
                raise BodyInvalid("there is more than one Content-Length", field="Content-Length")
            framing.length = self._length(value)
        elif name == b"connection":
            options = [option.strip(b" \t") for option in value.lower().split(b",")]
            framing.close = framing.close or b"close" in options
            framing.keep_alive = framing.keep_alive or b"keep-alive" in options
        elif name == b"transfer-encoding":
            if framing.chunked or minor == b"0" or value.lower() != b"chunked":
                raise BodyInvalid("Transfer-Encoding is chunked, once, on HTTP/1.1 only", field="Transfer-Encoding")
            framing.chunked = True
        elif name == b"expect":
            if value.lower() != b"100-continue":
                raise BodyInvalid("the only expectation known here is 100-continue", field="Expect")
            framing.expects_continue = minor == b"1"
        elif name == b"upgrade":
            if b"websocket" in value.lower() and not self._upgrades:
                raise BodyInvalid(
                    "no WebSocket here: GET /v1/servers names the servers that take them", field="Upgrade"
                )
        else:  # CGI-like programs take these for the real ones
            raise BodyInvalid("a header's name that only looks like one for framing", field=name.decode("ascii"))

    def _length(self, value: bytes) -> int:
        if not value.isdigit():
            raise BodyInvalid("Content-Length is a number of bytes in decimal digits", field="Content-Length")
        if len(value) > _MOST_LENGTH_DIGITS or int(value) > self._limits.max_body_bytes:
            raise BodyTooLarge(f"a body has at most {self._limits.max_body_bytes} bytes", field="Content-Length")
        return int(value)


class _HeaderCollector:
    """What httptools calls. A closure: this is the busiest line of the server."""

    def __init__(self, found: HeaderList) -> None:
        append = found.append

        def on_header(name: bytes, value: bytes) -> None:
            append((name.lower(), value))

        self.on_header = on_header


def _split(head: bytes) -> HeaderList:
    """The headers of a head that HEAD matched."""
    lines = [line.partition(b":") for line in head.split(b"\r\n")[1:-2]]
    return [(name.lower(), value.strip(b" \t")) for name, _, value in lines]


def _resolve(method: bytes, target: bytes, headers: HeaderList) -> tuple[bytes, bytes, HeaderList]:
    """(path, query, headers) of a target in asterisk or absolute form (RFC 9112, sections 3.2.4 and 3.2.2)."""
    if target == b"*" and method == b"OPTIONS":
        return target, b"", headers
    absolute = ABSOLUTE_FORM.fullmatch(target)
    if absolute is None or HOST.fullmatch(absolute[1]) is None:
        raise BodyInvalid("a request target is a path such as /v1/login, or an http(s) URL")
    # The target's authority counts, not the header's.
    headers = [(b"host", absolute[1]), *(header for header in headers if header[0] != b"host")]
    return absolute[2] or b"/", (absolute[3] or b"?")[1:], headers


def _decoded(raw_path: bytes) -> str:
    try:
        return unquote_to_bytes(raw_path).decode("utf-8")
    except UnicodeDecodeError:
        raise BodyInvalid("the request target's path is not UTF-8 behind its percent signs") from None
