"""What `pushctl serve ROLE` does: one role as a process.

Owns: the door to the package `roles`, and the `ready` line.
Promises: stdout has nothing but the ready line, flushed when it is true.
Must not know: what a role does. Roles are opened by name and answer `build(config)`; gc also `run_once(config)`.
"""

import os
from collections.abc import Awaitable, Callable
from functools import partial
from importlib import import_module
from typing import Any, cast

import trio

from pushctl import cli
from pushctl.collector import Collector
from pushctl.config.check import check_role, dev_idp_on, files_needed
from pushctl.config.model import Config, RoleName
from pushctl.errors import ConfigError
from pushctl.log_gathering import gathered
from pushctl.open_files import raise_open_file_limit
from pushctl.runtime import Ready, Role, reload_on_hangup, run_role, stop_signal
from pushctl.supervision import Supervision, Supervisor

Start = Callable[[Collector], Awaitable[None]]
"""What is left to be run."""


def door(name: RoleName) -> Any:
    """The one door to the package `roles`: the module of that role, which the first who asks waits for."""
    return import_module(f"roles.{name}")


def build(name: RoleName, config: Config) -> Role:
    """The role of that name."""
    return cast(Role, door(name).build(config))


def prepare(config: Config, name: RoleName, *, once: bool) -> Start:
    """Build it, so that whatever is wrong is said now (ConfigError). `once`: for gc, one round."""
    mistakes = check_role(config, name, alone=not once)
    if mistakes:
        raise ConfigError(mistakes)
    role = build(name, config)
    if once:
        return partial(_once, door(name).run_once, config)
    return partial(_serve, role, config)


async def _once(run: Callable[[Config], Awaitable[None]], config: Config, _: Collector) -> None:
    await run(config)


async def _serve(role: Role, config: Config, collector: Collector) -> None:
    raise_open_file_limit(files_needed(config, cast(RoleName, role.name)))
    dev_idp = role.name == "api" and dev_idp_on(config)
    supervision = Supervision(Supervisor.of(os.environ), [role])
    async with gathered(), stop_signal() as stop, trio.open_nursery() as nursery:
        nursery.start_soon(supervision.run, stop)
        await nursery.start(reload_on_hangup, [role], supervision)
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
