"""The link: commands in, replies out, over one multiplexed connection with group commit.

Owns: the queue of commands that wait, the order in which replies are matched, reconnecting.
Promises:
- All that waits goes out in one write, replies are matched in order: a caller costs no thread and no connection.
- Nothing whose outcome is unknown is ever sent again. Only NOSCRIPT is repeated (with the source): it proves that
  nothing ran.
- A command whose caller gave up before it was sent is not sent.
- The queue is bounded in commands and bytes; beyond, callers get Overloaded at once (503 with Retry-After).
- Without Redis, callers fail at once with StoreUnavailable; the link reconnects by itself with jitter.
Must not know: what the commands mean.
"""

import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import outcome
import trio

from pushctl.config.model import Redis
from pushctl.errors import Overloaded, StoreUnavailable, Unreachable
from pushctl.log import get_logger
from pushctl.registry.connection import Address, Argument, Connection, ErrorReply, Reply, pack
from pushctl.registry.script import Script

MAX_IN_FLIGHT = 4096
"""Commands sent and not yet answered. The rest waits here, where a caller that gives up can still take it back."""

RECONNECT_SECONDS = (0.05, 2.0)
"""First and longest pause between attempts to connect, before jitter."""


@dataclass(frozen=True)
class LinkStatistics:
    commands: int = 0
    batches: int = 0
    refused: int = 0
    abandoned: int = 0
    hints_dropped: int = 0
    reconnects: int = 0


class _Waiting:
    """A command on its way: its bytes, and the task that waits for the reply (None: a hint, or nobody any more)."""

    __slots__ = ("abandoned", "packed", "reply", "sent_at", "task")

    def __init__(self, packed: bytes, task: trio.lowlevel.Task | None) -> None:
        self.packed = packed
        self.task = task
        self.abandoned = False
        self.sent_at = 0.0
        self.reply: Reply = None


