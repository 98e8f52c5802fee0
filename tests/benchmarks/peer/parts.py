"""What the peers share: a process that is killed and started again, publishing over HTTP or one connection, a Redis.

Promises: a process is gone when its block ends. Must not know: which peer it is part of.
"""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

import trio

from pushctl.keepalive import KeepAlive, Unanswered
from tests.benchmarks.unsound import Unsound
from tests.processes import dying_with_us
from tests.redises.process import RedisProcess

Key = TypeVar("Key")

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


class Asker(Generic[Key]):
    """Asks over one connection, as many questions at once as are asked for, each with a key that its answer names."""

    def __init__(self, port: int, greeting: bytes) -> None:
        self._port = port
        self._greeting = greeting
        self._stream: trio.SocketStream | None = None
        """Once it is greeted."""
        self._waiting: dict[Key, trio.Event] = {}
        self._answers: dict[Key, bytes] = {}
        self._sending = trio.Lock()

    async def run(self) -> None:
        """Connects, again and again, until cancelled."""
        while True:
            try:
                async with await trio.open_tcp_stream("127.0.0.1", self._port) as stream:
                    await stream.send_all(self._greeting)
                    buffer = bytearray()
                    while data := await stream.receive_some(65_536):
                        buffer += data
                        await self._hear(buffer, stream)
            except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            self._stream = None
            for event in self._waiting.values():
                event.set()
            await trio.sleep(0.05)

    async def _hear(self, buffer: bytearray, stream: trio.SocketStream) -> None:
        """Whole answers leave the buffer (`_answered`); with the greeting's, `_stream` is set."""
        raise NotImplementedError

    def _answered(self, key: Key, content: bytes) -> None:
        if key in self._waiting:
            self._answers[key] = content
            self._waiting[key].set()

    async def _ask(self, key: Key, question: bytes) -> bytes | None:
        """The answer; None: there was none."""
        stream = self._stream
        if stream is None:
            return None
        event = self._waiting[key] = trio.Event()
        try:
            async with self._sending:
                await stream.send_all(question)
            with trio.move_on_after(ANSWER_SECONDS):
                await event.wait()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        del self._waiting[key]
        return self._answers.pop(key, None)


class OneProcess:
    """A peer that is one process, with a Redis or without one."""

    def __init__(self, name: str, server: Server, redis: RedisProcess | None, *, port: int, version: str) -> None:
        self._name = name
        self._server = server
        self._redis = redis
        self.port = port
        self.version = version

    def servers(self) -> Mapping[str, int]:
        return {self._name: self._server.pid}

    def storage(self) -> Mapping[str, int]:
        return {} if self._redis is None else {"redis": self._redis.pid}

    def storage_bytes(self) -> int:
        return 0 if self._redis is None else redis_bytes(self._redis)

    async def kill_servers(self) -> None:
        await self._server.killed_and_started()

    async def kill_storage(self) -> None:
        assert self._redis is not None, "it has none"
        await redis_killed(self._redis)


class OverHttp(OneProcess):
    """And takes what is published at /publish/DEVICE."""

    def __init__(self, name: str, server: Server, redis: RedisProcess, *, port: int, version: str) -> None:
        super().__init__(name, server, redis, port=port, version=version)
        self._publisher = HttpPublisher(port, {"Content-Type": "text/plain"})

    async def publish(self, device: int, body: bytes) -> bool:
        return await self._publisher.post(f"/publish/{device}", body)


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
