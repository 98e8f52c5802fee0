"""How a role runs: ready, serving, draining, over.

Owns: the shape of a role (`Role`, `Ready`), its admin listener's place and time, the stop signal and the drain.
Promises: `run_role` says when the role is ready and with which addresses, drains once `until` returns, for at most the
role's drain_seconds, and is over when it returns. It never outlives its role: one that ends unasked is an error.
Must not know: which roles there are; what they need to be ready.
"""

import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Protocol, runtime_checkable

import msgspec
import trio
from msgspec.structs import replace
from trio import TaskStatus

from pushctl.admin import READY_SECONDS, AdminApp
from pushctl.config.model import Http
from pushctl.errors import Failed, PushctlError
from pushctl.health import Health
from pushctl.http.server import HttpServer, address_of, open_listeners
from pushctl.log import get_logger
from pushctl.metrics import Metrics
from pushctl.reasons import STARTING, Code, Reason
from pushctl.traces import Traces

log = get_logger()

WATCH_SECONDS = 5.0
"""Between two looks whether a role is ready, for its metrics."""

Until = Callable[[], Awaitable[object]]
"""Returns when it is time to stop. May be awaited by several tasks."""


class Ready(msgspec.Struct, frozen=True):
    """A role can serve, and where. Addresses are the real ones, after port 0 was picked."""

    role: str
    """api, boxoffice, socket, router or gc"""
    label: str
    """What tells roles of one process apart: the role, or the id of a socket server."""
    listen: str | None
    """host:port of the public listener, if it has one"""
    url: str | None
    """what clients use: http(s):// or ws(s)://"""
    admin: str | None = None
    """http:// URL of the admin listener; filled in by run_role"""


class Role(Protocol):
    """One daemon. `roles.<name>.build(config)` makes it; nothing happens before `serve`."""

    @property
    def name(self) -> str:
        """api, boxoffice, socket, router or gc"""
        ...

    @property
    def label(self) -> str:
        """As in Ready."""
        ...

    @property
    def admin_listen(self) -> str:
        """host:port of the admin listener that run_role opens for it; empty: none"""
        ...

    @property
    def drain_seconds(self) -> float:
        """The bound on `drain`."""
        ...

    @property
    def metrics(self) -> Metrics: ...

    @property
    def health(self) -> Health:
        """Told of by the loops that it cannot do without."""
        ...

    async def serve(self, *, task_status: TaskStatus[Ready]) -> None:
        """Serve until cancelled, or until `drain` has finished. Raises Unreachable if Redis is away at start."""
        ...

    async def drain(self) -> None:
        """Take nothing new, finish what was begun, return. Called once, while `serve` runs; cancelled at the bound."""
        ...

    async def not_ready(self) -> list[Reason]:
        """Why it cannot do its work right now, beyond what `health` knows; empty: it can. Called for every /readyz."""
        ...


@runtime_checkable
class Reloads(Protocol):
    """A role with files that may change while it runs: those of TLS, and the keys file."""

    def reload(self) -> None:
        """Read them again. Raises nothing: what does not serve is logged, and the old ones stay."""
        ...


@runtime_checkable
class Traced(Protocol):
    """A role that follows messages."""

    @property
    def traces(self) -> Traces: ...


class ReadyStatus(Protocol):
    """Who is told that a role is ready: a trio.TaskStatus, or anything else with this method."""

    def started(self, ready: Ready, /) -> None: ...


class _Life:
    """Where a role is in its life; once it is ready, the role itself is asked. See admin.Vitals."""

    def __init__(self, role: Role) -> None:
        self._role = role
        self.ready = False
        self.stopping = False

    def stuck(self) -> list[Reason]:
        """A stop has its own bound, and ends loops one by one."""
        return [] if self.stopping else self._role.health.liveness.stuck()

    async def not_ready(self) -> list[Reason]:
        reasons = await self._reasons()
        self._role.metrics.ready.set(not reasons)
        return reasons

    async def _reasons(self) -> list[Reason]:
        if self.stopping:
            return [Reason(Code.STOPPING, "it is stopping")]
        if not self.ready:
            return [STARTING]
        return [*await self._role.not_ready(), *self._role.health.own()]

    def warnings(self) -> list[Reason]:
        return self._role.health.warnings()

    async def watch(self) -> None:
        """Look again and again, whether or not somebody asks /readyz: until cancelled."""
        while True:
            with trio.move_on_after(READY_SECONDS) as patience:
                try:
                    await self.not_ready()
                except PushctlError:
                    self._role.metrics.ready.set(0)
            if patience.cancelled_caught:
                self._role.metrics.ready.set(0)
            await trio.sleep(WATCH_SECONDS)


