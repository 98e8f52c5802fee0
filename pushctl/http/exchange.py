"""One request and its answer: what an ASGI application is given as `scope`, `receive` and `send`.

Owns: the HTTP part of ASGI 3.0 (spec_version 2.4), and what happens when an application does not finish.
Promises: a request whose body turns out malformed, too large or too slow is answered by this layer, whatever the
application makes of it; a crash is a 500 without a word about why; never two answers to one request.
Must not know: what came before or comes after on the connection.

No nursery: an application that wants to know of a disconnect calls `receive`, which then reads ahead on the connection.
`receive` and `send` do not yield to others while there is something to give or room to send; reading from the socket
always does, and so does every piece of a streamed answer.
"""

from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Final

import trio

from pushctl.config.model import Http
from pushctl.errors import BodyInvalid, Internal, Problem, TooSlow
from pushctl.http.addresses import TrustedProxies
from pushctl.http.answer import CONTINUE, LAST_CHUNK, Framing, Head, chunk, whole_problem
from pushctl.http.asgi import ASGIApp, ClientDisconnected, Message, Scope
from pushctl.http.contained import Contained, is_caused_by
from pushctl.http.parser import Request
from pushctl.http.peer import Peer
from pushctl.http.problem import send_problem
from pushctl.http.short import ShortWay
from pushctl.log import get_logger
from pushctl.plain_stream import Overdue

log = get_logger()

DISCARD_BYTES: Final = 65_536
"""Of a body that an application answered without reading: read and dropped, to keep the connection."""
PIPELINE_BYTES: Final = 65_536
"""Of later requests: read while an application waits for the end of the connection."""

_ASGI: Final = {"version": "3.0", "spec_version": "2.4"}


@dataclass(slots=True)
class Service:
    """What all exchanges of a server share."""

    app: ASGIApp
    limits: Http
    proxies: TrustedProxies
    short: ShortWay | None = None
    draining: bool = False
    requests: int = 0
    problems: int = 0
    crashes: int = 0


