"""What the peers share: a process that is killed and started again, publishing over HTTP, a Redis, waiting for a port.

Promises: a process is gone when its block ends. Must not know: which peer it is part of.
"""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import trio

from pushctl.keepalive import KeepAlive, Unanswered
from tests.benchmarks.unsound import Unsound
from tests.processes import dying_with_us
from tests.redises.process import RedisProcess

START_SECONDS = 20
ANSWER_SECONDS = 30


class Server:
    """One process, which listens on `port` when it is ready. Started in the main thread."""

    def __init__(
        self, command: Sequence[str], port: int, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._command = list(command)
        self._port = port
        self._log = log
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Until somebody can connect. Raises Unsound."""
        with self._log.open("ab") as log:
            # At once, not in a thread: tests/processes.py says why.
            self._process = subprocess.Popen(  # noqa: ASYNC220
                dying_with_us(self._command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment
            )
        with trio.move_on_after(START_SECONDS):
            while self._process.poll() is None:
                try:
                    stream = await trio.open_tcp_stream("127.0.0.1", self._port)
                except OSError:
                    await trio.sleep(0.02)
                else:
                    await stream.aclose()
                    return
        raise Unsound(f"{self._command[0]} does not start: {self._log.read_text(errors='replace')[-2000:]}")

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    async def killed_and_started(self) -> None:
        self.kill()
        await self.start()


@contextmanager
def ending(server: Server) -> Iterator[Server]:
    try:
        yield server
    finally:
        server.kill()


class HttpPublisher:
    """POSTs over kept-alive connections."""

    def __init__(self, port: int, headers: Mapping[str, str]) -> None:
        self._http = KeepAlive("127.0.0.1", port)
        self._headers = headers

    async def post(self, path: str, body: bytes) -> bool:
        """Whether it was confirmed."""
        with trio.move_on_after(ANSWER_SECONDS):
            try:
                return (await self._http.post(path, self._headers, body)).status in (201, 202)
            except Unanswered:
                pass
        return False

    def close(self) -> None:
        self._http.close()


async def redis_killed(redis: RedisProcess) -> None:
    """kill -9, and a start; returns when it answers again."""
    redis.kill()
    redis.launch()
    await trio.to_thread.run_sync(redis.until_it_answers)


def redis_bytes(redis: RedisProcess) -> int:
    return int(redis.info("memory")["used_memory"])


def said(*command: str) -> str:
    """What a command says of itself, on either stream."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()