async def run_role(
    role: Role,
    *,
    until: Until,
    http: Http | None = None,
    dev_idp: bool = False,
    task_status: ReadyStatus = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run one role with its admin listener until `until` returns and it has drained.

    `http`: limits of the admin listener. `dev_idp`: say so in the health answers.
    Raises what the role raises, Failed if a listener's address is taken or the role ends unasked. If it is told to
    stop before it was ready, it returns without `task_status.started`.
    """
    life = _Life(role)
    role.metrics.dev_idp.set(dev_idp)
    async with trio.open_nursery() as around:
        around.start_soon(role.health.liveness.run)
        if isinstance(role, Traced):
            around.start_soon(role.traces.run)
        admin = None
        if role.admin_listen:
            app = AdminApp(role.label, role.metrics, life, dev_idp=dev_idp)
            admin = await _open_admin(app, role.admin_listen, http or Http(), around)
            role.health.liveness.tell(role.metrics.late)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop, role, life, until, nursery.cancel_scope)
            ready = replace(await nursery.start(_serve, role, life), admin=admin)
            life.ready = True
            if admin is not None:
                around.start_soon(life.watch)
            log.info("ready", role=role.name, label=role.label, listen=ready.listen, url=ready.url, admin=admin)
            task_status.started(ready)
        if isinstance(role, Traced):
            await role.traces.flush()
        around.cancel_scope.cancel()
    log.info("stopped", role=role.name, label=role.label)


async def _open_admin(app: AdminApp, listen: str, http: Http, nursery: trio.Nursery) -> str:
    """Serve `app` in `nursery`, before the role starts: a prober sees a slow start as what it is. Returns its URL."""
    listeners = await open_listeners(listen)
    await nursery.start(HttpServer(app, http).serve, listeners)
    return f"http://{address_of(listeners)}"


async def _serve(role: Role, life: _Life, *, task_status: TaskStatus[Ready]) -> None:
    await role.serve(task_status=task_status)
    if not life.stopping:
        raise Failed(f"{role.label} stopped by itself")


async def _stop(role: Role, life: _Life, until: Until, serving: trio.CancelScope) -> None:
    await until()
    life.stopping = True
    if life.ready:
        log.info("draining", role=role.name, label=role.label, seconds=role.drain_seconds)
        with trio.move_on_after(role.drain_seconds) as bound:
            await role.drain()
        if bound.cancelled_caught:
            log.warning("drain_cut_short", role=role.name, label=role.label, seconds=role.drain_seconds)
    serving.cancel()


@asynccontextmanager
async def stop_signal() -> AsyncIterator[Until]:
    """Turns SIGTERM and SIGINT into an `until`. A second one ends the process at once, with 1."""
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(_watch_signals, stop)
        yield stop.wait
        nursery.cancel_scope.cancel()


class ReloadStatus(Protocol):
    """Who is told that files are read again."""

    async def reloading(self) -> None: ...

    async def reloaded(self) -> None: ...


async def reload_on_hangup(
    roles: Iterable[object], status: ReloadStatus, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """At every SIGHUP, have the roles that can read their files again do so. Until cancelled. Only one at a time in a
    process; `roles` is looked at anew each time."""
    with trio.open_signal_receiver(signal.SIGHUP) as hangups:
        task_status.started()
        async for _ in hangups:
            log.info("reloading")
            await status.reloading()
            for role in roles:
                if isinstance(role, Reloads):
                    role.reload()
            await status.reloaded()


async def _watch_signals(stop: trio.Event, *, task_status: TaskStatus[None]) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for number in signals:
            if stop.is_set():
                log.warning("not_drained", signal=signal.Signals(number).name)  # with all that waits to be written
                print("pushctl: stopped at once", file=sys.stderr, flush=True)  # noqa: T201 - the very last word
                os._exit(1)
            log.info("stopping", signal=signal.Signals(number).name)
            stop.set()
