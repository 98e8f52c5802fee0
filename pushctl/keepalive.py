"""POST over kept-alive HTTP/1.1 connections to one address, with or without TLS: as much HTTP as a router's calls to
socket servers and the load of a sender need.

Owns: the connections, and reading an answer. Promises: a request is sent once, whatever happens to its connection; one
that failed, was cancelled or broke the protocol takes its connection with it; a connection that the server has closed
meanwhile is not used; an answer has a bound. No error text holds the path, which may be a push URL's.
Must not know: what is posted, deadlines (they are the caller's).

Why not httpx: with it a router that calls for each message took twice the CPU of one that publishes, with this 1.2
times (tests/benchmarks/routing.py), and a sender would measure itself (tests/benchmarks/posting.py). Here it is the
road of every message.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import httptools
import trio

from pushctl.causes import cause_of
from pushctl.errors import PushctlError
from pushctl.plain_stream import PlainStream

RECEIVE_BYTES = 65_536
MAX_ANSWER_BYTES = 1024 * 1024

Stream: TypeAlias = "PlainStream | trio.SSLStream[PlainStream]"


class Unanswered(PushctlError):
    """There was no answer, or none that can be read. The request may have been carried out all the same."""


class NotConnected(Unanswered):
    """There was nobody to ask: the request was not sent."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`headers`: names in lower case; the last of several counts."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class KeepAlive:
    """To one host and port. Several tasks may post at once: each has a connection of its own meanwhile."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        """`tls`: whose certificates are believed; None: plain HTTP."""
        self._host = host
        self._port = port
        self._tls = tls
        self._authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._idle: list[Stream] = []
        self._closed = False

    async def connect(self, connections: int) -> None:
        """Have so many open, together, before they are needed. Raises NotConnected if one of them cannot be."""
        failures: list[NotConnected] = []

        async def connect_one() -> None:
            try:
                self._idle.append(await self._open())
            except NotConnected as error:
                failures.append(error)
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for _ in range(connections - len(self._idle)):
                nursery.start_soon(connect_one)
        if failures:
            raise failures[0]

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Raises Unanswered."""
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        head = f"POST {path} HTTP/1.1\r\nHost: {self._authority}\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
        stream = await self._connection()
        reusable = False
        try:
            await stream.send_all(head.encode("latin-1") + body)
            answer, reusable = await _read(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise Unanswered(f"the connection broke: {cause_of(error)}") from None
        finally:
            if reusable and not self._closed:
                self._idle.append(stream)
            else:
                _plain(stream).close()
        return answer

    async def _connection(self) -> Stream:
        while self._idle:
            stream = self._idle.pop()
            if not _plain(stream).is_readable():  # the end, most likely: nothing was asked
                return stream
            _plain(stream).close()
        return await self._open()

    async def _open(self) -> Stream:
        """A new connection, greeted. Raises NotConnected."""
        try:
            tcp = PlainStream.of(await trio.open_tcp_stream(self._host, self._port))
        except OSError as error:
            raise NotConnected(f"cannot connect: {cause_of(error)}") from None
        except UnicodeError:  # `a..b`, or a label of more than 63 characters
            raise NotConnected("cannot connect: that is no name of a host") from None
        if self._tls is None:
            return tcp
        tls = trio.SSLStream(tcp, self._tls, server_hostname=self._host, https_compatible=True)
        shaken = False
        try:
            await tls.do_handshake()
            shaken = True
        except trio.BrokenResourceError as error:
            raise NotConnected(f"cannot connect: {cause_of(error)}") from None
        finally:
            if not shaken:
                tcp.close()
        return tls

    def close(self) -> None:
        """Close the connections that nobody uses just now; the others close after their answer."""
        self._closed = True
        while self._idle:
            _plain(self._idle.pop()).close()


def _plain(stream: Stream) -> PlainStream:
    return stream.transport_stream if isinstance(stream, trio.SSLStream) else stream


class _Reader:
    """What httptools calls while it parses."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.reusable = False
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.status = 0
        self.done = False

    def on_message_begin(self) -> None:
        if self.done:  # one answer too many: the next request must not take it for its own
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.done:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, piece: bytes) -> None:
        if not self.done:
            self.body += piece

    def on_message_complete(self) -> None:
        if self.done:
            return
        self.status = self.parser.get_status_code()
        if self.status < 200:  # RFC 9110, 15.2: the answer is still to come, and nobody need have asked for this
            self.headers.clear()
            return
        self.reusable = self.parser.should_keep_alive()  # asked later, it says no to everything
        self.done = True


async def _read(stream: Stream) -> tuple[Answer, bool]:
    """The answer, and whether the connection may be used again."""
    reader = _Reader()
    received = 0
    while not reader.done:
        data = await stream.receive_some(RECEIVE_BYTES)
        received += len(data)
        if not data:
            raise Unanswered("the connection was closed instead of an answer")
        if received > MAX_ANSWER_BYTES:
            raise Unanswered("the answer is too long")
        try:
            reader.parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise Unanswered(f"the answer is not HTTP: {error}") from None
        except httptools.HttpParserUpgrade:
            raise Unanswered("the answer changes to another protocol") from None
    return Answer(reader.status, reader.headers, bytes(reader.body)), reader.reusable