class Exchange:
    """One call of the application. `run` it once."""

    __slots__ = (
        "_awaits_100",
        "_body_told",
        "_complete",
        "_failure",
        "_framing",
        "_gone",
        "_head",
        "_keep_alive",
        "_listening",
        "_over",
        "_patience",
        "_peer",
        "_request",
        "_sent",
        "_service",
        "_told_end",
    )

    def __init__(self, service: Service, peer: Peer, request: Request) -> None:
        self._service = service
        self._peer = peer
        self._request = request
        self._awaits_100 = request.expects_continue
        self._patience = service.limits.body_seconds
        """Left to wait for the body; what the application takes to ask for more is not the peer's."""
        self._body_told = False
        """The application was given the last of the body."""
        self._failure: Problem | None = None
        """What is wrong with the body: the answer, whatever the application says."""
        self._gone = False
        """Nobody is there to read an answer."""
        self._head: Head | None = None
        self._framing: Framing | None = None
        """Set when the head is out."""
        self._sent = 0
        self._told_end = False
        """The application was given http.disconnect."""
        self._complete = False
        self._keep_alive = request.keep_alive
        self._listening = False
        self._over: trio.Event | None = None

    async def run(self) -> bool:
        """Have the request answered. True if the connection is good for another one. Raises BrokenResourceError."""
        return await self.run_app(self._service.app)

    async def run_app(self, app: ASGIApp) -> bool:
        """As `run`, by this application."""
        with Contained() as call:
            await app(self._scope(), self.receive, self.send)
        if call.error is not None or not self._complete:
            await self._make_good(call.error)
        return self._keep_alive and (self._peer.parser.body_done or await self._discard_body())

    def _scope(self) -> Scope:
        request, peer = self._request, self._peer
        client, scheme = peer.client, peer.scheme
        if peer.is_proxy:
            client, scheme = self._service.proxies.client_of(client, scheme, request.headers)
        return {
            "type": "http",
            "asgi": _ASGI,
            "http_version": request.http_version,
            "method": request.method,
            "scheme": scheme,
            "path": request.path,
            "raw_path": request.raw_path,
            "query_string": request.query,
            "root_path": "",
            "headers": request.headers,
            "client": client,
            "server": peer.server,
        }

    # --- receive ------------------------------------------------------------------------------------------------------

    async def receive(self) -> Message:
        """ASGI's `receive`: the body piece by piece, at most READ_BYTES each, then the end of the connection."""
        if self._body_told or self._gone or self._complete or self._failure is not None:
            if self._body_told and not (self._gone or self._complete):
                await self._until_the_end()
            self._told_end = True
            return {"type": "http.disconnect"}
        parser = self._peer.parser
        try:
            data = parser.read_body()
            while not data and not parser.body_done:
                await self._fill_body()
                data = parser.read_body()
        except Problem as problem:
            self._failure = problem
        except trio.BrokenResourceError:
            self._lose_peer()
        else:
            self._body_told = parser.body_done
            return {"type": "http.request", "body": data, "more_body": not self._body_told}
        self._told_end = True
        return {"type": "http.disconnect"}

    async def _fill_body(self) -> None:
        """Read once. Raises TooSlow, BodyInvalid, BrokenResourceError."""
        if self._awaits_100:
            self._awaits_100 = False
            if self._framing is None:
                await self._peer.send(CONTINUE)
        begin = trio.current_time()
        wire = self._peer.wire
        try:
            wire.read_by(begin + self._patience)
            if self._patience <= 0:
                raise TooSlow("the request's body did not arrive in time")
            if not await self._peer.fill():
                raise BodyInvalid("the connection ends within the request's body")
        except Overdue:
            raise TooSlow("the request's body did not arrive in time") from None
        finally:
            wire.read_by(inf)
            self._patience -= trio.current_time() - begin

    async def _until_the_end(self) -> None:
        """Wait until the peer ends its side, is gone, or was answered. Its next requests are kept for later."""
        self._listening = True
        try:
            while not (self._complete or self._peer.ended):
                if self._peer.parser.buffered > PIPELINE_BYTES:
                    self._over = trio.Event()
                    await self._over.wait()
                else:
                    self._peer.wire.read_by(inf)
                    await self._peer.fill()
        except Overdue:
            pass  # it was answered meanwhile, by another task of the application
        except trio.BrokenResourceError:
            self._lose_peer()
        finally:
            self._listening = False

    def _lose_peer(self) -> None:
        self._gone = True
        self._keep_alive = False
        self._peer.reset = True

    async def _discard_body(self) -> bool:
        """Read what the application did not want of the body. False if that is too much, too slow or malformed."""
        parser = self._peer.parser
        left = DISCARD_BYTES
        try:
            while not parser.body_done and left >= 0:
                data = parser.read_body()
                left -= len(data)
                if not data and not parser.body_done:
                    await self._fill_body()
        except Problem:
            return False
        return parser.body_done

    # --- send ---------------------------------------------------------------------------------------------------------

    async def send(self, message: Message) -> None:
        """ASGI's `send`. Raises ClientDisconnected if nobody will read it, RuntimeError or ValueError for misuse."""
        if self._gone or self._failure is not None or self._peer.reset:
            raise ClientDisconnected("nobody reads this answer")
        kind = message["type"]
        if kind == "http.response.start":
            if self._head is not None:
                raise RuntimeError("an answer begins once")
            self._head = Head(message["status"], message.get("headers", ()))
            return
        if kind != "http.response.body":
            raise RuntimeError(f"this server knows no {kind}")
        more = message.get("more_body", False)
        out = self._frame(message.get("body", b""), more=more)
        # Until all is out, the connection is fit for nothing else: a send that is cancelled may leave half a piece.
        self._peer.reset = True
        try:
            await self._peer.send(out)
        except trio.BrokenResourceError:
            self._lose_peer()
            raise ClientDisconnected("the peer went away or does not read") from None
        self._peer.reset = False
        if more:
            await trio.lowlevel.checkpoint()
        else:
            self._answered()

    def _frame(self, data: bytes, *, more: bool) -> bytes:
        """What goes out for a piece of the body; in front of the first piece, the head."""
        head, framing = self._head, self._framing
        if head is None or self._complete:
            raise RuntimeError("an answer's body comes after its start and before its end")
        out = b""
        if framing is None:
            request = self._request
            framing = head.framing(request.method, request.http_version, None if more else len(data))
            self._keep_alive = self._keep_alive and self._may_keep_alive(head, framing)
            out = head.encode(framing, request.http_version, keep_alive=self._keep_alive)
        if framing is Framing.LENGTH:
            sent = self._sent + len(data)
            if sent > head.length or not (more or sent == head.length):
                raise RuntimeError("the body is not as long as its Content-Length")
            self._sent = sent
        elif framing is Framing.CHUNKED:
            data = (chunk(data) if data else b"") + (b"" if more else LAST_CHUNK)
        elif framing is Framing.NONE:
            data = b""
        self._framing = framing
        return out + data

    def _answered(self) -> None:
        self._complete = True
        if self._over is not None:
            self._over.set()
        elif self._listening:
            self._peer.wire.stop_reading()

    def _may_keep_alive(self, head: Head, framing: Framing) -> bool:
        parser = self._peer.parser
        return (
            not (head.close or self._service.draining or (self._peer.ended and not parser.buffered))
            and framing is not Framing.CLOSE
            # A peer that waits for 100 Continue may send its body or not: what comes next cannot be told apart.
            and (parser.body_done or not (self._awaits_100 or (parser.body_left or 0) > DISCARD_BYTES))
        )

    # --- when the application did not finish --------------------------------------------------------------------------

    async def _make_good(self, error: Exception | None) -> None:
        """The application raised, or returned without a whole answer: answer for it if that is still possible."""
        if self._gone or self._failure is not None:
            if error is not None and not is_caused_by(error, ClientDisconnected):
                self._log_crash(error)
            self._keep_alive = False
            if self._failure is not None and self._framing is None:
                await refuse(self._service, self._peer, self._failure, head_only=self._request.method == "HEAD")
            else:
                self._peer.reset = True
        elif error is None and self._told_end:  # it had no reason to go on
            self._keep_alive = False
            self._peer.reset = True
        elif self._framing is not None:
            self._log_crash(error)
            if not self._complete:
                self._keep_alive = False
                self._peer.reset = True
        else:
            await self._answer_for(error)

    async def _answer_for(self, error: Exception | None) -> None:
        if isinstance(error, Problem):
            problem = error
        else:
            self._log_crash(error)
            problem = Internal("something went wrong on our side; it was logged there")
            self._keep_alive = False
        self._head = None
        with suppress(ClientDisconnected):
            await send_problem(self.send, problem)

    def _log_crash(self, error: Exception | None) -> None:
        self._service.crashes += 1
        request = self._request
        if error is None:
            log.error("app_gave_no_answer", method=request.method, path=request.path)
        else:
            log.error("app_crashed", method=request.method, path=request.path, exc_info=error)


async def refuse(service: Service, peer: Peer, problem: Problem, *, head_only: bool = False) -> None:
    """Answer with a problem of this layer's, after which nothing on this connection is read as a request any more.

    Raises BrokenResourceError.
    """
    service.problems += 1
    log.debug("request_refused", code=problem.code, field=problem.field, detail=problem.detail, peer=peer.client[0])
    peer.reset = True
    await peer.send(whole_problem(problem, head_only=head_only))
    peer.reset = False
