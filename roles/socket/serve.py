"""The socket role: holds devices' connections and tails their users' logs.

Owns: the wiring of one socket server: registry, hub, receiver, leases, listener.
Must not know: how they come in (reception.py), frames (connection.py, browser.py), the log (tail.py), WebSockets
(wire.py), the pace of a drain (draining.py).
"""

import math
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import trio

from pushctl import __version__
from pushctl.clock import rfc3339, system_clock
from pushctl.config.model import Config
from pushctl.errors import StoreUnavailable, Unreachable
from pushctl.health import Health
from pushctl.http.accepting import accept_forever
from pushctl.http.server import HttpServer, address_of, open_listeners
from pushctl.ids import Cursor, ServerId, UserId
from pushctl.inbox import Accounts, Browsers, Inbox
from pushctl.keyring import KeyRing
from pushctl.load import LoadMeter
from pushctl.log import get_logger
from pushctl.metrics import SocketMetrics
from pushctl.protocol import jobs
from pushctl.reasons import STARTING, Code, Reason
from pushctl.registry import Registry, open_registry
from pushctl.registry.presence import Holder
from pushctl.registry.servers import Row, ServerState
from pushctl.routing.receive import ANSWER_SECONDS, PROBE_SECONDS, Receiver
from pushctl.runtime import Ready
from pushctl.tls import Tls
from pushctl.traces import open_traces
from roles.socket.admission import Admission
from roles.socket.admission import Reason as Refusal
from roles.socket.broadcasts import Broadcasts
from roles.socket.draining import Draining
from roles.socket.gauges import watch
from roles.socket.heart import Fenced, Heart
from roles.socket.held import Held
from roles.socket.hub import Hub
from roles.socket.leases import Leases
from roles.socket.reception import Reception
from roles.socket.returns import Returns
from roles.socket.rpc import MAX_BODY_BYTES, RpcApp
from roles.socket.settling import Settling

LISTEN_SECONDS = 3.0
"""For listening to channels again, once Redis is back: no reason yet to send clients elsewhere."""

