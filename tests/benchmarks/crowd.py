"""The swarm of a benchmark, `pushctl client swarm` in a process of its own, and a third party who sends to its users.

Owns: telling the swarm's phases from what it says, ending it, its report; the pace of sending.
Promises: the swarm is gone when the block ends. Must not know: what is measured.
"""

import os
import signal
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec
import trio

from pushctl.client.report import Report
from tests.benchmarks.fleet_site import Site
from tests.benchmarks.unsound import Unsound
from tests.faults.processes import PUSHCTL
from tests.processes import dying_with_us

SENDERS = 8
INTERRUPTED = 130


class Swarm:
    """`push_urls`: one of each user, known once all are logged in."""

    def __init__(self, process: subprocess.Popen[bytes], said: trio.lowlevel.FdStream, folder: Path) -> None:
        self._process = process
        self._said = said
        self._folder = folder
        self._lines: list[str] = []

    @property
    def pid(self) -> int:
        return self._process.pid

    async def phase(self, name: str) -> None:
        """Returns when this one begins. Raises Unsound if the swarm ends instead."""
        while not any(line.startswith(name) for line in self._lines):
            chunk = await self._said.receive_some(1000)
            if not chunk:
                raise Unsound(f"the swarm ended before {name}: {self._lines}")
            *whole, rest = (("" if not self._lines else self._lines.pop()) + chunk.decode()).split("\n")
            self._lines += [*whole, rest]

    def push_urls(self) -> list[str]:
        return (self._folder / "targets.txt").read_text().split()

    async def report(self) -> Report:
        """Has it check what it got, and end."""
        self._process.send_signal(signal.SIGINT)
        while await self._said.receive_some(1000):
            pass
        code = await trio.to_thread.run_sync(self._process.wait)
        if code != INTERRUPTED:
            raise Unsound(f"the swarm ended with {code}: {self._lines}")
        return msgspec.json.decode((self._folder / "report.json").read_bytes(), type=Report)


@asynccontextmanager
async def swarm_at(site: Site, *, users: int, devices: int, arrivals: float) -> AsyncIterator[Swarm]:
    """Begins to log in; users and their devices arrive at this rate, and stay until `report`."""
    options = {
        "--users": users,
        "--devices": devices,
        "--arrivals": f"{arrivals:g}/s",
        "--duration": "10h",
        "--targets": site.here / "targets.txt",
        "--api": site.api,
        "--boxoffice": site.boxoffice,
    }
    words = [str(word) for option in options.items() for word in option]
    command = dying_with_us([PUSHCTL, "client", "swarm", "--json", "--keep", *words])
    stderr, its_stderr = os.pipe()
    with (site.here / "report.json").open("wb") as out:
        # At once, not in a thread: tests/processes.py says why.
        process = subprocess.Popen(  # noqa: ASYNC220
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=its_stderr, env=site.environment
        )
    os.close(its_stderr)
    try:
        async with trio.lowlevel.FdStream(stderr) as said:
            yield Swarm(process, said, site.here)
    finally:
        process.kill()
        process.wait()


@dataclass(slots=True)
class Sent:
    """By a third party: how many were answered 201, and how many were not."""

    accepted: int = 0
    refused: int = 0
    over: bool = False
    """What was begun is finished, and nothing more is sent."""


async def send(
    push_urls: Sequence[str], *, per_second: float, sent: Sent, seconds: float = float("inf"), size: int = 200
) -> None:
    """To one after the other, open loop, for so long or until `sent.over`."""
    body = b"x" * size
    began = trio.current_time()
    numbers = iter(range(10**12))

    async def sender(http: httpx.AsyncClient) -> None:
        for number in numbers:
            at = began + number / per_second
            if at > began + seconds:
                return
            await trio.sleep_until(at)
            if sent.over:
                return
            answer = await http.post(
                push_urls[number % len(push_urls)], content=body, headers={"Content-Type": "text/plain", "TTL": "3600"}
            )
            if answer.status_code == 201:
                sent.accepted += 1
            else:
                sent.refused += 1

    async with httpx.AsyncClient(timeout=30, trust_env=False) as http, trio.open_nursery() as nursery:
        for _ in range(SENDERS):
            nursery.start_soon(sender, http)
