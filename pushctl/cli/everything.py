"""`pushctl serve all`: every role in one process, in one nursery, on an embedded Redis.

Owns: what `all` decides itself (ports, ids, keys, Redis) and what the operator may still say.
Promises: roles meet only in Redis, as if they were processes of their own. Ready is said once GET /v1/servers would
name every socket server here. What the operator set and `all` decides otherwise is named on stderr, not passed over.
Must not know: what a role does, or where its package is (`build` comes from serve_one.py).
"""

import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import msgspec
import platformdirs
import trio

from pushctl import cli, embedded
from pushctl.cli.answers import Addresses
from pushctl.client.events import json_line
from pushctl.collector import Collector
from pushctl.config.check import check_role, dev_idp_on, files_needed, tls_on
from pushctl.config.load import Loaded
from pushctl.config.model import ROLE_NAMES, Config, RoleName
from pushctl.config.schema import LOOPBACK, changed, is_loopback, join_address, keys
from pushctl.embedded import EmbeddedRedis
from pushctl.errors import ConfigError
from pushctl.identity.keys import Keys
from pushctl.log_gathering import gathered
from pushctl.open_files import raise_open_file_limit
from pushctl.runtime import Ready, Role, Until, reload_on_hangup, run_role, stop_signal
from pushctl.supervision import Supervision, Supervisor
from pushctl.tls import Tls

DRAIN_SECONDS = 5

T = TypeVar("T")
Door = Callable[[RoleName], object]
Build = Callable[[RoleName, Config], Role]

_LISTEN = {"api.listen": 8080, "boxoffice.listen": 8081}
_ADMIN = {"api": 9080, "boxoffice": 9081, "router": 9083, "gc": 9084}
_SOCKET_LISTEN = 8082
_SOCKET_ADMIN = 9090


class Options(msgspec.Struct, frozen=True):
    """The flags of `serve all`."""

    data_dir: Path
    listen_host: str = "127.0.0.1"
    auto_ports: bool = False
    sockets: int = 2


class Part(msgspec.Struct, frozen=True):
    """One role and its configuration. Socket servers differ in theirs."""

    name: RoleName
    config: Config


class Plan(msgspec.Struct, frozen=True):
    """What will be started, all but the embedded Redis' URL; and what the operator should hear about it."""

    options: Options
    parts: tuple[Part, ...]
    keys_file: Path
    notes: tuple[str, ...]


class _BoxOffice(Protocol):
    """What `all` asks of the role boxoffice beyond being a role."""

    async def wait_for_servers(self, ids: set[str]) -> None:
        """Return when GET /v1/servers would name all of these."""
        ...


def default_data_dir() -> Path:
    return platformdirs.user_data_path("pushctl", appauthor=False)


def make_plan(loaded: Loaded, options: Options) -> Plan:
    """Decide what `all` decides, keep what the operator said about the rest. ConfigError with every mistake."""
    decided = _decided(loaded, options)
    config = changed(loaded.config, decided | _defaults(loaded, options))
    parts = [Part(name, config) for name in ROLE_NAMES if name != "socket"]
    parts += [_socket_part(config, options, number) for number in range(options.sockets)]
    mistakes = [mistake for part in parts for mistake in _mistakes(part)]
    if loaded.is_set("socket.public_url") and options.sockets > 1:
        mistakes.append(f"socket.public_url: one URL for {options.sockets} socket servers; use --sockets 1")
    try:
        keys()["api.listen"].read(config.api.listen)
    except ValueError as error:
        mistakes = [f"--listen-host: expected {error}"]
    if mistakes:
        raise ConfigError(list(dict.fromkeys(mistakes)))
    return Plan(options, tuple(parts), Path(config.identity.keys_file), _notes(loaded, config, options, decided))


def _mistakes(part: Part) -> list[str]:
    mistakes = check_role(part.config, part.name, alone=False)
    if not mistakes:
        try:
            Tls.configured(part.config, part.name)
        except ConfigError as error:
            return error.mistakes
    return mistakes


