"""One process of each role on a Redis of their own, as small as an installation can be; each may be restarted.

Must not know: what is tested.
"""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from pushctl.identity.keys import Keys
from tests.faults.processes import RoleProcess, clean_environment
from tests.processes import free_port
from tests.redises.process import RedisProcess


@dataclass(frozen=True, slots=True)
class Installation:
    redis: RedisProcess
    roles: dict[str, RoleProcess]
    push_server: str
    """Of the socket server, for browsers."""

    async def restart(self) -> None:
        """Every process, Redis, too."""
        async with trio.open_nursery() as nursery:
            for process in self.roles.values():
                nursery.start_soon(process.drain)
        self.redis.stop()
        self.redis.start()
        await self.start()

    async def start(self) -> None:
        async with trio.open_nursery() as nursery:
            for process in self.roles.values():
                nursery.start_soon(process.start)

    def problems(self) -> list[str]:
        return [text for process in self.roles.values() for text in (*process.surprises, *process.errors())]


@asynccontextmanager
async def installed() -> AsyncIterator[Installation]:
    """Started; at the end nothing had to be complained about."""
    with tempfile.TemporaryDirectory(prefix="pushctl-") as name:
        folder = Path(name)
        Keys.generate().write(folder / "keys.toml")
        redis = RedisProcess(folder / "redis")
        ports = {role: free_port() for role in ("api", "boxoffice", "socket", "router", "gc")}
        (folder / "local.toml").write_text(
            f"""
            redis.url = "{redis.url}"
            identity.keys_file = "{folder / "keys.toml"}"
            log = {{ level = "info", format = "json" }}
            limits.exempt_networks = ["127.0.0.0/8"]
            api = {{ public_url = "http://127.0.0.1:{ports["api"]}", drain_seconds = 2 }}
            boxoffice = {{ public_url = "http://127.0.0.1:{ports["boxoffice"]}", drain_seconds = 2 }}
            socket = {{ id = "s1", public_url = "ws://127.0.0.1:{ports["socket"]}/", drain_seconds = 2 }}
            router.drain_seconds = 2
            gc.drain_seconds = 2
            """
        )
        roles = {}
        for role, port in ports.items():
            settings = {f"{role}.admin_listen": ""}
            if role in ("api", "boxoffice", "socket"):
                settings[f"{role}.listen"] = f"127.0.0.1:{port}"
            roles[role] = RoleProcess(role, role, folder / "local.toml", settings, clean_environment())
        installation = Installation(redis, roles, f"ws://127.0.0.1:{ports['socket']}/")
        try:
            await installation.start()
            yield installation
            assert installation.problems() == []
        finally:
            for process in roles.values():
                process.end()
            redis.kill()
