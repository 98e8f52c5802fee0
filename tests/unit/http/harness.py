"""A real server on loopback and a peer that sends whatever bytes it is told to.

`serving` records what reached the application and, at its end, that neither the application nor the server crashed.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import trio

from pushctl.config.model import Http
from pushctl.http.asgi import ASGIApp, Receive, Scope, Send, read_body, respond
from pushctl.http.server import HttpServer, address_of, open_listeners

CEILING_SECONDS = 10


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json"
        said: dict[str, Any] = json.loads(self.body)
        assert said["status"] == self.status
        return said


class RawPeer:
    """A client that knows only as much HTTP as it takes to read answers."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.rest = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def send_eof(self) -> None:
        assert isinstance(self.stream, trio.SocketStream)
        await self.stream.send_eof()

    async def answer(self, *, to_head: bool = False) -> Answer:
        """The next answer, by its own framing. EOFError if there is none."""
        status_line, *lines = (await self.until(b"\r\n\r\n")).decode().split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(": ")
            assert name == name.lower()
            assert name not in headers, "a header twice"
            headers[name] = value
        status = int(status_line.split(" ")[1])
        body = b""
        if to_head or status in (100, 204, 304):
            pass
        elif "transfer-encoding" in headers:
            assert "content-length" not in headers
            while size := int(await self.until(b"\r\n"), 16):
                body += await self.exactly(size)
                assert await self.exactly(2) == b"\r\n"
            assert await self.exactly(2) == b"\r\n"
        elif "content-length" in headers:
            body = await self.exactly(int(headers["content-length"]))
        else:
            body = await self.everything()
        return Answer(status, headers, body)

    async def until(self, end: bytes) -> bytes:
        while end not in self.rest:
            await self._more()
        found, _, self.rest = self.rest.partition(end)
        return found

    async def exactly(self, size: int) -> bytes:
        while len(self.rest) < size:
            await self._more()
        found, self.rest = self.rest[:size], self.rest[size:]
        return found

    async def everything(self) -> bytes:
        """What comes until the server ends the connection."""
        while data := await self.stream.receive_some(65_536):
            self.rest += data
        found, self.rest = self.rest, b""
        return found

    async def _more(self) -> None:
        data = await self.stream.receive_some(65_536)
        if not data:
            raise EOFError(f"the server ended the connection after {self.rest!r}")
        self.rest += data

    async def nothing_more(self) -> None:
        """The server ends the connection without another byte."""
        assert await self.everything() == b""


@dataclass
class Running:
    server: HttpServer
    address: str
    nursery: trio.Nursery
    seen: list[tuple[str, str, bytes]] = field(default_factory=list)
    """(method, path, body) of every request that reached the application and had a whole body"""
    crashes_expected: int = 0

    @asynccontextmanager
    async def peer(self) -> AsyncIterator[RawPeer]:
        host, port = self.address.split(":")
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            yield RawPeer(stream)


@asynccontextmanager
async def serving(
    app: ASGIApp | None = None, *, tls: Any = None, proxies: Any = (), short: Any = None, **limits: Any
) -> AsyncIterator[Running]:
    """A server with `app`, or with one that records requests and answers with their path."""
    seen: list[tuple[str, str, bytes]] = []

    async def record(scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive, 1_000_000)
        seen.append((scope["method"], scope["path"], body))
        await respond(send, 200, [(b"content-type", b"text/plain")], scope["path"].encode())

    with trio.fail_after(CEILING_SECONDS):
        listeners = await open_listeners("127.0.0.1:0")
        server = HttpServer(app or record, replace(Http(), **limits), tls=tls, trusted_proxies=proxies, short=short)
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve, listeners)
            running = Running(server, address_of(listeners), nursery, seen)
            yield running
            assert server.statistics().crashes == running.crashes_expected
            nursery.cancel_scope.cancel()


def get(path: str = "/", *headers: str) -> bytes:
    """A plain request."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: a", *headers, "", ""]).encode()


def post(body: bytes, *headers: str, path: str = "/") -> bytes:
    """A plain request with a body and its length."""
    lines = [f"POST {path} HTTP/1.1", "Host: a", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body
