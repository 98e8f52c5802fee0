"""A lane: one multiplexed connection to one Redis, with group commit.

Owns: the queue of commands that wait, the order in which replies are matched, WAIT, reconnecting.
Promises:
- All that waits goes out in one write, replies are matched in order: a caller costs no thread and no connection.
- Nothing is ever sent twice. A command whose caller gave up before it was sent is not sent.
- With `replicas`, a batch is followed by one WAIT, and nobody hears an answer that so many replicas have not confirmed.
- A Redis that falls silent is found out within four deadlines, whether or not anybody asks it anything.
- However long this process stood still, what Redis said meanwhile is read before its silence counts, and before a
  question that was `put_timed` is given up.
- The queue is bounded in commands and bytes; whoever puts something in asks `is_full` first.
- Without Redis, or while this Redis is not admitted, it is not `connected` and says why; it reconnects with jitter.
Must not know: what the commands mean; which other Redis there are.
"""

import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial

import outcome
import trio

from pushctl.config.model import Redis
from pushctl.errors import StoreUnavailable
from pushctl.liveness import Liveness, Loop
from pushctl.log import get_logger
from pushctl.registry.connection import Address, Connection, ErrorReply, Reply, pack
from pushctl.tally import LaneTally

MAX_IN_FLIGHT = 4096
"""Commands sent and not yet answered. The rest waits here, where a caller that gives up can still take it back."""

RECONNECT_SECONDS = (0.05, 2.0)
"""First and longest pause between attempts to connect, before jitter."""

_ASKING, _PING = pack(("ASKING",)), pack(("PING",))


class NotAdmitted(StoreUnavailable):
    """A Redis answers, but it must not be used: it is a replica, or another installation's."""


class NotConfirmed(StoreUnavailable):
    """The write happened, but too few replicas have it: a failover could still take it back."""


class TimedOut(StoreUnavailable):
    """There was no answer in time: it may or may not have happened."""


class Call:
    """One question, perhaps of several commands: how many replies are missing, and the task that waits for them all."""

    __slots__ = ("due", "failure", "missing", "task")

    def __init__(self, task: trio.lowlevel.Task, missing: int) -> None:
        self.task: trio.lowlevel.Task | None = task
        self.missing = missing
        self.failure: StoreUnavailable | None = None
        self.due = 0.0
        """When it is given up, if the lane has to see to that."""

    @property
    def abandoned(self) -> bool:
        return self.task is None and self.missing > 0

    def one_done(self, failure: StoreUnavailable | None) -> None:
        self.failure = self.failure or failure
        self.missing -= 1
        if not self.missing and self.task is not None:
            trio.lowlevel.reschedule(self.task, outcome.Value(None))
            self.task = None

    def give_up(self, failure: StoreUnavailable) -> None:
        """What has not been sent yet never will be; a reply that still comes is thrown away."""
        task, self.task, self.failure = self.task, None, failure
        if task is not None:
            trio.lowlevel.reschedule(task, outcome.Value(None))


class Waiting:
    """A command on its way: its bytes, its reply once it is there, and the question it belongs to (None: a hint)."""

    __slots__ = ("asking", "call", "confirms", "finished", "packed", "reply", "sent_at")

    def __init__(
        self, packed: bytes, call: Call | None, *, asking: bool = False, confirms: "Sequence[Waiting]" = ()
    ) -> None:
        self.packed = packed
        self.call = call
        self.asking = asking
        """It goes out right behind an ASKING: nothing may come between them."""
        self.confirms = confirms
        """The commands before it, if this is a WAIT."""
        self.finished = False
        self.sent_at = 0.0
        self.reply: Reply = None

    def finish(self, failure: StoreUnavailable | None = None) -> None:
        if not self.finished:
            self.finished = True
            if self.call is not None:
                self.call.one_done(failure)


