"""WebSocket frames as a server reads and writes them (RFC 6455, sections 5 to 7 and 8.1), without I/O.

Owns: where a frame ends, masks, putting a message together, and what a peer must not send.
Promises: whatever bytes come, in whatever pieces, messages and control frames come out in order, or Violation with the
close code that the peer deserves; behind a frame that breaks the framing, and behind a Close, nothing comes out and
nothing is kept. A message, in however many fragments, takes
memory for `most_bytes` and MAX_PIECES; an announced length alone is enough to refuse it. Between two frames nothing is
held. Extensions are never negotiated: reserved bits are nought.
Must not know: streams, time, what a message says.

A library that does this without I/O, wsproto, keeps 5 KiB and a parser of HTTP for every connection, which is most of
what one that says nothing costs; tests hold this one to it, byte for byte.
"""

import struct
from enum import IntEnum
from typing import Final, NamedTuple

MAX_PIECES: Final = 64
"""Kept apart before they are joined: each costs an object, however small it is."""

MAX_CONTROL_BYTES: Final = 125

PROTOCOL_ERROR: Final = 1002
NOT_UTF8: Final = 1007
TOO_BIG: Final = 1009
NO_CODE: Final = 1005
"""Of a Close without one; never sent."""

_MAY_BE_SENT: Final = frozenset((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014))
"""Below 3000: what section 7.4 and IANA's list name, but for those that stand in no frame."""

_FIN, _RESERVED, _OPCODE, _MASKED = 0x80, 0x70, 0x0F, 0x80


