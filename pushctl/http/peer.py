"""The other end of one connection: its bytes in and out, its requests, and who it is.

Owns: the wire (under TLS or not), the parser that is fed from it, and the way a connection ends.
Promises: what is read goes to the parser and nowhere else; whoever gets a last answer gets the chance to read it.
Must not know: applications, or when to read.
"""

import ssl
from contextlib import suppress
from typing import Final

import trio

from pushctl.config.model import Http
from pushctl.http.addresses import Address
from pushctl.http.parser import RequestParser
from pushctl.plain_stream import READ_BYTES, PlainStream

LINGER_SECONDS: Final = 2
"""How long we still take what the peer is sending after our last answer."""
LINGER_BYTES: Final = 1024 * 1024


class Peer:
    """One accepted connection."""

    __slots__ = (
        "_receive_some",
        "_tls",
        "client",
        "ended",
        "is_proxy",
        "parser",
        "reset",
        "scheme",
        "send",
        "server",
        "wire",
    )

    def __init__(
        self,
        wire: PlainStream,
        tls: ssl.SSLContext | None,
        limits: Http,
        *,
        client: Address,
        server: Address,
        is_proxy: bool,
    ) -> None:
        self.wire = wire
        self.parser = RequestParser(limits)
        self.client = client
        """Its address"""
        self.is_proxy = is_proxy
        """It is one of ours: its requests say who the client is."""
        self.server = server
        """Our address, as it sees it"""
        self.scheme = "http" if tls is None else "https"
        self.ended = False
        """It will send nothing more; it may still read."""
        self.reset = False
        """What was sent is not a whole answer, or nobody takes it: end without ceremony."""
        self._tls = None if tls is None else trio.SSLStream(wire, tls, server_side=True, https_compatible=True)
        self.send = wire.send_all if self._tls is None else self._tls.send_all
        self._receive_some = wire.receive_some if self._tls is None else self._tls.receive_some

    async def handshake(self) -> None:
        """TLS, if there is any. Raises BrokenResourceError."""
        if self._tls is not None:
            await self._tls.do_handshake()

    async def fill(self) -> bool:
        """Read once, into the parser; False at the peer's end. Raises Overdue, BrokenResourceError."""
        data = await self._receive_some(READ_BYTES)
        if data:
            self.parser.feed(data)
            return True
        self.ended = True
        return False

    async def linger(self) -> None:
        """RFC 9112, section 9.6: a close with unread bytes would destroy the answer on its way to the peer."""
        if self.ended or self.reset:
            return
        self.wire.shutdown()
        self.wire.read_by(trio.current_time() + LINGER_SECONDS)
        taken = 0
        with suppress(trio.BrokenResourceError):
            while taken < LINGER_BYTES and (data := await self.wire.receive_some(READ_BYTES)):
                taken += len(data)

    def close(self) -> None:
        self.wire.close(reset=self.reset)
