"""The socket role: holds devices' connections and tails their users' logs.

Owns: the wiring of one socket server: registry, hub, receiver, leases, listener.
Must not know: who may come in (admission.py), frames (connection.py), the log (tail.py), WebSockets (wire.py), the pace
of a drain (draining.py).
"""

import math
import resource
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import trio

from pushctl import __version__
from pushctl.clock import rfc3339, system_clock
from pushctl.config.model import Config
from pushctl.errors import LimitReached, Problem, StoreUnavailable, Unreachable
from pushctl.http.addresses import plain_host
from pushctl.http.server import HttpServer, address_of, open_listeners
from pushctl.identity.keys import Keys
from pushctl.identity.peers import PeerKeys
from pushctl.identity.sealing import Sealer
from pushctl.ids import Cursor, ServerId, UserId
from pushctl.inbox import Accounts, Inbox, Session
from pushctl.log import get_logger
from pushctl.metrics import Metrics
from pushctl.protocol import jobs
from pushctl.protocol.frames import SUBPROTOCOL, ErrorFrame, encode
from pushctl.registry import Registry, open_registry
from pushctl.registry.presence import Holder
from pushctl.registry.servers import Row, ServerState
from pushctl.routing.receive import ANSWER_SECONDS, PROBE_SECONDS, Receiver
from pushctl.runtime import Ready
from pushctl.tls import Tls, shake_hands
from roles.socket.admission import TOLD_SECONDS, Admission, Guest, Reason, Refused
from roles.socket.connection import Connection
from roles.socket.draining import Draining
from roles.socket.frames_in import read_hello
from roles.socket.heart import Fenced, Heart
from roles.socket.hub import Hub
from roles.socket.leases import Leases
from roles.socket.returns import Returns
from roles.socket.rpc import MAX_BODY_BYTES, RpcApp
from roles.socket.upgrade import Upgrade, serve_stream
from roles.socket.wire import CLOSE_SECONDS, Disconnected, Wire

LISTEN_SECONDS = 3.0
"""For listening to channels again, once Redis is back: no reason yet to send clients elsewhere."""

RECEIVE_BUFFER_BYTES = 32_768
"""What the kernel takes of a peer (it doubles this) that is not read for a while. Devices say little; left alone, Linux
lets each have 6 MB."""


