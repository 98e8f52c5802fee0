"""One redis-server of the tests' own: started, asked, frozen, killed, started again.

Promises: gone when the tests are, however they end (on Linux), frozen or not; what it said is shown when it does not
start. Must not know: what it is part of.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from tests.processes import dying_with_us, free_port

START_SECONDS = 10
ASK_SECONDS = 10


def redis_binary() -> str:
    """PUSHCTL_REDIS_SERVER, else the wheel's server beside this Python, else what is on PATH."""
    wheel = Path(sys.executable).parent / "redis-server"
    chosen = os.environ.get("PUSHCTL_REDIS_SERVER") or (str(wheel) if wheel.exists() else shutil.which("redis-server"))
    assert chosen, "no redis-server: run `make install`, or install redis-server"
    return chosen


def debian_binary() -> str:
    """Debian's server: newer than the wheel's, and with TLS. For tests marked `debian`."""
    assert Path("/usr/bin/redis-server").exists(), "install Debian's package redis-server"
    return "/usr/bin/redis-server"


class RedisProcess:
    """A Redis in a folder of its own, on a Unix socket unless told to `listen` on a TCP port of 127.0.0.1.

    `lines` are of redis.conf and win over those written here. What it answered outlives it, however it ends: it was
    written to its file before. Not to the disk, which only a machine without power would show: waiting for that is most
    of what a test waits for, and on a busy disk a question takes seconds.
    """

    def __init__(
        self,
        folder: Path,
        *lines: str,
        listen: str = "unixsocket",
        binary: str | None = None,
        arguments: tuple[str, ...] = (),
        client: dict[str, Any] | None = None,
    ) -> None:
        """`listen`: unixsocket, port or tls-port. `arguments`: after the configuration file. `client`: what redis-py
        needs to know besides the address."""
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._lines = lines
        self._listen = listen
        self._command = [binary or redis_binary(), str(folder / "redis.conf"), *arguments]
        self._client = client or {}
        self._process: subprocess.Popen[bytes] | None = None
        self.path = folder / "redis.sock"
        self.port = 0
        self.log = folder / "redis.log"
        for _ in range(10):
            self._configure()
            try:
                self.start()
            except AssertionError:
                if "Address already in use" not in self.log.read_text():
                    raise
                self.log.unlink()  # somebody took the port since we looked: another one
            else:
                return
        raise AssertionError("no free port")

    def _configure(self) -> None:
        self.port = 0 if self._listen == "unixsocket" else free_port()
        where = [f"unixsocket {self.path}"] if self._listen == "unixsocket" else [f"{self._listen} {self.port}"]
        plain = [] if self._listen == "port" else ["port 0"]
        persistence = ['save ""', "appendonly yes", "appendfsync no", f"dir {self._folder}"]
        text = "\n".join(["bind 127.0.0.1", *plain, *where, *persistence, *self._lines, ""])
        (self._folder / "redis.conf").write_text(text)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"redis://{self.address}/0" if self.port else f"unix://{self.path}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    # --- its life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it (again), with the same address and data; returns when it answers."""
        self.launch()
        try:
            self.until_it_answers()
        except BaseException:
            self.kill()
            raise

    def launch(self) -> None:
        """As `start`, but waits for nothing. In the main thread."""
        assert not self.alive
        self.path.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            command = dying_with_us(self._command)
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def until_it_answers(self) -> None:
        """Blocks. Fails when it ends instead, or after START_SECONDS."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            assert self.alive, f"redis-server ended at once:\n{self.log.read_text()}"
            assert time.monotonic() < deadline, f"redis-server did not start:\n{self.log.read_text()}"
            try:
                self.ask("PING")
            except (OSError, RedisError):  # not there yet, or loading its data
                time.sleep(0.01)
            else:
                return

    def stop(self) -> None:
        """Ask it to end (SIGTERM) and wait until it has."""
        self.thaw()
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once (SIGKILL), frozen or not, and wait until it is gone."""
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)  # does nothing once it has ended
            self._process.wait(START_SECONDS)

    def freeze(self) -> None:
        """It keeps its connections and says nothing (SIGSTOP) until `thaw`; then it does all that was sent to it."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        if self.alive:
            os.kill(self.pid, signal.SIGCONT)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    # --- its answers -------------------------------------------------------------------------------------------------

    def ask(self, *command: str | bytes | int | float, user: str = "", password: str = "") -> Any:
        """The raw reply to one command, over a connection of its own, sent once. Blocks; for setting a test up and
        looking at the outcome. `user`: not who the tests are otherwise. Raises redis-py's errors."""
        options: dict[str, Any] = {"socket_timeout": ASK_SECONDS, "retry": Retry(NoBackoff(), 0), "protocol": 2}
        options |= {"port": self.port} if self.port else {"unix_socket_path": str(self.path)}
        options |= {"host": "127.0.0.1"} | self._client
        if user:
            options |= {"username": user, "password": password}
        with Redis(**options) as client:
            client.response_callbacks.clear()
            return client.execute_command(*command)

    def info(self, section: str = "default") -> dict[str, str]:
        lines = self.ask("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)
