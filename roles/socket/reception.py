"""From a stream that the kernel accepted to a connection that this server holds: TLS, the upgrade, the hello.

Owns: the order of these steps, and which protocol a connection speaks. Promises: each step has its deadline; whatever a
peer does before it is known, nothing is raised and nothing stays. Must not know: who may come in (admission.py), what
is said after hello (connection.py, browser.py).
"""

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio

from pushctl.errors import LimitReached, Problem
from pushctl.http.addresses import plain_host
from pushctl.protocol import mozilla
from pushctl.tls import Tls, shake_hands
from roles.socket.admission import TOLD_SECONDS, Admission, Guest, Reason, Refused
from roles.socket.browser import BrowserConnection
from roles.socket.connection import Connection
from roles.socket.ending import OF_BROWSERS, OF_DEVICES, Endings
from roles.socket.frames_in import read_browser_hello, read_hello
from roles.socket.held import Held
from roles.socket.upgrade import Upgrade, serve_stream
from roles.socket.wire import CLOSE_SECONDS, Disconnected, Wire

if TYPE_CHECKING:
    from roles.socket.serve import SocketRole

RECEIVE_BUFFER_BYTES = 32_768
"""What the kernel takes of a peer (it doubles this) that is not read for a while. Devices say little; left alone, Linux
lets each have 6 MB."""


class Reception:
    def __init__(self, role: "SocketRole", admission: Admission, tls: Tls | None) -> None:
        self._role = role
        self._admission = admission
        self._tls = tls
        self.streams = 0
        """Of those who were let in. A drain waits for these, not for who has not even shaken hands."""

    @property
    def inside(self) -> int:
        """Streams that were let in, whether or not they have said hello."""
        return self._admission.inside

    async def serve(self, stream: trio.SocketStream) -> None:
        """One accepted stream, until it is over."""
        try:
            peer = plain_host(stream.socket.getpeername()[0])
            stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        except OSError:  # it is gone already
            await trio.aclose_forcefully(stream)
            return
        with self._admission.arrival(peer, trio.current_time()) as guest:
            if guest is None:
                await trio.aclose_forcefully(stream)
            else:
                if guest.refused is None:
                    self._role.metrics.arrivals.inc()
                await self._welcome(stream, guest)

    async def _welcome(self, stream: trio.SocketStream, guest: Guest) -> None:
        socket = self._role.config.socket
        seconds = min(socket.handshake_seconds, TOLD_SECONDS) if guest.refused else socket.handshake_seconds
        by = trio.current_time() + seconds
        plain = stream if self._tls is None else await shake_hands(stream, self._tls, by)
        if plain is None:
            if guest.refused is None:
                self._role.count_refusal("handshake" if trio.current_time() < by else "too_slow")
            return
        answer = partial(self._answer, guest)
        wrong = await serve_stream(plain, answer, by=by, max_message_bytes=socket.max_frame_bytes)
        if wrong is not None and guest.refused is None:
            self._role.count_refusal(wrong)

    async def _answer(self, guest: Guest, upgrade: Upgrade) -> None:
        try:
            subprotocol = self._admit(guest, upgrade)
        except Refused as refused:
            await upgrade.refuse(refused.problem)
            return
        self.streams += 1
        try:
            with suppress(Disconnected):
                wire = await upgrade.accept(subprotocol, stall_seconds=self._role.config.socket.stall_seconds)
                await self._serve_wire(wire, subprotocol)
        finally:
            self.streams -= 1
            self._role.drainer.somebody_left()

    def _admit(self, guest: Guest, upgrade: Upgrade) -> str | None:
        """Before any WebSocket cost: the subprotocol, None if the peer asked for none. Raises Refused."""
        role = self._role
        self._admission.introduce(guest, upgrade.headers, trio.current_time())
        if role.state != "ready" or role.draining:
            reason: Reason = "draining" if role.draining else "not_ready"
            raise self._admission.later(reason, "this server takes no connections now; ask the Box Office")
        return self._admission.examine(
            origin=upgrade.origin,
            own_origin=origin_of(role.url),
            key_is_valid=upgrade.key_is_valid,
            subprotocols=upgrade.subprotocols,
        )

    async def _serve_wire(self, wire: Wire, subprotocol: str | None) -> None:
        """From the accepted upgrade to the close."""
        of_browser = subprotocol in (mozilla.SUBPROTOCOL, None)
        try:
            connection = await (self._browser(wire) if of_browser else self._device(wire))
        except Problem as problem:
            await self._turn_away(wire, problem, OF_BROWSERS if of_browser else OF_DEVICES)
            return
        await self._hold(connection)

    async def _turn_away(self, wire: Wire, problem: Problem, endings: Endings) -> None:
        how = endings.of_problem(problem)
        with trio.move_on_after(CLOSE_SECONDS), suppress(Disconnected):
            if how.last is not None:
                await wire.send(how.last)
        await wire.close(how.code, how.detail)
        self._role.metrics.closes.labels(how.label).inc()

    async def _device(self, wire: Wire) -> Connection:
        """Raises Problem, Disconnected."""
        hello = await read_hello(wire, self._role.config.socket.hello_seconds)
        session = await self._role.accounts.session_to_claim(hello.token)
        # The same device's older connections do not count: they are about to be displaced.
        others = {connection.device for connection in self._role.hub.of(session.user)} - {session.device}
        if len(others) >= self._role.config.limits.connections_per_user:
            raise LimitReached("this user has too many devices connected here")
        return Connection(self._role, wire, session, hello)

    async def _browser(self, wire: Wire) -> BrowserConnection:
        """Raises Problem, Disconnected."""
        socket = self._role.config.socket
        conversation = mozilla.Conversation(ping_seconds=socket.browser_ping_seconds)
        hello = await read_browser_hello(wire, conversation, socket.hello_seconds)
        browser = await self._role.browsers.recognise(hello.uaid)
        return BrowserConnection(self._role, wire, browser, hello, conversation)

    async def _hold(self, connection: Held) -> None:
        role, ids = self._role, {"user": connection.user, "device": connection.device, "connection": connection.id}
        role.log.info("connected", **ids)
        role.metrics.connections.inc()
        try:
            await connection.run()
        finally:
            role.metrics.connections.dec()
            role.log.info("disconnected", **ids)


def origin_of(url: str) -> str:
    """The Origin a page served by the socket server's own host would send."""
    parts = urlsplit(url)
    return f"{'https' if parts.scheme == 'wss' else 'http'}://{parts.netloc}"
