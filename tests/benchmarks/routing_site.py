"""What routing is measured on: one Redis, one router and so many socket servers, each a process; and the CPU they cost.

Promises: CPU times are exact (the kernel's clock of each process, not its ticks of 10 ms); everything is gone when the
block ends. Must not know: who sends, who is connected, what is compared.
"""

import ctypes
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

import httpx
import trio

from pushctl.identity.keys import Keys
from tests.benchmarks.rig import folder, one_redis
from tests.benchmarks.unsound import Unsound
from tests.faults.processes import RoleProcess
from tests.processes import free_port
from tests.redises.process import RedisProcess

PUBLIC_URL = "https://push.example"

STARTED_TOGETHER = 4
"""Processes that start at the same time: more would only wait for each other."""

# Routing alone is to be seen: no sweep of the logs beside it (what it would find, routing should have brought), no log
# lines per message, and nobody who gives up on a busy machine.
CONFIGURATION = """
    redis = {{ url = "{redis}", timeout_seconds = 30 }}
    api.public_url = "{public_url}"
    identity = {{ environment = "development", keys_file = "{keys}", dev_idp.enabled = true }}
    log = {{ level = "warning", format = "json" }}
    socket.reconcile_seconds = 150
    router.drain_seconds = 10
    """


class Cpu(NamedTuple):
    """Seconds. `load`: of this process, which sends and receives; it is no part of the cost."""

    router: float
    sockets: float
    redis: float
    load: float

    def since(self, before: "Cpu") -> "Cpu":
        return Cpu(*(now - then for now, then in zip(self, before, strict=True)))


def cpu_seconds(pid: int) -> float:
    """Spent so far by all threads of a process, in its own code and in the kernel for it."""
    clock = ctypes.c_int()
    error = ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock))
    if error:
        raise ProcessLookupError(error, os.strerror(error))
    return time.clock_gettime(clock.value)


@dataclass(frozen=True, slots=True)
class Site:
    redis: RedisProcess
    keys: Keys
    ports: Sequence[int]
    """Where devices find each socket server."""
    sockets: Sequence[RoleProcess]
    router: RoleProcess

    def cpu(self) -> Cpu:
        return Cpu(
            cpu_seconds(self.router.pid),
            sum(cpu_seconds(server.pid) for server in self.sockets),
            cpu_seconds(self.redis.pid),
            time.process_time(),
        )

    @asynccontextmanager
    async def routed_by(self, strategy: str) -> AsyncIterator[None]:
        """A fresh router with this strategy. Raises Unsound if it did not bring every job, in that strategy's way."""
        self.router.settings["routing.strategy"] = strategy
        await self.router.start()
        yield
        outcomes = await self._outcomes()
        wrong = {name: outcomes[name] for name in ("detoured", "unheard", "nobody", "too_late") if outcomes.get(name)}
        if wrong:
            raise Unsound(f"{strategy} did not bring all jobs by itself: {wrong}; {self.router.tail()}")
        await self.router.drain()
        for process in (*self.sockets, self.router):
            process.look()
            if process.surprises or process.errors():
                raise Unsound("; ".join([*process.surprises, *process.errors()]))

    async def _outcomes(self) -> dict[str, float]:
        """What became of the router's jobs, by outcome."""
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"http://{self.router.settings['router.admin_listen']}/metrics")
        lines = (line for line in answer.text.splitlines() if line.startswith("pushctl_jobs_total{"))
        return {line.split('"')[1]: float(line.rpartition(" ")[2]) for line in lines}


@asynccontextmanager
async def site_with(servers: int) -> AsyncIterator[Site]:
    """Redis and the socket servers are up; the router starts with `routed_by`."""
    with ExitStack() as stack:
        redis = stack.enter_context(one_redis())
        here = stack.enter_context(folder())
        keys = Keys.generate()
        keys.write(here / "keys.toml")
        config = here / "local.toml"
        config.write_text(CONFIGURATION.format(redis=redis.url, public_url=PUBLIC_URL, keys=here / "keys.toml"))
        ports = [free_port() for _ in range(servers)]
        # Without what would configure the roles behind our back.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PUSHCTL_")}
        sockets = [
            RoleProcess(f"s{number}", "socket", config, _settings(number, port), environment)
            for number, port in enumerate(ports, 1)
        ]
        router = RoleProcess("router", "router", config, {"router.admin_listen": _here(free_port())}, environment)
        for process in (*sockets, router):
            stack.callback(process.end)
        await _start(sockets)
        yield Site(redis, keys, ports, sockets, router)


def _settings(number: int, port: int) -> dict[str, str]:
    return {
        "socket.id": f"s{number}",
        "socket.listen": _here(port),
        "socket.public_url": f"ws://{_here(port)}/",
        "socket.admin_listen": _here(0),
        "socket.rpc_listen": _here(0),
        "limits.exempt_networks": "127.0.0.0/8",
    }


async def _start(processes: Sequence[RoleProcess]) -> None:
    together = trio.CapacityLimiter(STARTED_TOGETHER)

    async def start(process: RoleProcess) -> None:
        async with together:
            await process.start()

    async with trio.open_nursery() as nursery:
        for process in processes:
            nursery.start_soon(start, process)


def _here(port: int) -> str:
    return f"127.0.0.1:{port}"