def _port(options: Options, port: int) -> int:
    return 0 if options.auto_ports else port


def _admin(options: Options, port: int) -> str:
    # What it says is for this machine's operator, whoever the service is for.
    host = options.listen_host if is_loopback(options.listen_host) else "127.0.0.1"
    return join_address(host, _port(options, port))


def _decided(loaded: Loaded, options: Options) -> dict[str, Any]:
    """By key path: what `all` decides whatever the operator says. The URL of Redis is known later."""
    decided: dict[str, Any] = {"redis.url": loaded.config.redis.url, "socket.id": "s1"}
    decided |= {path: join_address(options.listen_host, _port(options, port)) for path, port in _LISTEN.items()}
    decided |= {f"{role}.admin_listen": _admin(options, port) for role, port in _ADMIN.items()}
    return decided | _socket_addresses(options, 0)


def _socket_addresses(options: Options, number: int) -> dict[str, Any]:
    return {
        "socket.listen": join_address(options.listen_host, _port(options, _SOCKET_LISTEN + number)),
        "socket.admin_listen": _admin(options, _SOCKET_ADMIN + number),
    }


def _socket_part(config: Config, options: Options, number: int) -> Part:
    changes = {"socket.id": f"s{number + 1}"} | _socket_addresses(options, number)
    return Part("socket", changed(config, changes))


def _defaults(loaded: Loaded, options: Options) -> dict[str, Any]:
    """By key path: other defaults than a single role has, where the operator says nothing."""
    defaults: dict[str, Any] = {f"{role}.drain_seconds": DRAIN_SECONDS for role in ROLE_NAMES}
    defaults["limits.exempt_networks"] = LOOPBACK
    defaults["identity.keys_file"] = str(options.data_dir / "keys.toml")
    defaults["api.inbox"] = True
    defaults["socket.rpc_listen"] = "127.0.0.1:0"  # the router of this process calls it, and no other
    if is_loopback(options.listen_host):
        both = {"identity.environment": "development", "identity.dev_idp.enabled": True}
        if not any(loaded.is_set(path) for path in both):
            defaults |= both
    return {path: value for path, value in defaults.items() if not loaded.is_set(path)}


def _notes(loaded: Loaded, config: Config, options: Options, decided: Mapping[str, Any]) -> tuple[str, ...]:
    notes = [
        f"{path} from {loaded.sources[path]} is not used: `serve all` decides it itself"
        for path in decided
        if loaded.is_set(path)
    ]
    if dev_idp_on(config):
        notes.append("the development identity provider is on: whoever reaches the api can log in as anybody")
    elif not is_loopback(options.listen_host):
        notes.append(f"the development identity provider is off: {options.listen_host} is not a loopback address")
    return tuple(notes)


async def serve_all(plan: Plan, door: Door, build: Build, collector: Collector) -> None:
    """Run everything until a stop signal; Redis starts first and ends last. Roles are imported while it starts."""
    raise_open_file_limit(sum(files_needed(part.config, part.name) for part in plan.parts))
    roles: list[Role] = []
    supervision = Supervision(Supervisor.of(os.environ), roles)  # before Redis is started: it is not meant for it
    async with gathered(), stop_signal() as stop, trio.open_nursery() as nursery:
        nursery.start_soon(supervision.run, stop)
        for note in plan.notes:
            print(f"pushctl: {note}", file=sys.stderr)
        async with trio.open_nursery() as both:
            both.start_soon(trio.to_thread.run_sync, _import, door, collector)
            redis = await _unless_stopped(stop, partial(nursery.start, embedded.serve, plan.options.data_dir))
        if redis is not None:
            if not plan.keys_file.exists() and plan.keys_file.parent == plan.options.data_dir:
                Keys.generate().write(plan.keys_file)
            await _serve_parts(plan, build, redis, stop, roles, supervision, collector)
        nursery.cancel_scope.cancel()


def _import(door: Door, collector: Collector) -> None:
    with collector.importing():
        for name in ROLE_NAMES:
            door(name)