STORE_SECONDS = 15.0
"""Between two looks at whether Redis may lose messages."""


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
        self.metrics = SocketMetrics()
        self.log = get_logger(role="socket", server=self.id)
        self.reception: Reception
        self._tls = Tls.configured(config, "socket")
        self.health = Health(config, self._tls)
        self.traces = open_traces(config, "socket", self.label, self.metrics.traces.ended)
        self._ring = KeyRing(config.identity, "socket", self.label)
        self.metrics.keys.look(self._ring.states, self._ring.lacking)
        self.metrics.tls.watch(self._tls)
        self._meter = LoadMeter(self._counts, self.health.liveness.latest_seconds)
        self.hub = Hub()
        self.generation = 0
        self.registry: Registry
        self.inbox: Inbox
        self.accounts: Accounts
        self.browsers: Browsers
        self.until_back: Callable[[UserId], Awaitable[None]]
        """Returns once the registry can be asked about this user."""
        self._leases = Leases(self)
        self.heart = Heart(self, after_silence=self._leases.hurry)
        self.drainer = Draining(self)
        self.broadcasts = Broadcasts(self)
        self._returns = Returns(self)
        self.settling = Settling(self)
        self._receiver: Receiver | None = None
        self.state: ServerState = "not_ready"
        self.url = ""
        self._rpc_url = ""
        self.frames_written = 0
        self._back_at = -math.inf
        """When the link to Redis was last back after a loss."""
        self._evicts = False
        self._started_at = rfc3339(system_clock())
        self._accepting = trio.CancelScope()
        self._connections: trio.Nursery

    async def serve(self, *, task_status: trio.TaskStatus[Ready]) -> None:
        """Serve until cancelled. Raises Unreachable without Redis; stops when a newer server of its id starts."""
        admission = Admission(self.config, trio.current_time(), count=self.count_refusal)
        self.reception = Reception(self, admission, self._tls)
        async with (
            open_registry(
                self.config,
                name=f"socket-{self.id}",
                installation=self._ring.keys.installation,
                liveness=self.health.liveness,
                tally=self.metrics.redis,
            ) as self.registry,
            self._ring.shown(self.registry),
        ):
            self.inbox = Inbox(
                self.registry,
                self._ring.sealer,
                self.config.api.public_url,
                count=self.metrics.stage,
                ask_presence=self.config.routing.strategy != "broadcast",
            )
            self.until_back = self.registry.wait_for
            self.accounts = Accounts(self.registry, self.config)
            self.browsers = Browsers(self.registry, self.inbox, lambda: self._ring.keys)
            self.generation = await self.registry.servers.new_generation(self.id)
            try:
                async with trio.open_nursery() as nursery:
                    await self._start(nursery, task_status)
            except* Fenced:
                raise Unreachable(
                    f"another socket server has started with the id {self.id}; give each its own [socket] id"
                ) from None

    async def _start(self, nursery: trio.Nursery, task_status: trio.TaskStatus[Ready]) -> None:
        self._receiver = Receiver(
            self.registry,
            self.id,
            on_batch=self._hear_published,
            on_news=lambda: self.broadcasts.hear(None),
            on_loss=self._leases.hurry,
            probe_seconds=self.probe_seconds,
            answer_seconds=self.answer_seconds,
        )
        watch(self.metrics, self, self._receiver)
        self.registry.link.when_back.append(self._link_is_back)
        await nursery.start(self._receiver.run)
        if self.config.socket.rpc_listen:
            await self._open_rpc(nursery)
        listeners = await open_listeners(self.config.socket.listen)
        address = address_of(listeners)
        self.url = self.config.socket.public_url or f"{'wss' if self._tls else 'ws'}://{address}/"
        self.state = "ready"
        # Its row stands before anybody can claim a lease here: a router that finds no row might prune that lease.
        await self.heart.beat_once()
        await self.broadcasts.load()
        nursery.start_soon(self._listen, listeners, nursery)
        self.health.liveness.watch(self.heart.loop, *self._leases.loops, *self._receiver.loops)
        for loop in (
            self._meter.run,
            self.heart.beat,
            self._leases.reconcile,
            self._leases.look_when_told,
            self._leases.write_acknowledgements,
            self._leases.ping,
            self._returns.run,
            self.settling.run,
            self.broadcasts.run,
            self.drainer.run,
            self._look_at_store,
        ):
            nursery.start_soon(loop)
        task_status.started(Ready("socket", self.label, address, self.url))

    async def _open_rpc(self, nursery: trio.Nursery) -> None:
        """Take hints from routers on the internal listener, too, until the role is over."""
        listeners = await open_listeners(self.config.socket.rpc_listen)
        self._rpc_url = self.config.socket.rpc_url or f"http://{address_of(listeners)}"
        app = RpcApp(self.id, self.generation, self._ring.peers, self._hear_called)
        limits = replace(self.config.http, max_body_bytes=MAX_BODY_BYTES)
        await nursery.start(HttpServer(app, limits).serve, listeners)

    def _hear_published(self, batch: jobs.Batch) -> None:
        """A batch that came by a channel."""
        self.metrics.hints_by_channel.inc()
        self._hear(batch)

    def _hear_called(self, batch: jobs.Batch) -> list[str]:
        """A batch that a router brought itself: it wants to know who is not here."""
        self.metrics.hints_by_rpc.inc()
        missing = list(self.hub.missing(batch))
        self._hear(batch)
        return missing

    def _hear(self, batch: jobs.Batch) -> None:
        if self.heart.absent:
            return  # they may be another's by now; if not, all logs are read soon
        self.hub.hear(batch, self.heart.registry_now_ms())

    async def _listen(self, listeners: Sequence[trio.SocketListener], connections: trio.Nursery) -> None:
        """Take connections until cancelled or draining; they live on in `connections`."""
        self._connections = connections
        with self._accepting:
            await accept_forever(listeners, self.reception.serve, connections, name="connection")

    async def drain(self) -> None:
        """Say so first, take nobody new, send everybody elsewhere, write what is left, say goodbye."""
        try:
            await self.drainer.stop(self.drain_seconds, self._accepting.cancel)
        except Fenced:
            return  # another has this id: nothing here is ours any more, and the heart says so
        self.heart.stop_beating()
        try:
            await self._leases.flush()
            await self.settling.flush()
            await self._returns.flush()
            await self._ring.leave(self.registry)
            await self.registry.servers.goodbye(self.id, self.generation)
        except StoreUnavailable as error:
            self.log.warning("left_without_goodbye", detail=error.detail)

    def reload(self) -> None:
        """See pushctl.runtime.Reloads."""
        self._ring.reload()
        if self._tls is not None:
            self._tls.reload()

    async def not_ready(self) -> list[Reason]:
        reasons = [*await self.registry.check(), *self._ring.not_ready()] if self.generation else [STARTING]
        if self._receiver is not None and self._receiver.problem:
            reasons.append(Reason(Code.CHANNEL_DEAF, self._receiver.problem))
        if self.drainer.now is not None:
            reasons.append(Reason(Code.DRAINING, f"it drains: asked by {self.drainer.now.by}"))
        return reasons

    async def _look_at_store(self) -> None:
        """Heartbeats ask nothing: what must keep new clients away, and changes rarely, is looked at now and then."""
        while True:
            found = await self.registry.check()
            self._evicts = any(reason.code is Code.REDIS_EVICTS for reason in found)
            await trio.sleep(STORE_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - jitter is no secret

    def _link_is_back(self) -> None:
        self._back_at = trio.current_time()
        self._leases.hurry()

    def _shown_state(self) -> ServerState:
        """To the Box Office, which sends clients to nobody but the ready: what /readyz says, as far as it can be known
        without a question. Redis away is no reason: then every server of the fleet would be unfit at the same time,
        and no heartbeat could say so."""
        if self.draining:
            return "draining"
        listens_soon = trio.current_time() < self._back_at + LISTEN_SECONDS
        deaf = self._receiver is None or (self._receiver.is_deaf and not listens_soon)
        unfit = deaf or self._evicts or self._ring.not_ready() or self.health.own()
        return "not_ready" if unfit else self.state

    def row(self) -> Row:
        """What this server says of itself, to the Box Office, routers and operators."""
        load = self._meter.load()
        return Row(
            state=self._shown_state(),
            url=self.url,
            connections=self.hub.connections,
            capacity=self.config.socket.max_connections,
            generation=self.generation,
            version=__version__,
            started_at=self._started_at,
            rss_bytes=load.rss_bytes,
            users=len(self.hub.users),
            drain=self.drainer.now,
            written=self.frames_written,
            rpc_url=self._rpc_url,
            zone=self.config.socket.zone,
            load=load,
            clock_ms=system_clock(),
        )

    def _counts(self) -> dict[str, int]:
        """What it has done since its start, by the words of Load."""
        return self.metrics.counts() | {"frames": self.frames_written}

    def count_refusal(self, reason: Refusal) -> None:
        self.metrics.refusals.labels(reason).inc()

    # --- what connections need ---------------------------------------------------------------------------------------

    @property
    def draining(self) -> bool:
        return self.drainer.now is not None

    def close_by(self) -> float:
        """The moment by which a connection that ends now is closed."""
        return self.drainer.close_by()

    def spawn(self, work: Callable[[], Awaitable[None]]) -> None:
        """A task of a connection's: it lives as long as the role at most, and raises nothing."""
        self._connections.start_soon(work, name="writer")

    async def present(self) -> None:
        """Before anything is sent, written or believed: see Heart."""
        await self.heart.present()

    @property
    def unwritten_acknowledgements(self) -> int:
        """That Redis has not confirmed."""
        return self._leases.unwritten + self.settling.unwritten

    def release(self, connection: Held) -> None:
        self._returns.release(connection)

    def withdraw(self, connection: Held) -> None:
        self._returns.withdraw(connection)

    def look_at(self, user: UserId) -> None:
        self._leases.look_at(user)

    def acknowledge(self, connection: Held, cursor: Cursor) -> None:
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