class Lane:
    """Run `run` in a nursery; put commands in with `put` while `connected`."""

    def __init__(
        self,
        settings: Redis,
        *,
        name: str,
        locate: Callable[[], Awaitable[Address]],
        admit: Callable[[Connection], Awaitable[None]],
        on_error: Callable[[str], None],
        on_change: Callable[[], None],
        tally: LaneTally,
        liveness: Liveness,
        replicas: int = 0,
    ) -> None:
        """`locate`: where Redis is right now; `admit`: raises NotAdmitted; `on_error`: told of every error reply;
        `on_change`: called when it has become `connected`, or is so no more; `tally`: counts what it does, and what
        others of its kind do; `liveness`: told while it reads."""
        self._settings = settings
        self._name = f"pushctl-{name}"
        self._locate = locate
        self._admit = admit
        self._on_error = on_error
        self._on_change = on_change
        self._replicas = replicas
        self._liveness = liveness
        self._loop = Loop(f"the connection {self._name} to Redis")
        self._log = get_logger(part="lane", name=name)
        self._queue: deque[Waiting] = deque()
        self._queued_bytes = 0
        self._in_flight: deque[Waiting] = deque()
        self._timed: deque[Call] = deque()
        """Questions with a deadline that is ours to keep, in its order; those at its head may be answered by now."""
        self._work = trio.Event()
        self._timed_work = trio.Event()
        self._room = trio.Event()
        self._quiet_since = 0.0
        """When Redis said something last, or was looked at because it said nothing."""
        self._conversation = trio.CancelScope()
        self.connected = False
        self._tally = tally
        self.problem: str = "Redis is not connected"
        """Why it is not connected, while it is not."""
        self.refused = False
        """It is not connected because that Redis was not admitted."""

    def is_full(self, size: int) -> bool:
        settings = self._settings
        return len(self._queue) >= settings.queue_commands or self._queued_bytes + size > settings.queue_bytes

    @property
    def load(self) -> tuple[int, int, int]:
        """Commands that wait, their bytes, commands that were sent and are not answered."""
        return len(self._queue), self._queued_bytes, len(self._in_flight)

    def put(self, waiting: Waiting) -> None:
        self._queue.append(waiting)
        self._queued_bytes += len(waiting.packed)
        self._work.set()

    def put_timed(self, waiting: Waiting, call: Call) -> None:
        """As `put`; the call is given up with TimedOut after the settings' deadline. A scope of the caller's own would
        cost each question as much as the rest of its way."""
        call.due = trio.current_time() + self._settings.timeout_seconds
        timed = self._timed
        while timed and timed[0].task is None:
            timed.popleft()
        timed.append(call)
        self._timed_work.set()
        self.put(waiting)

    def expel(self, reason: str, *, refused: bool) -> None:
        """Leave this connection at once; the next one has to be admitted anew. `refused`: this one should not have
        been."""
        self.problem, self.refused = reason, refused
        self._set_connected(yes=False)
        self._conversation.cancel()

    def _set_connected(self, *, yes: bool) -> None:
        if self.connected != yes:
            self.connected = yes
            self._on_change()

    # --- the connection ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect, and keep connected until cancelled."""
        self._liveness.watch(self._loop)
        try:
            await self._keep_connected()
        finally:
            self._liveness.forget(self._loop)

    async def _keep_connected(self) -> None:
        while True:
            with self._loop.idle():  # Redis may be long away, and we do what we can
                connection = await self._connect()
            self.refused = False
            self._set_connected(yes=True)
            try:
                with trio.CancelScope() as self._conversation:
                    await self._converse(connection)
            finally:
                self._set_connected(yes=False)
                self._fail_all()
                with trio.CancelScope(shield=True):
                    await connection.aclose()
            self._log.warning("redis_lost", detail=self.problem)
            self._tally.reconnects += 1
            # The whole fleet has lost it at this moment. And a Redis that hangs up at once must not be knocked down.
            await trio.sleep(random.uniform(0, RECONNECT_SECONDS[0]))  # noqa: S311 - jitter is no secret

    async def _connect(self) -> Connection:
        for pause in _pauses():
            try:
                return await self._try_to_connect()
            except NotAdmitted as error:
                if not self.refused:
                    self._log.error("redis_not_admitted", detail=error.detail)
                self.problem, self.refused = error.detail, True
            except StoreUnavailable as error:
                self.problem, self.refused = error.detail, False
            await trio.sleep(pause)
        raise AssertionError("the pauses never end")

    async def _try_to_connect(self) -> Connection:
        """A connection that answers and is admitted. Raises StoreUnavailable."""
        seconds = self._settings.timeout_seconds
        with trio.move_on_after(2 * seconds):
            connection = await Connection.open(await self._locate(), name=self._name, seconds=seconds)
            try:
                pong = await connection.ask("PING")
                if isinstance(pong, ErrorReply):
                    raise StoreUnavailable(str(pong))  # LOADING, for instance
                await self._admit(connection)
            except BaseException:
                with trio.CancelScope(shield=True):
                    await connection.aclose()
                raise
            return connection
        raise StoreUnavailable("it accepts connections but does not answer")

    async def _converse(self, connection: Connection) -> None:
        """Write and read until the connection is lost."""
        async with trio.open_nursery() as nursery:

            async def until_lost(work: Callable[[], Awaitable[None]]) -> None:
                try:
                    await work()
                except StoreUnavailable as error:
                    self.problem = error.detail
                    nursery.cancel_scope.cancel()

            nursery.start_soon(until_lost, partial(self._write, connection))
            nursery.start_soon(until_lost, partial(self._read, connection))
            nursery.start_soon(until_lost, self._notice_silence)
            nursery.start_soon(self._keep_deadlines)

    async def _keep_deadlines(self) -> None:
        """Give up what is overdue. All have the same time, so the first that was put in is the first that is."""
        timed = self._timed
        while True:
            while not timed:
                self._timed_work = trio.Event()
                await self._timed_work.wait()
            await _until(timed[0].due)
            now = trio.current_time()
            while timed and (timed[0].task is None or timed[0].due <= now):
                call = timed.popleft()
                if call.task is not None:
                    call.give_up(TimedOut(f"Redis did not answer within {self._settings.timeout_seconds:g} s"))

    async def _write(self, connection: Connection) -> None:
        while True:
            while not self._queue:
                self._work = trio.Event()
                await self._work.wait()
            # A WAIT blocks the connection: what comes meanwhile gathers here, and shares the next one.
            while self._in_flight if self._replicas else len(self._in_flight) >= MAX_IN_FLIGHT:
                self._room = trio.Event()
                await self._room.wait()
            batch = self._take_batch()
            if batch:
                self._tally.commands += len(batch)
                self._tally.batches += 1
                if self._replicas:
                    wait = Waiting(pack(("WAIT", self._replicas, self._wait_ms())), None, confirms=batch[:])
                    wait.sent_at = batch[-1].sent_at
                    batch.append(wait)
                self._in_flight += batch
                await connection.send(b"".join(waiting.packed for waiting in batch))
                for waiting in batch:
                    waiting.packed = b""

    def _wait_ms(self) -> int:
        """Half the deadline: whoever waits behind a replica that does not confirm still gets its turn."""
        return max(1, int(self._settings.timeout_seconds * 500))

    def _take_batch(self) -> list[Waiting]:
        batch: list[Waiting] = []
        now = trio.current_time()
        room = MAX_IN_FLIGHT - len(self._in_flight)
        while self._queue and len(batch) < room:
            waiting = self._queue.popleft()
            self._queued_bytes -= len(waiting.packed)
            if waiting.call is not None and waiting.call.abandoned:
                continue
            waiting.sent_at = now
            if waiting.asking:
                batch.append(asking := Waiting(_ASKING, None))
                asking.sent_at = now
            batch.append(waiting)
        return batch

    async def _read(self, connection: Connection) -> None:
        """Match replies to commands in order."""
        while True:
            await connection.more()
            self._loop.turn()
            self._quiet_since = now = trio.current_time()
            while (reply := connection.parsed()) is not False:
                if not self._in_flight:
                    raise StoreUnavailable(f"Redis said what nobody asked for: {reply!r}")
                waiting = self._in_flight.popleft()
                (self._tally.confirm_seconds if waiting.confirms else self._tally.seconds).add(now - waiting.sent_at)
                self._answered(waiting, reply)
            self._room.set()

    async def _notice_silence(self) -> None:
        """A Redis that says nothing for twice the deadline counts as lost; one that nobody asks is asked whether it is
        there, so that it is found out before somebody needs it. Beside the reader, which would pay for a scope with
        every answer."""
        patience = 2 * self._settings.timeout_seconds
        self._quiet_since = trio.current_time()
        while True:
            await _until(self._quiet_since + patience)
            now = trio.current_time()
            if now < self._quiet_since + patience:
                continue
            self._quiet_since = now
            if not self._in_flight:
                self.put(Waiting(_PING, None))
            elif now - self._in_flight[0].sent_at >= self._settings.timeout_seconds:
                raise StoreUnavailable("Redis does not answer")

    def _answered(self, waiting: Waiting, reply: Reply) -> None:
        waiting.reply = reply
        if isinstance(reply, ErrorReply):
            self._on_error(str(reply))
        if waiting.confirms:
            self._confirmed(waiting)
        elif not self._replicas or isinstance(reply, ErrorReply):
            waiting.finish()

    def _confirmed(self, wait: Waiting) -> None:
        """WAIT has said how many replicas have everything before it."""
        failure = None
        if isinstance(wait.reply, ErrorReply) or wait.reply < self._replicas:
            have = 0 if isinstance(wait.reply, ErrorReply) else wait.reply
            failure = NotConfirmed(
                f"only {have} of {self._replicas} replicas confirmed this in time: it is not promised, though it may "
                "have happened"
            )
        for waiting in wait.confirms:
            waiting.finish(failure)

    def _fail_all(self) -> None:
        """Everybody who waits learns that nothing is known of the outcome; those, too, whose answer has come and only
        waits to be confirmed."""
        failure = StoreUnavailable("the connection to Redis was lost; what was asked may or may not have happened")
        for waiting in (*self._in_flight, *self._queue):
            for each in (*waiting.confirms, waiting):
                each.finish(failure)
        self._in_flight.clear()
        self._queue.clear()
        self._timed.clear()
        self._queued_bytes = 0


async def _until(moment: float) -> None:
    """A process that stood still finds at once that a deadline has passed, and that the answer is there: the reader
    has its turn first."""
    await trio.sleep_until(moment)
    await trio.lowlevel.checkpoint()


def _pauses() -> Iterator[float]:
    """Seconds between attempts to connect: doubling, jittered so that a fleet does not knock in step."""
    pause, longest = RECONNECT_SECONDS
    while True:
        yield random.uniform(pause / 2, pause)  # noqa: S311 - jitter is no secret
        pause = min(pause * 2, longest)