async def _unless_stopped(stop: Until, wait: Callable[[], Awaitable[T]]) -> T | None:
    """What `wait` returns; None if told to stop before that."""
    found: T | None = None
    async with trio.open_nursery() as nursery:

        async def give_up() -> None:
            await stop()
            nursery.cancel_scope.cancel()

        nursery.start_soon(give_up)
        found = await wait()
        nursery.cancel_scope.cancel()
    return found


async def _serve_parts(
    plan: Plan,
    build: Build,
    redis: EmbeddedRedis,
    stop: Until,
    started: list[Role],
    supervision: Supervision,
    collector: Collector,
) -> None:
    """All roles in one nursery, until each is over. They are added to `started`."""
    everyone = _Everyone(len(plan.parts))
    async with trio.open_nursery() as around:
        async with trio.open_nursery() as nursery:

            def start(part: Part, **changes: str) -> Role:
                config = changed(part.config, {"redis.url": redis.url} | changes)
                role = build(part.name, config)
                started.append(role)
                dev_idp = part.name == "api" and dev_idp_on(config)
                run = partial(run_role, until=stop, http=config.http, dev_idp=dev_idp, task_status=everyone)
                nursery.start_soon(run, role)
                return role

            if any(tls_on(part.config, part.name) for part in plan.parts):  # else a terminal that goes ends us
                await around.start(reload_on_hangup, started, supervision)
            first = [part for part in plan.parts if part.name not in ("api", "socket")]
            roles = {part.name: start(part) for part in first}
            inbox = any(part.config.api.inbox for part in plan.parts)
            boxoffice = cast(_BoxOffice, roles["boxoffice"])
            around.start_soon(_announce, everyone, boxoffice, redis, collector, supervision, inbox)
            # The api tells browsers where the Box Office is. A socket server tells devices their push URLs, which begin
            # with the api's address.
            known: dict[str, str] = {}
            for waited_for, then in (("boxoffice", "api"), ("api", "socket")):
                ready = await _unless_stopped(stop, partial(everyone.ready_one, waited_for))
                if ready is None:
                    break
                known[f"{waited_for}.public_url"] = str(ready.url)
                for part in plan.parts:
                    if part.name == then:
                        start(part, **known)
        around.cancel_scope.cancel()


class _Everyone:
    """A task status for several tasks, that can be waited for."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._ready: dict[str, Ready] = {}
        self._another = trio.Event()

    def started(self, ready: Ready, /) -> None:
        self._ready[ready.label] = ready
        self._another.set()
        self._another = trio.Event()

    async def ready_one(self, label: str) -> Ready:
        while label not in self._ready:
            await self._another.wait()
        return self._ready[label]

    async def ready_all(self) -> dict[str, Ready]:
        while len(self._ready) < self._count:
            await self._another.wait()
        return self._ready


async def _announce(
    everyone: _Everyone,
    boxoffice: _BoxOffice,
    redis: EmbeddedRedis,
    collector: Collector,
    supervision: Supervision,
    inbox: bool,
) -> None:
    ready = await everyone.ready_all()
    collector.begin()
    sockets = {label: each for label, each in ready.items() if each.role == "socket"}
    await boxoffice.wait_for_servers(set(sockets))
    addresses = Addresses(
        api=_url(ready["api"]),
        boxoffice=_url(ready["boxoffice"]),
        socket=[_url(sockets[label]) for label in sorted(sockets, key=lambda label: (len(label), label))],
        admin={label: each.admin for label, each in ready.items()},
        redis=redis.url,
    )
    print(cli.ready_line("all", ready["api"].listen), json_line(addresses), sep="\n", flush=True)
    if inbox:
        print(f"pushctl: the inbox in a browser: {addresses.api}/inbox/", file=sys.stderr)
    supervision.is_ready(f"all roles serve, api at {addresses.api}")


def _url(ready: Ready) -> str:
    assert ready.url is not None, f"{ready.label} has a public listener"
    return ready.url