class Kind(IntEnum):
    """Opcodes."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


_KINDS: Final = {int(kind): kind for kind in Kind}


class Violation(Exception):
    """The peer sent what it must not. `code`: to close with."""

    def __init__(self, code: int) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


class Event(NamedTuple):
    """TEXT with a str, BINARY, PING and PONG with bytes, CLOSE with the code (NO_CODE without one)."""

    kind: Kind
    content: str | bytes | int


class Incoming:
    """Feed it what comes; ask for events until there is none."""

    __slots__ = ("_at", "_broken", "_buffer", "_message_bytes", "_most", "_pieces", "_text", "closed", "frames")

    def __init__(self, most_bytes: int) -> None:
        """`most_bytes`: of a message."""
        self._most = most_bytes
        self._buffer: bytes | bytearray = b""
        self._at = 0
        self._pieces: list[bytes] | None = None
        """Of the message at hand; None between two."""
        self._text = False
        self._message_bytes = 0
        self._broken = False
        self.closed = False
        """A Close has come, whatever it says."""
        self.frames = 0
        """Read so far; the caller may reset it."""

    def feed(self, data: bytes) -> None:
        """What came next."""
        if self._broken or self.closed:
            return
        if self._at == len(self._buffer):
            self._buffer = data
        else:
            # What is left of before is less than a frame; it is added to, for it may come byte by byte.
            if isinstance(self._buffer, bytes):
                self._buffer = bytearray(self._buffer)
            del self._buffer[: self._at]
            self._buffer += data
        self._at = 0

    def next_event(self) -> Event | None:
        """None: more has to come. Raises Violation."""
        while not (self._broken or self.closed):
            try:
                frame = self._next_frame()
            except Violation:
                self._broken, self._buffer = True, b""
                raise
            if frame is None:
                break
            kind, last, payload = frame
            if kind is Kind.CLOSE:
                self.closed, self._buffer = True, b""
                return Event(kind, _close_code(payload))
            if kind > Kind.CLOSE:
                return Event(kind, payload)
            event = self._add(kind, payload, last=last)
            if event is not None:
                return event
        return None

    def _next_frame(self) -> tuple[Kind, bool, bytes] | None:
        buffer, at = self._buffer, self._at
        have = len(buffer) - at
        if have < 2:
            self._forget_if_empty(have)
            return None
        first, second = buffer[at], buffer[at + 1]
        size, last = second & ~_MASKED, first >= _FIN
        kind = self._checked(first, second, size)
        head = 2
        if size > MAX_CONTROL_BYTES:
            head = 4 if size == 126 else 10
            if have < head:
                return None
            size = int.from_bytes(buffer[at + 2 : at + head], "big")
            # Minimal lengths only; and the highest bit of the longest is nought.
            if size < (126 if head == 4 else 65_536) or size >> 63:
                raise Violation(PROTOCOL_ERROR)
        if kind < Kind.CLOSE and self._message_bytes + size > self._most:
            raise Violation(TOO_BIG)
        start = at + head + 4
        end = start + size
        if end > len(buffer):
            return None
        payload = _unmasked(buffer[start - 4 : start], buffer[start:end]) if size else b""
        self._at = end
        self.frames += 1
        return kind, last, payload

    def _forget_if_empty(self, have: int) -> None:
        """Thousands of connections wait for their next frame."""
        if not have:
            self._buffer, self._at = b"", 0

    def _checked(self, first: int, second: int, size: int) -> Kind:
        """The kind of a frame that may come here."""
        kind = _KINDS.get(first & _OPCODE)
        if first & _RESERVED or kind is None or second < _MASKED:
            raise Violation(PROTOCOL_ERROR)
        if kind >= Kind.CLOSE:
            if first < _FIN or size > MAX_CONTROL_BYTES:
                raise Violation(PROTOCOL_ERROR)
        elif (kind is Kind.CONTINUATION) != (self._pieces is not None):
            raise Violation(PROTOCOL_ERROR)
        return kind

    def _add(self, kind: Kind, payload: bytes, *, last: bool) -> Event | None:
        """The whole message with its last frame."""
        if kind is not Kind.CONTINUATION:
            self._text = kind is Kind.TEXT
            if last:
                return self._whole(payload)
            self._pieces = []
        assert self._pieces is not None
        if payload:
            self._pieces.append(payload)
            self._message_bytes += len(payload)
        if not last:
            if len(self._pieces) > MAX_PIECES:
                self._pieces = [b"".join(self._pieces)]
            return None
        message = b"".join(self._pieces)
        self._pieces, self._message_bytes = None, 0
        return self._whole(message)

    def _whole(self, message: bytes) -> Event:
        if not self._text:
            return Event(Kind.BINARY, message)
        try:
            return Event(Kind.TEXT, message.decode())
        except UnicodeDecodeError:
            raise Violation(NOT_UTF8) from None


def _unmasked(mask: bytes | bytearray, payload: bytes | bytearray) -> bytes:
    size = len(payload)
    key = int.from_bytes((bytes(mask) * (size // 4 + 1))[:size], "big")
    return (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")


def _close_code(payload: bytes) -> int:
    """Of a Close frame. Raises Violation."""
    if not payload:
        return NO_CODE
    if len(payload) == 1:
        raise Violation(PROTOCOL_ERROR)
    code = int.from_bytes(payload[:2], "big")
    if code not in _MAY_BE_SENT and not 3000 <= code <= 4999:
        raise Violation(PROTOCOL_ERROR)
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise Violation(NOT_UTF8) from None
    return code


# --- out -------------------------------------------------------------------------------------------------------------


def text_header(size: int) -> bytes:
    """Of a text frame in one piece, of so many bytes."""
    if size <= MAX_CONTROL_BYTES:
        return bytes((_FIN | Kind.TEXT, size))
    if size < 65_536:
        return struct.pack("!BBH", _FIN | Kind.TEXT, 126, size)
    return struct.pack("!BBQ", _FIN | Kind.TEXT, 127, size)


def control_frame(kind: Kind, payload: bytes = b"") -> bytes:
    """`payload`: at most MAX_CONTROL_BYTES."""
    return bytes((_FIN | kind, len(payload))) + payload


def close_frame(code: int, reason: str) -> bytes:
    """A reason that is too long is cut. A code that stands in no frame: NO_CODE leaves it out, another becomes 1000."""
    if code == NO_CODE:
        return control_frame(Kind.CLOSE)
    if code not in _MAY_BE_SENT and not 3000 <= code <= 4999:
        code = 1000
    words = reason.encode()[: MAX_CONTROL_BYTES - 2].decode(errors="ignore").encode()
    return control_frame(Kind.CLOSE, code.to_bytes(2, "big") + words)
