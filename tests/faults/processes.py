"""One role as a process: started, killed, frozen, drained, started again with the same id and ports.

Promises: gone when the tests are; an end that nobody asked for is remembered. Must not know: what else runs.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import trio

from tests.processes import dying_with_us

PUSHCTL = str(Path(sys.executable).with_name("pushctl"))
READY_SECONDS = 30
END_SECONDS = 20

_INEXCUSABLE = ("_crashed", "_invalid", "gave_no_answer", "Traceback")


def clean_environment() -> dict[str, str]:
    """Ours, without what would configure a role behind our back."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PUSHCTL_")}


class RoleProcess:
    """`pushctl serve ROLE`. `settings` (key=value) may be changed between an end and the next start."""

    def __init__(
        self,
        label: str,
        role: str,
        config: Path | None,
        settings: Mapping[str, str],
        environment: Mapping[str, str],
        *,
        log: Path | None = None,
    ) -> None:
        """`log`: beside the configuration file unless told otherwise."""
        self.label = label
        self.role = role
        self.settings = dict(settings)
        if log is None:
            assert config is not None
            log = config.with_name(f"{label}.log")
        self.log = log
        self.surprises: list[str] = []
        """Ends that nobody asked for, and drains that were not clean."""
        self._config = config
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self.admin = ""
        """http:// URL of its admin listener, as its ready line says; empty: it has none."""

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Until it says that it is ready."""
        assert self._process is None
        settings = [part for key, value in self.settings.items() for part in ("--set", f"{key}={value}")]
        files = ["--config", str(self._config)] if self._config else []
        command = [PUSHCTL, "serve", self.role, *files, *settings]
        stdout, its_stdout = os.pipe()
        async with trio.lowlevel.FdStream(stdout) as pipe:
            with self.log.open("ab") as log:
                # At once, not in a thread: tests/processes.py says why.
                self._process = subprocess.Popen(  # noqa: ASYNC220
                    dying_with_us(command),
                    stdin=subprocess.DEVNULL,
                    stdout=its_stdout,
                    stderr=log,
                    env=self._environment,
                )
            os.close(its_stdout)
            with trio.fail_after(READY_SECONDS):
                line = b""
                while b"\n" not in line:
                    chunk = await pipe.receive_some(1000)
                    assert chunk, f"{self.label} ended instead of starting: {self.tail()}"
                    line += chunk
        assert b"ready role=" in line
        said = dict(part.split("=", 1) for part in line.decode().split() if "=" in part)
        self.admin = f"http://{said['admin']}" if "admin" in said else ""

    def tail(self) -> str:
        """What it said last."""
        return self.log.read_text(errors="replace")[-2000:]

    # --- faults ------------------------------------------------------------------------------------------------------

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._signal(signal.SIGKILL)
        await self.ended()

    def freeze(self) -> None:
        """SIGSTOP: it keeps its connections and says nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def reload(self) -> None:
        """SIGHUP: it reads its files again."""
        self._signal(signal.SIGHUP)

    async def drain(self) -> None:
        """SIGTERM, and wait until it has ended by itself, which it must do with 0."""
        self._signal(signal.SIGTERM)
        code = await self.ended()
        if code != 0:
            self.surprises.append(f"{self.label} was drained and ended with {code}: {self.tail()}")

    def _signal(self, number: signal.Signals) -> None:
        self.look()
        if self._process is not None:
            self._process.send_signal(number)

    async def ended(self) -> int:
        """Its exit code, once it has ended; killed if it does not within END_SECONDS."""
        if self._process is None:
            return 0
        process = self._process
        try:
            code = await trio.to_thread.run_sync(process.wait, END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        self._process = None
        return code

    def look(self) -> bool:
        """Whether it lives, as it should between its start and what ends it."""
        if self._process is not None and self._process.poll() is not None:
            self.surprises.append(f"{self.label} ended by itself with {self._process.returncode}: {self.tail()}")
            self._process = None
        return self._process is not None

    async def revive(self) -> None:
        """Start it unless it lives."""
        if not self.look():
            await self.start()

    def end(self) -> None:
        """At once, without ceremony or waiting for the event loop: the last thing done with it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def errors(self) -> list[str]:
        """What it logged that no fault of a harness excuses: our own code failing, or not understanding itself."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return [f"{self.label}: {line}" for line in lines if any(word in line for word in _INEXCUSABLE)]


async def drained_by_command(server: str, *, over_seconds: float, redis_url: str, prefix: str) -> None:
    """`pushctl drain`, until the server is empty."""
    sets = [f"--set=redis.url={redis_url}", f"--set=redis.prefix={prefix}"]
    command = [PUSHCTL, "drain", server, "--over", f"{over_seconds:g}s", *sets]
    with trio.fail_after(over_seconds + 30):
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
