"""A whole installation of real processes on one Redis, with a proxy in front of everything that can be cut.

Owns: which processes there are, their ports and configuration. Promises: each role reaches Redis through a proxy of its
own, devices reach each socket server through one; everything is gone when the block ends.
Must not know: what is done to it, who uses it.
"""

import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from pushctl.config.model import Config
from pushctl.identity.keys import Keys
from pushctl.testing.service import Running
from tests.faults.processes import RoleProcess, clean_environment
from tests.faults.proxy import Proxy
from tests.processes import free_port
from tests.redises.process import RedisProcess

PREFIX = "faults"

COUNTS = {"api": 2, "router": 2, "socket": 3, "boxoffice": 1, "gc": 2}


@dataclass(frozen=True, slots=True)
class Pace:
    """Deadlines of the installation, in seconds: short ones, so that a run sees many faults."""

    redis_timeout: float = 1
    reconcile: float = 3
    ping: float = 0.5
    stall: float = 8
    """For pongs, and for taking data. Longer than the silence after which a server knows that it was absent: its own
    absence is no device's fault."""
    drain: float = 4


QUICK = Pace()


def configuration(pace: Pace, folder: Path, public_url: str) -> str:
    """What all processes are told. Quotas are out of reach: an eviction would excuse a missing message."""
    return f"""
        redis.prefix = "{PREFIX}"
        redis.connect_seconds = 25
        redis.timeout_seconds = {pace.redis_timeout}
        api = {{ public_url = "{public_url}", drain_seconds = {pace.drain} }}
        boxoffice.drain_seconds = {pace.drain}
        router.drain_seconds = {pace.drain}
        identity = {{ environment = "development", keys_file = "{folder / "keys.toml"}", dev_idp.enabled = true }}
        log = {{ level = "{os.environ.get("PUSHCTL_FAULTS_LOG", "warning")}", format = "json" }}
        [gc]
        drain_seconds = {pace.drain}
        tick_seconds = 1
        census_seconds = 5
        repair_seconds = 20
        [socket]
        drain_seconds = {pace.drain}
        reconcile_seconds = {pace.reconcile}
        ping_seconds = {pace.ping}
        pong_seconds = {pace.stall}
        stall_seconds = {pace.stall}
        [limits]
        unread_per_user = 1000000
        unread_per_push_url = 1000000
        unread_bytes_per_user = 1000000000
        unread_bytes_per_push_url = 1000000000
        push_url_per_second = 0
        user_per_second = 0
        exempt_networks = ["127.0.0.0/8"]
        """


@dataclass(frozen=True, slots=True)
class Deployment:
    redis: RedisProcess
    roles: dict[str, RoleProcess]
    """By label: api1, api2, …; socket servers by their ids, s1, s2, …"""
    redis_links: dict[str, Proxy]
    """Between a role, by label, and Redis."""
    device_links: dict[str, Proxy]
    """Between devices and a socket server, by id."""
    apis: list[str]
    service: Running

    def labels(self, role: str) -> list[str]:
        return [label for label, process in self.roles.items() if process.role == role]

    async def restart_redis(self) -> None:
        """Start it again, with its data."""
        self.redis.launch()
        await trio.to_thread.run_sync(self.redis.until_it_answers)

    def problems(self) -> list[str]:
        """Processes that ended by themselves, and what they should never have had to log."""
        for process in self.roles.values():
            process.look()
        return [text for process in self.roles.values() for text in (*process.surprises, *process.errors())]

    async def stop(self) -> None:
        """Every role at once, by SIGTERM."""
        async with trio.open_nursery() as nursery:
            for process in self.roles.values():
                nursery.start_soon(process.drain)


def _settings(role: str, label: str, port: int, redis: Proxy, devices: Proxy | None, strategy: str) -> dict[str, str]:
    here = f"127.0.0.1:{port}"
    settings = {
        "redis.url": redis.url,
        "routing.strategy": strategy,
        f"{role}.admin_listen": "127.0.0.1:0",
    }
    if role in ("api", "boxoffice", "socket"):
        settings[f"{role}.listen"] = here
    if role == "boxoffice":
        settings["boxoffice.public_url"] = f"http://{here}"
    if devices is not None:
        internal = free_port()
        settings |= {
            "socket.id": label,
            "socket.public_url": devices.door,
            "socket.rpc_listen": f"127.0.0.1:{internal}",
            "socket.rpc_url": f"http://127.0.0.1:{internal}",
        }
    return settings


@asynccontextmanager
async def deployed(strategy: str, pace: Pace, keep: Path | None = None) -> AsyncIterator[Deployment]:
    """Everything started, and ready. At the end it is killed, if it was not stopped. `keep`: an empty folder for logs
    and Redis' data, which stay there."""
    with tempfile.TemporaryDirectory(prefix="pushctl-") as name:
        folder = keep or Path(name)
        Keys.generate().write(folder / "keys.toml")
        redis = RedisProcess(folder / "redis")
        roles: dict[str, RoleProcess] = {}
        try:
            async with trio.open_nursery() as nursery:
                deployment = await _build(strategy, pace, folder, redis, roles, nursery)
                async with trio.open_nursery() as starting:
                    for process in roles.values():
                        starting.start_soon(process.start)
                yield deployment
                nursery.cancel_scope.cancel()
        finally:
            for process in roles.values():
                process.end()
            redis.kill()


async def _build(
    strategy: str, pace: Pace, folder: Path, redis: RedisProcess, roles: dict[str, RoleProcess], nursery: trio.Nursery
) -> Deployment:
    redis_links: dict[str, Proxy] = {}
    device_links: dict[str, Proxy] = {}
    urls: dict[str, str] = {}
    config = folder / "local.toml"
    for role, count in COUNTS.items():
        for number in range(1, count + 1):
            label = f"s{number}" if role == "socket" else f"{role}{number}"
            port = free_port()
            urls[label] = f"http://127.0.0.1:{port}"
            redis_links[label] = Proxy(partial(trio.open_unix_socket, str(redis.path)))
            await nursery.start(redis_links[label].run)
            if role == "socket":
                device_links[label] = Proxy(partial(trio.open_tcp_stream, "127.0.0.1", port))
                await nursery.start(device_links[label].run)
            settings = _settings(role, label, port, redis_links[label], device_links.get(label), strategy)
            roles[label] = RoleProcess(label, role, config, settings, clean_environment())
    config.write_text(configuration(pace, folder, urls["api1"]))
    service = Running(Config(), urls["api1"], urls["boxoffice1"], {}, {}, {})
    apis = [urls[label] for label in urls if label.startswith("api")]
    return Deployment(redis, roles, redis_links, device_links, apis, service)
