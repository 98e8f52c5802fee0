"""A time and a release: commands of the code in one tree, whose clocks all show an earlier moment.

Owns: how that is done: PYTHONPATH, and libfaketime (Debian's `faketime`) under every process, Redis too. Promises: what
is started ends with its block; durations are as always, only wall clocks differ.
Must not know: what is run.
"""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio

from tests.faults.processes import clean_environment
from tests.processes import dying_with_us

HERE: Final = Path(__file__).parents[2]
READY_SECONDS: Final = 30
COMMAND_SECONDS: Final = 30
TOLD_APART: Final = 60
"""Seconds between what was recorded and what is lived after it. Less than an Idempotency-Key lives."""


@dataclass(frozen=True)
class Addresses:
    api: str
    boxoffice: str
    socket: list[str]
    redis: str
    admin: dict[str, str]


@dataclass(frozen=True)
class Era:
    profiles: Path
    """Of `pushctl client`."""
    ago_seconds: int = 0
    tree: Path = HERE

    @property
    def environment(self) -> dict[str, str]:
        found = clean_environment() | {"PYTHONPATH": str(self.tree), "PUSHCTL_CLIENT_DIR": str(self.profiles)}
        # The wheel's Redis: Debian's does not start under libfaketime.
        found["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{found['PATH']}"
        if self.ago_seconds:
            found |= {"LD_PRELOAD": _library(), "FAKETIME": f"{-self.ago_seconds:+d}s"}
            found |= {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}
        return found

    async def run(self, *arguments: str, code: int = 0, environment: Mapping[str, str] | None = None) -> str:
        """`pushctl ARGUMENTS`: what it prints. AssertionError if it ends with another code."""
        command = [sys.executable, "-m", "pushctl", *arguments]
        with trio.fail_after(COMMAND_SECONDS):
            done = await trio.run_process(
                command,
                cwd=self.profiles.parent,
                env={**self.environment, **(environment or {})},
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
        assert done.returncode == code, f"pushctl {arguments[:3]}: {done.returncode}\n{done.stderr.decode()}"
        return done.stdout.decode()

    async def lines(
        self, *arguments: str, code: int = 0, environment: Mapping[str, str] | None = None
    ) -> list[dict[str, Any]]:
        """The same with --json, read."""
        told = await self.run(*arguments, "--json", environment=environment)
        return [json.loads(line) for line in told.splitlines()]

    @asynccontextmanager
    async def service(self, data_dir: Path) -> AsyncIterator[Addresses]:
        """`pushctl serve all` on this directory."""
        command = [sys.executable, "-m", "pushctl", "serve", "all", "--ports", "auto", "--data-dir", str(data_dir)]
        log = data_dir.parent / "service.log"
        stdout, its_stdout = os.pipe()
        async with trio.lowlevel.FdStream(stdout) as said:
            with log.open("ab") as stderr:
                # At once, not in a thread: tests/processes.py says why.
                process = subprocess.Popen(  # noqa: ASYNC220
                    dying_with_us(command),
                    cwd=data_dir.parent,
                    env=self.environment,
                    stdout=its_stdout,
                    stderr=stderr,
                )
            os.close(its_stdout)
            try:
                with trio.fail_after(READY_SECONDS):
                    where = _addresses(await _second_line(said, log))
                yield where
            finally:
                process.terminate()
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(process.wait)
        assert process.returncode == 0, log.read_text()[-2000:]


async def _second_line(stdout: trio.abc.ReceiveStream, log: Path) -> str:
    """The first says ready, the second where."""
    told = b""
    while told.count(b"\n") < 2:
        piece = await stdout.receive_some()
        assert piece, f"it ended instead of starting: {log}"
        told += piece
    return told.splitlines()[1].decode()


def _addresses(line: str) -> Addresses:
    found: Mapping[str, Any] = json.loads(line)
    return Addresses(**{name: found[name] for name in Addresses.__dataclass_fields__})


def _library() -> str:
    places = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    found = next(map(str, places), None)
    assert found, "Debian's package faketime is missing: `make needs`"
    return found
