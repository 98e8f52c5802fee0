"""From a socket that the kernel accepted to a connection that this server holds: TLS, the upgrade, the hello.

Owns: the order of these steps, and which protocol a connection speaks. Promises: each step has its deadline; whatever a
peer does before it is known, nothing is raised and nothing stays; of the steps nothing stays either, once the
connection is held. Must not know: who may come in (admission.py), what is said after hello (connection.py, browser.py).
"""

import socket
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio

from pushctl.errors import LimitReached, Problem
from pushctl.http.addresses import plain_host
from pushctl.http.contained import Contained
from pushctl.protocol import mozilla
from pushctl.tls import Tls
from roles.socket.admission import TOLD_SECONDS, Admission, Guest, Reason, Refused
from roles.socket.browser import BrowserConnection
from roles.socket.connection import Connection
from roles.socket.ending import OF_BROWSERS, OF_DEVICES, Endings
from roles.socket.frames_in import read_browser_hello, read_hello
from roles.socket.held import Held
from roles.socket.line import Line, StreamLine, secured
from roles.socket.pulse import Pulse
from roles.socket.upgrade import Upgrade, read_upgrade, refuse
from roles.socket.wire import CLOSE_SECONDS, Disconnected, Wire

if TYPE_CHECKING:
    from roles.socket.serve import SocketRole


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

    async def serve(self, sock: socket.socket) -> None:
        """One accepted socket, until it is over. Raises nothing."""
        try:
            peer = plain_host(sock.getpeername()[0])
            line = Line(sock)
        except OSError:  # it is gone already
            sock.close()
            return
        guest = self._admission.arrive(peer, trio.current_time())
        if guest is None:
            line.close()
            return
        try:
            with Contained() as visit:
                wire = await self._let_in(guest, line)
                if wire is not None:
                    await self._receive(*wire)
            if visit.error is not None:
                self._role.log.error("connection_crashed", exc_info=visit.error)
        finally:
            line.close()
            self._admission.leave(guest)

    # --- to the upgrade ----------------------------------------------------------------------------------------------

    async def _let_in(self, guest: Guest, line: Line) -> tuple[Wire, str | None] | None:
        """Its WebSocket and subprotocol; None: it is not let in, or has gone."""
        role, config = self._role, self._role.config.socket
        if guest.refused is None:
            role.metrics.arrivals.inc()
        seconds = min(config.handshake_seconds, TOLD_SECONDS) if guest.refused else config.handshake_seconds
        by = trio.current_time() + seconds
        bare = line if self._tls is None else await secured(line, self._tls, by)
        if bare is None:
            self._count(guest, "handshake" if trio.current_time() < by else "too_slow")
            return None
        upgrade = await self._upgrade(guest, bare, by)
        if upgrade is None:
            return None
        try:
            subprotocol = self._admit(guest, upgrade)
        except Refused as refused:
            await upgrade.refuse(refused.problem)
            return None
        wire = None
        with suppress(Disconnected), trio.move_on_at(by):
            wire = await upgrade.accept(
                subprotocol,
                max_message_bytes=config.max_frame_bytes,
                stall_seconds=config.stall_seconds,
                pulse=Pulse(trio.current_time(), ping_seconds=config.ping_seconds, pong_seconds=config.pong_seconds),
            )
        return None if wire is None else (wire, subprotocol)

    async def _upgrade(self, guest: Guest, line: Line | StreamLine, by: float) -> Upgrade | None:
        """Its request for a WebSocket. What is none is answered, and counted."""
        with trio.move_on_at(by) as slow:
            try:
                return await read_upgrade(line, self._role.config.http)
            except Problem as problem:
                self._count(guest, "handshake")
                await refuse(line, problem)
            except Disconnected:
                pass
        if slow.cancelled_caught:
            self._count(guest, "too_slow")
        return None

    def _count(self, guest: Guest, reason: Reason) -> None:
        if guest.refused is None:
            self._role.count_refusal(reason)

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

    # --- from the upgrade on -----------------------------------------------------------------------------------------

    async def _receive(self, wire: Wire, subprotocol: str | None) -> None:
        """From the accepted upgrade to the close."""
        self.streams += 1
        try:
            held = await self._known(wire, subprotocol)
            if held is not None:
                await self._hold(held)
        finally:
            self.streams -= 1
            self._role.drainer.somebody_left()

    async def _known(self, wire: Wire, subprotocol: str | None) -> Held | None:
        """Who says hello; None: somebody who may not stay, and was told so, or who has gone."""
        of_browser = subprotocol in (mozilla.SUBPROTOCOL, None)
        try:
            return await (self._browser(wire) if of_browser else self._device(wire))
        except Problem as problem:
            await self._turn_away(wire, problem, OF_BROWSERS if of_browser else OF_DEVICES)
        except Disconnected:
            pass
        return None

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