class Link:
    """One multiplexed connection to one Redis. Run `run` in a nursery; then `ask`, `run_script` and `post`."""

    def __init__(self, settings: Redis, *, name: str) -> None:
        self._settings = settings
        self._address = Address.parse(settings.url)
        self._name = f"pushctl-{name}"
        self._log = get_logger(part="link", name=name)
        self._queue: deque[_Waiting] = deque()
        self._queued_bytes = 0
        self._in_flight: deque[_Waiting] = deque()
        self._work = trio.Event()
        self._room = trio.Event()
        self._connected = False
        self._statistics = LinkStatistics()
        self._back = trio.Event()
        self.when_back: list[Callable[[], None]] = []
        """Called when the connection is back after a loss: what was missed meanwhile must be looked up."""

    @property
    def connected(self) -> bool:
        return self._connected

    async def wait_connected(self) -> None:
        """Returns at once while connected, else when the connection is back."""
        while not self._connected:
            await self._back.wait()

    def statistics(self) -> LinkStatistics:
        return self._statistics

    def _count(self, **more: int) -> None:
        now = self._statistics
        self._statistics = replace(now, **{name: getattr(now, name) + n for name, n in more.items()})

    # --- asking ------------------------------------------------------------------------------------------------------

    async def ask(self, *command: Argument) -> Reply:
        """One command, its reply. Raises StoreUnavailable after `redis.timeout_seconds`, or at once without Redis, and
        for every error reply: none of ours is the peer's fault."""
        with self._deadline():
            (reply,) = await self._exchange(command)
        return self._checked(command[0], reply)

    async def ask_all(self, commands: Sequence[Sequence[Argument]]) -> list[Reply]:
        """Independent commands in one round trip, their replies in order. Raises as `ask`."""
        if not commands:
            return []
        with self._deadline():
            replies = await self._exchange(*commands)
        return [self._checked(command[0], reply) for command, reply in zip(commands, replies, strict=True)]

    async def run_script(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Reply:
        """Run a script by its hash; by its source when Redis has lost it (NOSCRIPT proves that nothing ran)."""
        with self._deadline():
            (reply,) = await self._exchange(("EVALSHA", script.sha1, len(keys), *keys, *arguments))
            if isinstance(reply, ErrorReply) and str(reply).startswith("NOSCRIPT"):
                (reply,) = await self._exchange(("EVAL", script.source, len(keys), *keys, *arguments))
        return self._checked(script.name, reply)

    async def ask_masters(self, *command: Argument) -> dict[str, Reply]:
        """A command without a key (INFO, TIME, SCAN, CONFIG GET) to every master: replies by address. As `ask`."""
        return {str(self._address): await self.ask(*command)}

    async def ask_master(self, address: str, *command: Argument) -> Reply:
        """A command without a key to one master, named as `ask_masters` does. Raises as `ask`."""
        if address != str(self._address):
            raise StoreUnavailable(f"{address} is no master any more")
        return await self.ask(*command)

    def post(self, *command: Argument) -> bool:
        """Send a hint without waiting. False when it was dropped (no Redis, full queue): a lost hint costs latency."""
        packed = pack(command)
        if not self._connected or self._is_full(len(packed)):
            self._count(hints_dropped=1)
            return False
        self._enqueue(_Waiting(packed, None))
        return True

    def post_script(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> bool:
        """As `post`, for a script. By source: there is nobody to repeat it after NOSCRIPT. Keep such scripts short."""
        return self.post("EVAL", script.source, len(keys), *keys, *arguments)

    @contextmanager
    def _deadline(self) -> Iterator[None]:
        seconds = self._settings.timeout_seconds
        try:
            with trio.fail_after(seconds):
                yield
        except trio.TooSlowError:
            raise StoreUnavailable(f"Redis did not answer within {seconds:g} s") from None

    async def _exchange(self, *commands: Sequence[Argument]) -> list[Reply]:
        """Send commands together; the last one's reply means that all have come."""
        if not self._connected:
            raise StoreUnavailable("Redis is not connected")
        together = [_Waiting(pack(command), None) for command in commands]
        if self._is_full(sum(len(waiting.packed) for waiting in together)):
            self._count(refused=1)
            raise Overloaded("too many requests wait for Redis")
        together[-1].task = trio.lowlevel.current_task()
        for waiting in together:
            self._enqueue(waiting)

        def give_up(_: object) -> trio.lowlevel.Abort:
            # Not sent yet: the writer will skip it. Sent: its reply is still matched, and thrown away.
            together[-1].task = None
            for waiting in together:
                waiting.abandoned = True
            self._count(abandoned=len(together))
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(give_up)
        return [waiting.reply for waiting in together]

    def _is_full(self, size: int) -> bool:
        settings = self._settings
        return len(self._queue) >= settings.queue_commands or self._queued_bytes + size > settings.queue_bytes

    def _enqueue(self, waiting: _Waiting) -> None:
        self._queue.append(waiting)
        self._queued_bytes += len(waiting.packed)
        self._work.set()

    def _checked(self, what: Argument, reply: Reply) -> Reply:
        if isinstance(reply, ErrorReply):
            self._log.error("redis_refused", what=what, error=str(reply))
            raise StoreUnavailable("Redis refused")
        return reply

    # --- the connection ----------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Connect, report started, and keep connected until cancelled.

        Raises Unreachable when the first connection does not come about within `redis.connect_seconds`.
        """
        connection = await self._first_connection()
        while True:
            self._connected = True
            self._back.set()
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            try:
                await self._converse(connection)
            finally:
                self._connected = False
                self._back = trio.Event()
                self._fail_all()
                with trio.CancelScope(shield=True):
                    await connection.aclose()
            self._log.warning("redis_lost")
            connection = await self._connect_again()
            self._count(reconnects=1)
            self._log.info("redis_back")
            for look_up in self.when_back:
                look_up()

    async def _first_connection(self) -> Connection:
        problem = "no answer"
        with trio.move_on_after(self._settings.connect_seconds):
            for pause in _pauses():
                result = await self._connect()
                if isinstance(result, Connection):
                    return result
                problem = result
                await trio.sleep(pause)
        raise Unreachable(
            f"Redis at {self._address} cannot be used: {problem}. Start it, or set [redis] url (gave up after "
            f"{self._settings.connect_seconds:g} s, redis.connect_seconds)"
        )

    async def _connect_again(self) -> Connection:
        for pause in _pauses():
            connection = await self._connect()
            if isinstance(connection, Connection):
                return connection
            await trio.sleep(pause)
        raise AssertionError("the pauses never end")

    async def _connect(self) -> Connection | str:
        """A connection that answers PING, or why there is none."""
        with trio.move_on_after(self._settings.timeout_seconds):
            try:
                connection = await Connection.open(
                    self._address, name=self._name, seconds=self._settings.timeout_seconds
                )
            except StoreUnavailable as error:
                return error.detail
            try:
                pong = await connection.ask("PING")
            except BaseException as error:
                with trio.CancelScope(shield=True):
                    await connection.aclose()
                if isinstance(error, StoreUnavailable):
                    return error.detail
                raise
            if not isinstance(pong, ErrorReply):
                return connection
            await connection.aclose()  # LOADING, for instance
            return str(pong)
        return "it accepts connections but does not answer"

    async def _converse(self, connection: Connection) -> None:
        """Write and read until the connection is lost."""
        async with trio.open_nursery() as nursery:

            async def until_lost(work: Callable[[Connection], Awaitable[None]]) -> None:
                try:
                    await work(connection)
                except StoreUnavailable as error:
                    self._log.warning("redis_connection", detail=error.detail)
                    nursery.cancel_scope.cancel()

            nursery.start_soon(until_lost, self._write)
            nursery.start_soon(until_lost, self._read)

    async def _write(self, connection: Connection) -> None:
        while True:
            while not self._queue:
                self._work = trio.Event()
                await self._work.wait()
            while len(self._in_flight) >= MAX_IN_FLIGHT:
                self._room = trio.Event()
                await self._room.wait()
            batch: list[bytes] = []
            now = trio.current_time()
            while self._queue and len(self._in_flight) < MAX_IN_FLIGHT:
                waiting = self._queue.popleft()
                self._queued_bytes -= len(waiting.packed)
                if waiting.abandoned:
                    continue
                waiting.sent_at = now
                batch.append(waiting.packed)
                waiting.packed = b""
                self._in_flight.append(waiting)
            if batch:
                self._count(commands=len(batch), batches=1)
                await connection.send(b"".join(batch))

    async def _read(self, connection: Connection) -> None:
        """Match replies to commands in order. A Redis that says nothing for twice the deadline counts as lost."""
        while True:
            while (reply := connection.parsed()) is not False:
                waiting = self._in_flight.popleft()
                waiting.reply = reply
                if waiting.task is not None:
                    trio.lowlevel.reschedule(waiting.task, outcome.Value(reply))
                    waiting.task = None
            self._room.set()
            with trio.move_on_after(2 * self._settings.timeout_seconds) as silence:
                await connection.more()
            if silence.cancelled_caught and self._in_flight:
                oldest = self._in_flight[0].sent_at
                if trio.current_time() - oldest >= self._settings.timeout_seconds:
                    raise StoreUnavailable("Redis does not answer")

    def _fail_all(self) -> None:
        """Everybody who waits learns that nothing is known of the outcome."""
        for waiting in (*self._in_flight, *self._queue):
            if waiting.task is not None:
                lost = StoreUnavailable("the connection to Redis was lost; what was asked may or may not have happened")
                trio.lowlevel.reschedule(waiting.task, outcome.Error(lost))
                waiting.task = None
        self._in_flight.clear()
        self._queue.clear()
        self._queued_bytes = 0


def _pauses() -> Iterator[float]:
    """Seconds between attempts to connect: doubling, jittered so that a fleet does not knock in step."""
    pause, longest = RECONNECT_SECONDS
    while True:
        yield random.uniform(pause / 2, pause)  # noqa: S311 - jitter is no secret
        pause = min(pause * 2, longest)
