"""What a server sends after its upgrade, read strictly by RFC 6455: another frame than a server may send is an
AssertionError.

Must not know: our server.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
NO_CODE = 1005


@dataclass(frozen=True, slots=True)
class Frame:
    opcode: int
    payload: bytes

    @property
    def code(self) -> int:
        """Of a Close."""
        return int.from_bytes(self.payload[:2]) if self.payload else NO_CODE


def parse(octets: bytes) -> list[Frame]:
    """All frames, of which none is left half-way."""
    found = list(_frames(octets))
    assert all(frame.opcode != CLOSE for frame in found[:-1]), f"something comes behind a Close: {found}"
    return found


def _frames(octets: bytes) -> Iterator[Frame]:
    at = 0
    while at < len(octets):
        first, second = octets[at], octets[at + 1]
        assert first & 0x80, "a message in pieces"
        assert not first & 0x70, "a reserved bit"
        assert not second & 0x80, "a server's frame is not masked"
        opcode, size, at = first & 0x0F, second, at + 2
        if size == 126:
            (size,) = struct.unpack_from("!H", octets, at)
            assert size > 125, "a longer length than need be"
            at += 2
        elif size == 127:
            (size,) = struct.unpack_from("!Q", octets, at)
            assert 65_535 < size < 2**63, "a longer length than need be"
            at += 8
        payload = octets[at : at + size]
        assert len(payload) == size, f"half a frame: {payload[:100]!r}"
        at += size
        _check(opcode, payload)
        yield Frame(opcode, payload)


def _check(opcode: int, payload: bytes) -> None:
    assert opcode in (TEXT, CLOSE, PING, PONG), f"opcode {opcode}"
    assert opcode == TEXT or len(payload) < 126, "a control frame that is too long"
    if opcode == TEXT:
        payload.decode()
    elif opcode == CLOSE and payload:
        code = int.from_bytes(payload[:2])
        assert len(payload) > 1
        assert 1000 <= code < 5000
        assert code not in (1004, 1005, 1006, 1015), f"a code that is never sent: {code}"
        payload[2:].decode()
