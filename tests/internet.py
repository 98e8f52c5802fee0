"""An Internet for tests: names with public addresses, behind which real https servers of this machine answer.

Only the last step is bent, from a checked public address to a port of 127.0.0.1; whatever decides about names,
addresses and certificates is the product's own. Certificates are for `*.push-tests.net`.
"""

import ipaddress
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import trio

from pushctl.identity.fetch import Fetcher, FetchRules
from pushctl.identity.networks import Address
from tests.certificates import write_certificates

ZONE = "push-tests.net"
PUBLIC = "93.184.215.14"
"""Where names lead that were told nothing else."""

Handler = Callable[[str, trio.abc.Stream], Awaitable[None]]
"""Given the request's target; writes what it likes. The connection is closed after it."""


def answer(body: bytes | str, *headers: str, status: int = 200, content_type: str = "application/json") -> bytes:
    raw = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} X", f"Content-Type: {content_type}", f"Content-Length: {len(raw)}", *headers]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + raw


@dataclass
class Internet:
    folder: Path
    handlers: dict[str, Handler | bytes] = field(default_factory=dict)
    """By host; bytes are sent as they are."""
    addresses: dict[str, Sequence[str]] = field(default_factory=dict)
    """By name, where that is not PUBLIC."""
    requests: list[str] = field(default_factory=list)
    """`host/target`, in order."""
    resolved: list[str] = field(default_factory=list)
    connected: list[str] = field(default_factory=list)
    """Addresses."""
    port: int = 0
    dead: set[str] = field(default_factory=set)
    """Addresses that refuse connections."""

    @property
    def ca_file(self) -> str:
        return str(self.folder / "authority.pem")

    def publish(self, host: str, document: object, *headers: str) -> None:
        self.handlers[host] = answer(json.dumps(document), *headers)

    def fetcher(self, rules: FetchRules) -> Fetcher:
        return Fetcher(rules, resolve=self.resolve, transport=lambda context: _Rerouted(self, context))

    async def resolve(self, host: str, _port: int) -> Sequence[Address]:
        await trio.lowlevel.checkpoint()
        self.resolved.append(host)
        if not host.endswith(f".{ZONE}") and host not in self.addresses:
            raise OSError("no such name")
        return [ipaddress.ip_address(text) for text in self.addresses.get(host, (PUBLIC,))]

    async def serve(self, stream: trio.SocketStream) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.pem", self.folder / "server.key")
        secure = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        try:
            async with secure:
                await self._answer(secure)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # whoever asked has gone, which many of them are meant to do

    async def _answer(self, stream: trio.abc.Stream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            more = await stream.receive_some()
            if not more:
                return
            head += more
        lines = head.decode().split("\r\n")
        target = lines[0].split()[1]
        host = next(line.partition(":")[2].strip() for line in lines if line.lower().startswith("host:"))
        self.requests.append(host + target)
        handler = self.handlers.get(host, answer("{}", status=404))
        await (stream.send_all(handler) if isinstance(handler, bytes) else handler(target, stream))


class _Rerouted(httpx.AsyncBaseTransport):
    """The step from a public address to this machine."""

    def __init__(self, internet: Internet, context: ssl.SSLContext) -> None:
        self._internet = internet
        self._inner = httpx.AsyncHTTPTransport(verify=context, trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        address = request.url.host
        self._internet.connected.append(address)
        if address in self._internet.dead:
            raise httpx.ConnectError("refused")
        request.url = request.url.copy_with(host="127.0.0.1", port=self._internet.port)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


@asynccontextmanager
async def open_internet(folder: Path, *, host: str = f"*.{ZONE}") -> AsyncIterator[Internet]:
    write_certificates(folder, host=host)
    internet = Internet(folder)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        internet.port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, internet.serve, listeners)
        yield internet
        nursery.cancel_scope.cancel()
