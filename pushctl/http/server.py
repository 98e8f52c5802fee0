"""The HTTP server: listeners, who may connect, the watch over time limits, and the drain.

Owns: one nursery with a task for every connection, and the counts.
Promises: nothing a peer or an application does ends `serve`; at most limits.max_connections are served at once, and the
others are told so; `drain` returns when nobody is left.
Must not know: what the application answers.

One watch looks at all connections a few times a second: a deadline of its own for every wait would cost each request
more than everything else together (plain_stream.py).
"""

import random
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from socket import socket

import trio
from trio import TaskStatus

from pushctl.config.model import Http
from pushctl.config.schema import join_address, split_address
from pushctl.errors import ConfigError, Failed, Overloaded
from pushctl.http.accepting import accept_forever
from pushctl.http.addresses import TrustedProxies, plain_host
from pushctl.http.asgi import ASGIApp
from pushctl.http.connection import Connection
from pushctl.http.contained import Contained
from pushctl.http.exchange import Service, refuse
from pushctl.http.peer import Peer
from pushctl.http.short import ShortWay
from pushctl.liveness import Loop
from pushctl.log import get_logger
from pushctl.plain_stream import PlainStream

log = get_logger()

MAX_REFUSALS = 64
"""Connections above the limit that are told so at a time; more are closed without a word."""
REFUSAL_SECONDS = 2
"""For a peer to take its refusal."""
RETRY_AFTER_SECONDS = (2, 10)
"""Those who were refused together come apart."""
SLOWEST_WATCH_SECONDS = 0.5
BACKLOG = 0xFFFF
"""Connections that wait to be taken; the kernel makes it net.core.somaxconn."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a server did since it was made."""

    connections: int
    """open now"""
    accepted: int
    requests: int
    """given to the application"""
    refused: int
    """connections above the limit"""
    problems: int
    """requests this layer answered itself"""
    crashes: int
    """applications that raised, or gave no whole answer"""


async def open_listeners(listen: str, *, shared: bool = False) -> list[trio.SocketListener]:
    """Listen on `host:port`; port 0 picks a free one. `shared`: with others that say so, too (SO_REUSEPORT); each new
    connection is one of theirs. Raises ConfigError, Failed with one line if it cannot be had."""
    try:
        host, port = split_address(listen)
    except ValueError:
        raise ConfigError([f"{listen!r} is no listen address: write host:port, such as 127.0.0.1:8080"]) from None
    try:
        if shared:
            listeners = await _open_shared(host, port)
        else:
            listeners = await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        raise Failed(f"cannot listen on {listen}: {error.strerror or error}") from None
    if port == 0:  # a name with several addresses got as many ports: one address can be told to others, not two
        for surplus in listeners[1:]:
            await surplus.aclose()
        del listeners[1:]
    return listeners


async def _open_shared(host: str, port: int) -> list[trio.SocketListener]:
    """As trio.open_tcp_listeners, which has no place for this option. Raises OSError."""
    found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM, flags=trio.socket.AI_PASSIVE)
    listeners = []
    try:
        for family, kind, proto, _, address in found:
            sock = trio.socket.socket(family, kind, proto)
            listeners.append(sock)
            sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_REUSEADDR, 1)
            sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_REUSEPORT, 1)
            if family == trio.socket.AF_INET6:
                sock.setsockopt(trio.socket.IPPROTO_IPV6, trio.socket.IPV6_V6ONLY, 1)
            await sock.bind(address)
            sock.listen(BACKLOG)
    except OSError:
        for sock in listeners:
            sock.close()
        raise
    return [trio.SocketListener(sock) for sock in listeners]


def address_of(listeners: Sequence[trio.SocketListener]) -> str:
    """`127.0.0.1:41234` or `[::1]:41234`: where they really listen."""
    host, port = listeners[0].socket.getsockname()[:2]
    return join_address(host, port)


