"""As little WebSocket as a benchmark's device needs, on a bare TCP stream: cheap beside the servers that are measured.

Owns: the upgrade, frames in and out. Promises: whole frames, in order. Must not know: what they say, what is measured.
"""

import struct
from collections.abc import Iterator

import trio

from pushctl.protocol.frames import SUBPROTOCOL
from tests.benchmarks.unsound import Unsound

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def request(path: str, subprotocol: str | None) -> bytes:
    """What asks for an upgrade. Its key is always the same: nobody here proves anything with it."""
    wanted = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
    return (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n{wanted}\r\n"
    ).encode()


_UPGRADE = request("/", SUBPROTOCOL)


async def upgrade(stream: trio.SocketStream, device: int) -> bytearray:
    """Speak WebSocket from now on; what has come already behind the answer. Raises Unsound when that is a refusal."""
    await stream.send_all(_UPGRADE)
    buffer = bytearray()
    while b"\r\n\r\n" not in buffer:
        buffer += await more(stream, device)
    if not buffer.startswith(b"HTTP/1.1 101 "):
        raise Unsound(f"a socket server refused device {device}: {bytes(buffer[:100])!r}")
    del buffer[: buffer.index(b"\r\n\r\n") + 4]
    return buffer


async def more(stream: trio.SocketStream, device: int) -> bytes:
    """Some of what comes. Raises Unsound when nothing will."""
    chunk = await stream.receive_some(65_536)
    if not chunk:
        raise Unsound(f"device {device} lost its connection")
    return bytes(chunk)


def masked(opcode: int, payload: bytes) -> bytes:
    """A frame of a client, of less than 64 kB. Its mask is of zeros, which change nothing."""
    size = len(payload)
    head = bytes([0x80 | opcode, 0x80 | size]) if size < 126 else struct.pack(">BBH", 0x80 | opcode, 0xFE, size)
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
