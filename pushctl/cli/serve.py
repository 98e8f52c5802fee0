"""`pushctl serve`: one role as a process, or all of them in one.

Owns: the flags, the check before the start and the `ready` line.
Promises: stdout has nothing but the ready line (for `all`, a JSON line after it), each flushed when it is true.
Must not know: what a role does. Roles are opened by name and answer `build(config)`; gc also `run_once(config)`.
"""

import os
import sys
from collections.abc import Awaitable, Callable
from enum import StrEnum
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, cast

import trio
import typer

from pushctl import cli, log
from pushctl.cli import everything
from pushctl.collector import Collector
from pushctl.config.check import check_role, dev_idp_on, files_needed
from pushctl.config.load import Loaded, load
from pushctl.config.model import Config, RoleName
from pushctl.errors import ConfigError
from pushctl.open_files import raise_open_file_limit
from pushctl.runtime import Ready, Role, reload_on_hangup, run_role, stop_signal
from pushctl.supervision import Supervision, Supervisor

app = typer.Typer()


class RoleOrAll(StrEnum):
    API = "api"
    BOXOFFICE = "boxoffice"
    SOCKET = "socket"
    ROUTER = "router"
    GC = "gc"
    ALL = "all"


class Ports(StrEnum):
    DEFAULT = "default"
    AUTO = "auto"


@app.command(
    epilog=cli.examples(
        "pushctl serve all",
        "pushctl serve all --ports auto --data-dir /tmp/demo --sockets 3",
        "pushctl serve api --config conf.d --set api.public_url=https://push.example",
        "pushctl serve socket --config conf.d --set socket.id=s1 --check",
        "pushctl serve gc --config conf.d --once",
    )
)
def serve(
    role: Annotated[RoleOrAll, typer.Argument(help="Which role, or all.", show_choices=True)],
    config: cli.ConfigPaths = None,
    sets: cli.Sets = None,
    check: Annotated[bool, typer.Option("--check", help="Only check the configuration: 0 good, 2 not.")] = False,
    once: Annotated[bool, typer.Option("--once", help="gc: one round, then stop; for cron.")] = False,
    data_dir: Annotated[
        Path | None, typer.Option(help="all: where Redis and the keys live. Default: the user's data directory.")
    ] = None,
    listen_host: Annotated[
        str | None, typer.Option(help="all: bind public listeners here. Default: 127.0.0.1.")
    ] = None,
    ports: Annotated[Ports | None, typer.Option(help="all: 8080 and up, or any free ones. Default: default.")] = None,
    sockets: Annotated[int | None, typer.Option(min=1, max=64, help="all: socket servers. Default: 2.")] = None,
) -> None:
    """Start one role, or all of them in one process on a Redis of their own that keeps its data.

    SIGTERM or Ctrl-C drains and ends with 0; a second one ends at once with 1. SIGHUP reads the files of TLS and the
    keys file again.
    """
    if role is not RoleOrAll.ALL and any(flag is not None for flag in (data_dir, listen_host, ports, sockets)):
        raise typer.BadParameter("--data-dir, --listen-host, --ports and --sockets are for `pushctl serve all`")
    if once and role is not RoleOrAll.GC:
        raise typer.BadParameter("--once is for `pushctl serve gc`")
    loaded = load(config, sets or [], os.environ)
    log.configure(loaded.config.log.level, loaded.config.log.format)
    start: Callable[[], Awaitable[None]]
    if role is RoleOrAll.ALL:
        options = everything.Options(
            data_dir=data_dir or everything.default_data_dir(),
            listen_host=listen_host or "127.0.0.1",
            auto_ports=ports is Ports.AUTO,
            sockets=sockets or 2,
        )
        start = partial(everything.serve_all, everything.make_plan(loaded, options), build)
    else:
        start = _prepare_one(loaded, cast(RoleName, role.value), once=once)
    if check:
        print(f"pushctl: the configuration of {role} is good", file=sys.stderr)
        return
    trio.run(start)


def build(name: RoleName, config: Config) -> Role:
    """The role of that name. The one door to the package `roles`."""
    return cast(Role, import_module(f"roles.{name}").build(config))


def _prepare_one(loaded: Loaded, name: RoleName, *, once: bool) -> Callable[[], Awaitable[None]]:
    mistakes = check_role(loaded.config, name, alone=not once)
    if mistakes:
        raise ConfigError(mistakes)
    role = build(name, loaded.config)
    if once:
        return partial(import_module(f"roles.{name}").run_once, loaded.config)
    return partial(_serve_one, role, loaded.config)


async def _serve_one(role: Role, config: Config) -> None:
    raise_open_file_limit(files_needed(config, cast(RoleName, role.name)))
    dev_idp = role.name == "api" and dev_idp_on(config)
    supervision = Supervision(Supervisor.of(os.environ), [role])
    async with stop_signal() as stop, trio.open_nursery() as nursery:
        nursery.start_soon(supervision.run, stop)
        await nursery.start(reload_on_hangup, [role], supervision)
        with Collector() as collector:
            announce = _Announce(collector, supervision)
            await run_role(role, until=stop, http=config.http, dev_idp=dev_idp, task_status=announce)
        nursery.cancel_scope.cancel()


class _Announce:
    """A task status that prints."""

    def __init__(self, collector: Collector, supervision: Supervision) -> None:
        self._collector = collector
        self._supervision = supervision

    def started(self, ready: Ready, /) -> None:
        self._collector.begin()
        print(cli.ready_line(ready.role, ready.listen, ready.admin), flush=True)
        self._supervision.is_ready(f"{ready.label} serves {ready.url}" if ready.url else f"{ready.label} works")