class HttpServer:
    """An ASGI application on some listeners. `serve` it once."""

    def __init__(
        self,
        app: ASGIApp,
        limits: Http,
        *,
        tls: Callable[[], ssl.SSLContext] | None = None,
        trusted_proxies: Sequence[str] = (),
        short: ShortWay | None = None,
    ) -> None:
        """`tls`: asked for each new connection. `trusted_proxies`: networks whose Forwarded and X-Forwarded-* headers
        are believed. `short`: for requests that need not go through `app`. Raises ConfigError."""
        self._service = Service(app, limits, TrustedProxies(trusted_proxies), short)
        self._limits = limits
        self._tls = tls
        self._accepting = trio.CancelScope()
        self.loop = Loop("the watch over requests that take too long")
        self._over = trio.Event()
        self._serving = False
        self._connections: set[Connection] = set()
        self._somebody = trio.Event()
        self._accepted = 0
        self._refused = 0
        self._refusals = 0

    def statistics(self) -> Statistics:
        service = self._service
        return Statistics(
            len(self._connections), self._accepted, service.requests, self._refused, service.problems, service.crashes
        )

    async def serve(
        self, listeners: Sequence[trio.SocketListener], *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until cancelled, or until `drain` has finished. Closes the listeners."""
        self._serving = True
        try:
            async with trio.open_nursery() as watching:
                watching.start_soon(self._watch)
                async with trio.open_nursery() as nursery:
                    task_status.started()
                    with self._accepting:
                        await accept_forever(listeners, self._accepted_one, nursery, name="connection")
                watching.cancel_scope.cancel()
        finally:
            self._over.set()

    async def drain(self) -> None:
        """Accept nobody any more, end idle connections, answer what was begun. Returns when no connection is left."""
        self._service.draining = True
        self._accepting.cancel()
        for connection in self._connections:
            connection.drain()
        if self._serving:
            await self._over.wait()

    async def _watch(self) -> None:
        limits = self._limits
        shortest = min(limits.header_seconds, limits.body_seconds, limits.idle_seconds, limits.write_seconds)
        pause = min(shortest / 4, SLOWEST_WATCH_SECONDS)
        while True:
            if not self._connections:  # most admin listeners, most of the time
                self._somebody = trio.Event()
                with self.loop.idle():
                    await self._somebody.wait()
            await trio.sleep(pause)
            self.loop.turn()
            now = trio.current_time()
            for connection in self._connections:
                connection.check(now)

    async def _accepted_one(self, sock: socket) -> None:
        wire = PlainStream(sock, self._limits.write_seconds)
        try:
            client, server = sock.getpeername()[:2], sock.getsockname()[:2]
        except OSError:  # it is gone already
            wire.close()
            return
        host = plain_host(client[0])
        peer = Peer(
            wire,
            self._tls and self._tls(),
            self._limits,
            client=(host, client[1]),
            server=(server[0], server[1]),
            is_proxy=self._service.proxies.trusts(host),
        )
        if len(self._connections) >= self._limits.max_connections:
            await self._turn_away(peer)
            return
        connection = Connection(self._service, peer)
        self._accepted += 1
        self._connections.add(connection)
        self._somebody.set()
        try:
            with Contained() as life:
                await connection.run()
            if life.error is not None:
                log.error("connection_crashed", peer=client[0], exc_info=life.error)
                self._service.crashes += 1
        finally:
            self._connections.discard(connection)

    async def _turn_away(self, peer: Peer) -> None:
        self._refused += 1
        self._refusals += 1
        try:
            # A handshake costs more than the answer is worth.
            if self._tls is None and self._refusals <= MAX_REFUSALS:
                with trio.move_on_after(REFUSAL_SECONDS), suppress(trio.BrokenResourceError):
                    seconds = random.randint(*RETRY_AFTER_SECONDS)  # noqa: S311 - spread
                    busy = Overloaded("too many connections", retry_after_seconds=seconds)
                    await refuse(self._service, peer, busy)
                    await peer.linger()
        finally:
            self._refusals -= 1
            peer.close()
