"""An honest device beside many that are not: how long its messages take, and what the server's process needs."""

import statistics
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import trio

from pushctl.config.model import Config
from pushctl.testing.service import running
from tests.faults.socket_process import SocketProcess, socket_process
from tests.scenario.people import Person, Socket, Town, raw_socket
from tests.scenario.test_processes import free_ports


@dataclass
class Besieged:
    """A socket server in a process of its own, and the rest of the service in ours."""

    town: Town
    server: SocketProcess
    admin: str

    async def metric(self, name: str) -> float:
        text = (await self.town.http.get(self.admin + "/metrics")).text
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


@asynccontextmanager
async def besieged(config: Config, folder: Path, settings: Mapping[str, object]) -> AsyncIterator[Besieged]:
    """`settings`: of the server, keys that differ."""
    (admin,) = free_ports(1)
    more = {**settings, "socket.admin_listen": f"127.0.0.1:{admin}"}
    limits = httpx.Limits(max_connections=20)
    async with (
        running(config, sockets=0) as service,
        httpx.AsyncClient(timeout=60, limits=limits) as http,
        socket_process(service.config, "s1", folder, more=more) as server,
    ):
        yield Besieged(Town(replace(service, sockets={"s1": server.url}), http), server, f"http://127.0.0.1:{admin}")


class Honest:
    """A device that does all right."""

    def __init__(self, town: Town, person: Person, push_url: str, socket: Socket) -> None:
        self._town = town
        self._push_url = push_url
        self._socket = socket
        self.person = person

    async def latencies(self, count: int, *, pause: float = 0.02) -> list[float]:
        """Seconds from a third party's POST to the frame, of so many messages one after the other."""
        found = []
        for number in range(count):
            began = trio.current_time()
            answer = await self._town.push(self._push_url, {"body": f"{number}"})
            assert answer.status_code == 201, answer.text
            await self._socket.until("message")
            found.append(trio.current_time() - began)
            await self._socket.send({"type": "ack", "cursor": self._socket.frames[-1]["cursor"]})
            await trio.sleep(pause)
        return found


@asynccontextmanager
async def honest_device(besieged: Besieged) -> AsyncIterator[Honest]:
    person = await besieged.town.login("honest")
    push_url = (await person.allow())["url"]
    async with raw_socket(besieged.server.url) as socket:
        await socket.send({"type": "hello", "token": person.token, "cursor": None})
        await socket.synced()
        yield Honest(besieged.town, person, push_url, socket)


def kernel_bytes() -> int:
    """What TCP holds in buffers, of all processes."""
    return int(Path("/proc/net/sockstat").read_text().partition(" mem ")[2].split()[0]) * 4096


def median(seconds: list[float]) -> float:
    return statistics.median(seconds)


def worst(seconds: list[float]) -> float:
    """All but one of fifty were quicker."""
    return sorted(seconds)[-1 - len(seconds) // 50]
