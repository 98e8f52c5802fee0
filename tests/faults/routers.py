"""Router processes that begin at once and end where a test says.

Owns: a process that has imported everything (`python -m tests.faults.routers`), which forks one router after another:
20 ms instead of a second each. A router sends itself a signal when it passes a point (pushctl/points.py) for the first
time: KILL, or STOP, so that it is frozen between two steps.
Must not know: what is tested.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import trio

from pushctl.config.model import Config
from pushctl.log import configure
from pushctl.points import Point, watcher
from pushctl.runtime import run_role, stop_signal
from roles.router import build

NOWHERE = "nowhere"
WAIT_SECONDS = 30


class Router:
    """A router process, a child of the one that forks."""

    def __init__(self, forge: "Forge", pid: int) -> None:
        self._forge = forge
        self.pid = pid

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    async def ended(self) -> str:
        """Wait until it has stopped or is gone: `stopped`, `signal 9`, `exit 0`; `lives` after WAIT_SECONDS."""
        return await self._forge.tell(f"wait {self.pid}")


class Forge:
    """The process that forks."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._heard = b""
        self._turn = trio.Lock()

    async def router(self, point: Point | None = None, number: signal.Signals = signal.SIGKILL) -> Router:
        """A new router, which sends itself this signal at this point."""
        return Router(self, int(await self.tell(f"start {point.value if point else NOWHERE} {int(number)}")))

    async def tell(self, order: str) -> str:
        """One order, its answer."""
        async with self._turn:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            await self._process.stdin.send_all(order.encode() + b"\n")
            while b"\n" not in self._heard:
                heard = await self._process.stdout.receive_some()
                assert heard, "the forge has ended"
                self._heard += heard
            answer, _, self._heard = self._heard.partition(b"\n")
            return answer.decode()


@asynccontextmanager
async def forge(config: Config) -> AsyncIterator[Forge]:
    """Routers of this configuration. What is left of them is killed at the end."""
    command = [sys.executable, "-m", "tests.faults.routers", msgspec.json.encode(config).decode()]
    process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        made = Forge(process)
        assert await made.tell("ready") == "ready"
        yield made
    finally:
        with trio.CancelScope(shield=True):
            assert process.stdin is not None
            await process.stdin.aclose()  # its end
            await process.wait()


# --- the process that forks ------------------------------------------------------------------------------------------


def main() -> None:
    config = msgspec.json.decode(sys.argv[1], type=Config)
    configure("warning")
    children: set[int] = set()
    for line in sys.stdin:
        order, *words = line.split()
        answer = order
        if order == "start":
            pid = os.fork()
            if pid == 0:
                _be_a_router(config, words[0], signal.Signals(int(words[1])))
            children.add(pid)
            answer = str(pid)
        elif order == "wait":
            answer = _wait(int(words[0]))
            if answer not in ("stopped", "lives"):
                children.discard(int(words[0]))
        print(answer, flush=True)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _wait(pid: int) -> str:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        found, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
        if found:
            return _in_words(status)
        time.sleep(0.002)
    return "lives"


def _in_words(status: int) -> str:
    if os.WIFSTOPPED(status):
        return "stopped"
    return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}"


def _be_a_router(config: Config, point: str, number: signal.Signals) -> None:
    """Never returns."""
    passed: set[Point] = set()

    async def watch(at: Point) -> None:
        first = at not in passed
        passed.add(at)
        if first and at == point:
            os.kill(os.getpid(), number)

    async def run() -> None:
        watcher.set(watch)
        async with stop_signal() as until:
            await run_role(build(config), until=until)

    code = 1
    try:
        trio.run(run)
        code = 0
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
