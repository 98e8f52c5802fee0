"""WebSocket frames byte by byte, right and wrong, on a plain TCP stream: for what no library would send."""

import json
import struct
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import trio

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: pushctl.v1\r\n"
)
KEY = b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
PATIENCE_SECONDS = 30


def raw_frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    masked: bool = True,
    reserved: int = 0,
    mask: bytes = b"\0\0\0\0",
) -> bytes:
    """One frame; masked with zeros unless told otherwise, so that its payload can be read here."""
    head = bytes([fin << 7 | reserved << 4 | opcode])
    bit = 0x80 * masked
    size = len(payload)
    if size < 126:
        head += bytes([bit | size])
    elif size < 65_536:
        head += struct.pack("!BH", bit | 126, size)
    else:
        head += struct.pack("!BQ", bit | 127, size)
    if not masked:
        return head + payload
    key = (mask * (size // 4 + 1))[:size]
    return head + mask + (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(size)


def text(frame: dict[str, Any]) -> bytes:
    return raw_frame(TEXT, json.dumps(frame).encode())


class RawPeer:
    """A TCP connection that may have said something."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.received = b""

    async def send(self, data: bytes) -> None:
        """Also when nobody is there any more, or we have gone meanwhile."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self.stream.send_all(data)

    async def read_until(self, end: bytes) -> None:
        """Until this was received."""
        with trio.fail_after(PATIENCE_SECONDS):
            while end not in self.received:
                data = await self.stream.receive_some()
                assert data, f"closed after {self.received!r}"
                self.received += data

    async def upgrade(self, *, extra: bytes = b"", protocol: bytes = b"pushctl.v1") -> bytes:
        """The head of the answer."""
        await self.send(UPGRADE.replace(b"pushctl.v1", protocol) + extra + KEY)
        await self.read_until(b"\r\n\r\n")
        head, _, self.received = self.received.partition(b"\r\n\r\n")
        return head

    async def hello(self, token: str) -> None:
        """Upgrade and hello, up to the first sync that is done."""
        assert b" 101 " in await self.upgrade()
        await self.send(text({"type": "hello", "token": token, "cursor": None}))
        await self.read_until(b'"done":true')

    async def closed(self) -> bytes:
        """All that comes until the server drops the connection."""
        with trio.fail_after(PATIENCE_SECONDS), suppress(trio.BrokenResourceError):
            async for data in self.stream:
                self.received += data
        await self.stream.aclose()
        return self.received

    async def close_code(self) -> int | None:
        """Of the Close frame at the very end; None without one. Nothing more is said here meanwhile."""
        with suppress(trio.BrokenResourceError):
            await self.stream.send_eof()
        return close_code(await self.closed())


def close_code(received: bytes) -> int | None:
    """Of the Close frame at the very end of it."""
    at = received.rfind(b"\x88")
    if at < 0 or len(received) < at + 4 or received[at + 1] != len(received) - at - 2:
        return None
    code: int = struct.unpack("!H", received[at + 2 : at + 4])[0]
    return code


async def raw_peer(url: str, *, receive_buffer: int | None = None, source: str | None = None) -> RawPeer:
    """`receive_buffer`: bytes that the kernel takes for a peer that does not read. `source`: its address."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    sock = trio.socket.socket()
    try:
        if receive_buffer is not None:
            sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, receive_buffer)
        if source is not None:
            await sock.bind((source, 0))
        await sock.connect((parts.hostname, parts.port))
        return RawPeer(trio.SocketStream(sock))
    except BaseException:
        sock.close()
        raise