class SocketRole:
    name = "socket"
    probe_seconds = PROBE_SECONDS
    answer_seconds = ANSWER_SECONDS
    """Of its channels: see Receiver."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.id = ServerId(config.socket.id)
        self.label = config.socket.id
        self.admin_listen = config.socket.admin_listen
        self.drain_seconds = config.socket.drain_seconds
        self.metrics = Metrics("socket")
        self.log = get_logger(role="socket", server=self.id)
        self.admission: Admission
        self._tls = Tls.configured(config, "socket")
        self.hub = Hub()
        self.generation = 0
        self.registry: Registry
        self.inbox: Inbox
        self.accounts: Accounts
        self._leases = Leases(self)
        self.heart = Heart(self, after_silence=self._leases.hurry)
        self.drainer = Draining(self)
        self._returns = Returns(self)
        self._receiver: Receiver | None = None
        self._state: ServerState = "not_ready"
        self._url = ""
        self._rpc_url = ""
        self.frames_written = 0
        self._back_at = -math.inf
        """When the link to Redis was last back after a loss."""
        self.streams = 0
        """Of those who were let in. A drain waits for these, not for who has not even shaken hands."""
        self._started_at = rfc3339(system_clock())
        self._accepting = trio.CancelScope()

    async def serve(self, *, task_status: trio.TaskStatus[Ready]) -> None:
        """Serve until cancelled. Raises Unreachable without Redis; stops when a newer server of its id starts."""
        keys = Keys.load(Path(self.config.identity.keys_file))
        self.admission = Admission(self.config, trio.current_time(), count=self._count_refusal)
        async with open_registry(
            self.config, name=f"socket-{self.id}", installation=keys.installation
        ) as self.registry:
            self.inbox = Inbox(
                self.registry,
                Sealer(keys),
                self.config.api.public_url,
                count=self.metrics.stage,
                ask_presence=self.config.routing.strategy != "broadcast",
            )
            self.accounts = Accounts(self.registry, self.config)
            self.generation = await self.registry.servers.new_generation(self.id)
            try:
                async with trio.open_nursery() as nursery:
                    await self._start(nursery, PeerKeys(keys), task_status)
            except* Fenced:
                raise Unreachable(
                    f"another socket server has started with the id {self.id}; give each its own [socket] id"
                ) from None

    async def _start(self, nursery: trio.Nursery, keys: PeerKeys, task_status: trio.TaskStatus[Ready]) -> None:
        self._receiver = Receiver(
            self.registry,
            self.id,
            on_batch=self._hear,
            on_loss=self._leases.hurry,
            probe_seconds=self.probe_seconds,
            answer_seconds=self.answer_seconds,
        )
        self.registry.link.when_back.append(self._link_is_back)
        await nursery.start(self._receiver.run)
        if self.config.socket.rpc_listen:
            await self._open_rpc(nursery, keys)
        listeners = await open_listeners(self.config.socket.listen)
        address = address_of(listeners)
        self._url = self.config.socket.public_url or f"{'wss' if self._tls else 'ws'}://{address}/"
        self._state = "ready"
        # Its row stands before anybody can claim a lease here: a router that finds no row might prune that lease.
        await self.heart.beat_once()
        nursery.start_soon(self._listen, listeners, nursery)
        for loop in (
            self.heart.beat,
            self._leases.reconcile,
            self._leases.look_when_told,
            self._leases.write_acknowledgements,
            self._leases.ping,
            self._returns.run,
            self.drainer.run,
        ):
            nursery.start_soon(loop)
        task_status.started(Ready("socket", self.label, address, self._url))

    async def _open_rpc(self, nursery: trio.Nursery, keys: PeerKeys) -> None:
        """Take hints from routers on the internal listener, too, until the role is over."""
        listeners = await open_listeners(self.config.socket.rpc_listen)
        self._rpc_url = self.config.socket.rpc_url or f"http://{address_of(listeners)}"
        app = RpcApp(self.id, self.generation, keys, self._hear_called)
        limits = replace(self.config.http, max_body_bytes=MAX_BODY_BYTES)
        await nursery.start(HttpServer(app, limits).serve, listeners)

    def _hear_called(self, batch: jobs.Batch) -> list[str]:
        """A batch that a router brought itself: it wants to know who is not here."""
        missing = list(self.hub.missing(batch))
        self._hear(batch)
        return missing

    def _hear(self, batch: jobs.Batch) -> None:
        if self.heart.absent:
            return  # they may be another's by now; if not, all logs are read soon
        self.hub.hear(batch, self.heart.registry_now_ms())

    async def _listen(self, listeners: Sequence[trio.SocketListener], connections: trio.Nursery) -> None:
        """Take connections until cancelled or draining; they live on in `connections`."""
        with self._accepting:
            await trio.serve_listeners(self._serve_stream, list(listeners), handler_nursery=connections)

    async def drain(self) -> None:
        """Say so first, take nobody new, send everybody elsewhere, write what is left, say goodbye."""
        try:
            await self.drainer.stop(self.drain_seconds, self._accepting.cancel)
        except Fenced:
            return  # another has this id: nothing here is ours any more, and the heart says so
        self.heart.stop_beating()
        try:
            await self._leases.flush()
            await self._returns.flush()
            await self.registry.servers.goodbye(self.id, self.generation)
        except StoreUnavailable as error:
            self.log.warning("left_without_goodbye", detail=error.detail)

    def reload(self) -> None:
        """See pushctl.runtime.Reloads."""
        if self._tls is not None:
            self._tls.reload()

    async def not_ready(self) -> list[str]:
        reasons = await self.registry.check() if self.generation else ["it is starting"]
        if self._receiver is not None and self._receiver.problem:
            reasons.append(self._receiver.problem)
        if self.drainer.now is not None:
            reasons.append(f"it drains: asked by {self.drainer.now.by}")
        return reasons

    def _link_is_back(self) -> None:
        self._back_at = trio.current_time()
        self._leases.hurry()

    def row(self) -> Row:
        """What this server says of itself, to the Box Office, routers and operators."""
        listens_soon = trio.current_time() < self._back_at + LISTEN_SECONDS
        deaf = self._receiver is None or (self._receiver.is_deaf and not listens_soon)
        return Row(
            state="draining" if self.draining else "not_ready" if deaf else self._state,
            url=self._url,
            connections=self.hub.connections,
            capacity=self.config.socket.max_connections,
            generation=self.generation,
            version=__version__,
            started_at=self._started_at,
            rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            users=len(self.hub.users),
            drain=self.drainer.now,
            written=self.frames_written,
            rpc_url=self._rpc_url,
            zone=self.config.socket.zone,
        )

    # --- a fresh connection ------------------------------------------------------------------------------------------

    async def _serve_stream(self, stream: trio.SocketStream) -> None:
        try:
            peer = plain_host(stream.socket.getpeername()[0])
            stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        except OSError:  # it is gone already
            await trio.aclose_forcefully(stream)
            return
        with self.admission.arrival(peer, trio.current_time()) as guest:
            if guest is None:
                await trio.aclose_forcefully(stream)
            else:
                await self._welcome(stream, guest)

    async def _welcome(self, stream: trio.SocketStream, guest: Guest) -> None:
        socket = self.config.socket
        seconds = min(socket.handshake_seconds, TOLD_SECONDS) if guest.refused else socket.handshake_seconds
        by = trio.current_time() + seconds
        plain = stream if self._tls is None else await shake_hands(stream, self._tls, by)
        if plain is None:
            if guest.refused is None:
                self._count_refusal("handshake" if trio.current_time() < by else "too_slow")
            return
        answer = partial(self._answer, guest)
        wrong = await serve_stream(plain, answer, by=by, max_message_bytes=socket.max_frame_bytes)
        if wrong is not None and guest.refused is None:
            self._count_refusal(wrong)

    async def _answer(self, guest: Guest, upgrade: Upgrade) -> None:
        try:
            self._admit(guest, upgrade)
        except Refused as refused:
            await upgrade.refuse(refused.problem)
            return
        self.streams += 1
        try:
            with suppress(Disconnected):
                wire = await upgrade.accept(SUBPROTOCOL, stall_seconds=self.config.socket.stall_seconds)
                await self._serve_wire(wire)
        finally:
            self.streams -= 1
            self.drainer.somebody_left()

    def _admit(self, guest: Guest, upgrade: Upgrade) -> None:
        """Before any WebSocket cost. Raises Refused."""
        self.admission.introduce(guest, upgrade.headers, trio.current_time())
        if self._state != "ready" or self.draining:
            reason: Reason = "draining" if self.draining else "not_ready"
            raise self.admission.later(reason, "this server takes no connections now; ask the Box Office")
        self.admission.examine(
            origin=upgrade.origin,
            own_origin=origin_of(self._url),
            key_is_valid=upgrade.key_is_valid,
            subprotocols=upgrade.subprotocols,
        )

    def _count_refusal(self, reason: Reason) -> None:
        self.metrics.refusals.labels(reason).inc()

    async def _serve_wire(self, wire: Wire) -> None:
        """From the accepted upgrade to the close."""
        try:
            hello = await read_hello(wire, self.config.socket.hello_seconds)
            session = await self.accounts.session_to_claim(hello.token)
            self._check_user(session)
        except Problem as problem:
            error = ErrorFrame(problem.code, problem.detail, retry=problem.close_code < 4500)
            with trio.move_on_after(CLOSE_SECONDS), suppress(Disconnected):
                await wire.send(encode(error))
            await wire.close(problem.close_code, problem.detail)
            self.metrics.closes.labels(str(problem.close_code)).inc()
            return
        connection = Connection(self, wire, session, hello)
        self.log.info("connected", user=session.user, device=session.device, connection=connection.id)
        self.metrics.connections.inc()
        try:
            await connection.run()
        finally:
            self.metrics.connections.dec()
            self.log.info("disconnected", user=session.user, device=session.device, connection=connection.id)

    def _check_user(self, session: Session) -> None:
        """Raises LimitReached. The same device's older connections do not count: they are about to be displaced."""
        others = {connection.device for connection in self.hub.of(session.user)} - {session.device}
        if len(others) >= self.config.limits.connections_per_user:
            raise LimitReached("this user has too many devices connected here")

    # --- what connections need ---------------------------------------------------------------------------------------

    @property
    def draining(self) -> bool:
        return self.drainer.now is not None

    def close_by(self) -> float:
        """The moment by which a connection that ends now is closed."""
        return self.drainer.close_by()

    async def present(self) -> None:
        """Before anything is sent, written or believed: see Heart."""
        await self.heart.present()

    def release(self, connection: Connection) -> None:
        self._returns.release(connection)

    def withdraw(self, connection: Connection) -> None:
        self._returns.withdraw(connection)

    def look_at(self, user: UserId) -> None:
        self._leases.look_at(user)

    def acknowledge(self, connection: Connection, cursor: Cursor) -> None:
        self._leases.acknowledge(connection, cursor)

    def displace(self, user: UserId, displaced: Sequence[Holder], *, for_good: bool = True) -> None:
        """Close a device's older connections, wherever they are; not `for_good`: have them look for themselves."""
        older: list[str] = [holder.connection for holder in displaced]
        self.hub.displace(user, older, for_good=for_good)
        elsewhere = sorted({str(holder.server) for holder in displaced} - {self.id})
        if elsewhere:
            self.registry.jobs.put(user, jobs.encode(jobs.Displaced(user, older, elsewhere, for_good)))

    def seconds_left(self, expires_at_ms: int) -> float:
        """How long a session still lasts, by this host's clock; reconcile asks the registry too."""
        return max(0.0, (expires_at_ms - system_clock()) / 1000)


def origin_of(url: str) -> str:
    """The Origin a page served by the socket server's own host would send."""
    parts = urlsplit(url)
    return f"{'https' if parts.scheme == 'wss' else 'http'}://{parts.netloc}"
