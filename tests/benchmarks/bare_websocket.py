"""As little WebSocket as a device of a benchmark needs: cheap enough to leave the cores to what is measured.

Owns: the request of an upgrade, frames of a client, frames of a server. Must not know: what is in them.
"""

import struct
from collections.abc import Iterator

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def upgrade(path: str, subprotocol: str | None) -> bytes:
    """The request that opens a connection. Its key is always the same: nobody here proves anything with it."""
    said = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
    return (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n{said}\r\n"
    ).encode()


def masked(opcode: int, payload: bytes) -> bytes:
    """A frame of a client. Its mask is of zeros, which change nothing."""
    size = len(payload)
    head = bytes([0x80 | opcode, 0x80 | size]) if size < 126 else struct.pack(">BBH", 0x80 | opcode, 0x80 | 126, size)
    return head + bytes(4) + payload


def frames(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """(opcode, payload) of the whole frames of a server that a buffer begins with; they leave it."""
    while len(buffer) >= 2:
        head, size = 2, buffer[1]
        if size >= 126:
            form = ">H" if size == 126 else ">Q"
            head += struct.calcsize(form)
            if len(buffer) < head:
                return
            (size,) = struct.unpack_from(form, buffer, 2)
        if len(buffer) < head + size:
            return
        opcode, payload = buffer[0] & 15, bytes(buffer[head : head + size])
        del buffer[: head + size]
        yield opcode, payload
