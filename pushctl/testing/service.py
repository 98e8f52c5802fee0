"""A whole service in one nursery, on free ports and a Redis that is there: for tests of this project and of others.

Owns: the order of starting. Promises: real roles, real listeners, real Redis; everything is drained and gone when the
block ends. Must not know: what is tested.
"""

import tempfile
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path

import trio

from pushctl.config.model import Config, DevIdp, RoleName
from pushctl.config.schema import LOOPBACK
from pushctl.identity.keys import Keys
from pushctl.runtime import Ready, Role, run_role


@dataclass(frozen=True)
class Running:
    """Where everything listens. `sockets` by server id."""

    config: Config
    api: str
    boxoffice: str
    sockets: dict[str, str]
    admin: dict[str, str]
    roles: dict[str, Role]


def for_tests(config: Config, folder: Path, *, exempt_loopback: bool = True) -> Config:
    """Free ports, keys in `folder` unless the configuration names a file, the development identity provider, short
    drains. `exempt_loopback`: as in `serve all`, this machine is not counted by address, unless the configuration names
    who is not."""
    exempt = LOOPBACK if exempt_loopback else ()
    keys_file = Path(config.identity.keys_file or folder / "keys.toml")
    if not keys_file.exists():
        Keys.generate().write(keys_file)
    here = "127.0.0.1:0"
    return replace(
        config,
        api=replace(config.api, listen=here, admin_listen=here, drain_seconds=3),
        boxoffice=replace(config.boxoffice, listen=here, admin_listen=here, drain_seconds=3),
        socket=replace(
            config.socket,
            listen=here,
            admin_listen=here,
            rpc_listen=config.socket.rpc_listen or here,
            drain_seconds=3,
        ),
        router=replace(config.router, admin_listen=here, drain_seconds=3),
        gc=replace(config.gc, admin_listen=here, drain_seconds=3),
        limits=replace(config.limits, exempt_networks=config.limits.exempt_networks or exempt),
        identity=replace(
            config.identity, environment="development", keys_file=str(keys_file), dev_idp=DevIdp(enabled=True)
        ),
    )


@asynccontextmanager
async def running(
    config: Config,
    *,
    sockets: int = 2,
    without: Collection[RoleName] = (),
    exempt_loopback: bool = True,
    redis_urls: Mapping[RoleName, str] | None = None,
) -> AsyncIterator[Running]:
    """Start api, router, `sockets` socket servers, gc and boxoffice, but those `without`; stop them at the end.
    `exempt_loopback`: see for_tests; `redis_urls`: of roles that reach Redis as somebody else."""
    stop = trio.Event()
    with tempfile.TemporaryDirectory(prefix="pushctl-") as folder:
        config = for_tests(config, Path(folder), exempt_loopback=exempt_loopback)
        roles: dict[str, Role] = {}
        ready: dict[str, Ready] = {}
        async with trio.open_nursery() as nursery:

            async def start(name: RoleName, config: Config) -> Ready:
                url = (redis_urls or {}).get(name, config.redis.url)
                role: Role = import_module(f"roles.{name}").build(replace(config, redis=replace(config.redis, url=url)))
                roles[role.label] = role
                ready[role.label] = await nursery.start(partial(run_role, role, until=stop.wait))
                return ready[role.label]

            api = await start("api", config)
            assert api.url is not None
            config = replace(config, api=replace(config.api, public_url=api.url))
            if "router" not in without:
                await start("router", config)
            for number in range(sockets):
                await start("socket", replace(config, socket=replace(config.socket, id=f"s{number + 1}")))
            if "gc" not in without:
                await start("gc", config)
            boxoffice = await start("boxoffice", config)
            yield Running(
                config,
                api.url,
                boxoffice.url or "",
                {label: each.url or "" for label, each in ready.items() if each.role == "socket"},
                {label: each.admin or "" for label, each in ready.items()},
                roles,
            )
            stop.set()
