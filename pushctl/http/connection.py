"""One connection: its requests one after the other, each answered before the next is looked at.

Owns: the order of things, and the time a request's head may take.
Promises: answers go out in the order of the requests; every wait for the peer has an end; whatever the peer sends,
`run` returns.
Must not know: listeners, or who else is connected.
"""

from math import inf
from typing import Final

import trio

from pushctl.errors import BodyInvalid, Problem, TooSlow
from pushctl.http.answer import whole_without_body
from pushctl.http.contained import Contained
from pushctl.http.exchange import Exchange, Service, refuse
from pushctl.http.parser import Request
from pushctl.http.peer import Peer
from pushctl.http.short import ShortWay
from pushctl.plain_stream import Overdue

BURST: Final = 32
"""Pipelined requests that are answered before others run."""


class Connection:
    """`run` it once."""

    __slots__ = ("_idle", "_peer", "_service")

    def __init__(self, service: Service, peer: Peer) -> None:
        self._service = service
        self._peer = peer
        self._idle = False
        """Nothing of a request has come since the last answer."""

    async def run(self) -> None:
        """Answer until the peer, a limit or the drain ends it; closes the connection."""
        try:
            self._peer.wire.read_by(trio.current_time() + self._service.limits.header_seconds)
            await self._peer.handshake()
            if await self._serve():
                await self._peer.linger()
        except trio.BrokenResourceError:
            self._peer.reset = True
        finally:
            self._peer.close()

    def drain(self) -> None:
        """End now if no request is in progress. The service is draining: otherwise it ends after the request."""
        if self._idle:
            self._peer.wire.stop_reading()

    def check(self, now: float) -> None:
        """Give up what is overdue."""
        self._peer.wire.check(now)

    async def _serve(self) -> bool:
        """True if the last thing that happened was an answer."""
        patience = self._service.limits.header_seconds
        answered = 0
        while True:
            try:
                request = self._peer.parser.next_request() or await self._arrival(patience)
            except Problem as problem:
                await refuse(self._service, self._peer, problem)
                return True
            if request is None:
                return False
            self._service.requests += 1
            short = self._short_for(request)
            if short is not None:
                is_good = await self._shortly(short, request)
            else:
                is_good = await Exchange(self._service, self._peer, request).run()
            if not is_good:
                return True
            patience = self._service.limits.idle_seconds
            answered += 1
            if answered % BURST == 0:
                await trio.lowlevel.checkpoint()

    def _short_for(self, request: Request) -> ShortWay | None:
        """The short way, if this request may go it."""
        short, parser = self._service.short, self._peer.parser
        if short is None or request.http_version != "1.1" or request.expects_continue:
            return None
        length = parser.body_left
        return short if length is not None and length <= parser.buffered and short.takes(request, length) else None

    async def _shortly(self, short: ShortWay, request: Request) -> bool:
        """Answer it. True if the connection is good for another one. Raises BrokenResourceError."""
        service, peer = self._service, self._peer
        (host, _), scheme = peer.client, peer.scheme
        if peer.is_proxy:
            (host, _), scheme = service.proxies.client_of(peer.client, scheme, request.headers)
        body, began = peer.parser.read_body(), trio.current_time()
        with Contained() as call:
            status, lines = await short.answer(request, body, host, scheme, began)
        if call.error is not None:
            return await Exchange(service, peer, request).run_app(short.instead(call.error, began))
        keep_alive = request.keep_alive and not service.draining and not (peer.ended and not peer.parser.buffered)
        # Until all is out, the connection is fit for nothing else: a send that is cancelled may leave half of it.
        peer.reset = True
        await peer.send(whole_without_body(status, lines, keep_alive=keep_alive))
        peer.reset = False
        return keep_alive

    async def _arrival(self, patience: float) -> Request | None:
        """Read the next request; None if none comes within `patience`. Raises Problem, BrokenResourceError."""
        peer, parser = self._peer, self._peer.parser
        self._idle = not parser.buffered
        if self._idle and self._service.draining:
            return None
        peer.wire.read_by(trio.current_time() + (patience if self._idle else self._service.limits.header_seconds))
        try:
            while await peer.fill():
                request = parser.next_request()
                if request is not None:
                    peer.wire.read_by(inf)
                    return request
                if self._idle:
                    self._idle = False
                    peer.wire.read_by(trio.current_time() + self._service.limits.header_seconds)
        except Overdue:
            if self._idle:
                return None
            raise TooSlow("the request's headers did not arrive in time") from None
        finally:
            self._idle = False
        if parser.buffered:
            raise BodyInvalid("the connection ends within the request's headers")
        return None
