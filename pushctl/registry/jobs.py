"""Job streams: what has to be brought to socket servers. Written by api and socket, read by routers.

Owns: streams route:<partition>, their consumer group, hand-over, and what is published with it (channel.py).
Promises: bounded in number and in bytes (the oldest go; reconcile covers them); acknowledged and deleted together, and
by whom is known: of two that hand a job over, one is told that it was gone; a dead router's jobs are taken over, and
its name is forgotten.
Must not know: what a job says.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import trio

from pushctl.errors import StoreUnavailable
from pushctl.ids import ServerId, UserId
from pushctl.registry.channel import Channels
from pushctl.registry.connection import Connection, ConnectionLost, ErrorReply, Reply
from pushctl.registry.keys import shard_of
from pushctl.registry.script import Script
from pushctl.registry.store import Store

HAND_OVER = Script.load("hand_over")
PUT_JOB = Script.load("put_job")
JOIN_GROUP = Script.load("join_group")
LEAVE_GROUP = Script.load("leave_group")
TAKE_OVER = Script.load("take_over")
BACKLOG = Script.load("backlog")

GROUP = "routers"
BLOCK_MS = 500
"""A blocking read looks up this often: how long a router that is told to stop may have to wait."""

IDLE_MS = 10_000
"""Jobs a router took and did not hand over for so long are another's to take."""

GONE_MS = 60_000
"""A router that holds nothing and was not seen at work for so long is forgotten; it joins again by reading."""

MAX_TRIES = 2

MAX_TRIMMED = 1000
"""Jobs that go at once because one was written. More than one ever brings, in bytes, even where all others are tiny."""

SILENCE = object()


class Taken(msgspec.Struct, frozen=True):
    """A job as it stands in a stream. `id` begins with the Redis time in ms at which it was written."""

    partition: int
    id: bytes
    payload: bytes

    @property
    def written_ms(self) -> int:
        return int(self.id.split(b"-")[0])


class Consumer(msgspec.Struct, frozen=True):
    """A router that reads a stream. `pending`: jobs it took and has not handed over; `idle_ms`: since it was
    last seen at work."""

    name: str
    pending: int
    idle_ms: int


class Backlog(msgspec.Struct, frozen=True):
    """What is not handed over yet: how many jobs, of how many bytes, and how long ago the oldest was written."""

    partition: int
    length: int
    bytes: int
    lag_ms: int


class TakenOver(msgspec.Struct, frozen=True):
    """`jobs`: now this router's to try; `given_up`: how many were tried often enough; `backlog`: what there is."""

    jobs: list[Taken]
    given_up: int
    backlog: Backlog


class HandedOver(msgspec.Struct, frozen=True):
    """`ours`: the jobs that were still there: nobody else is told so of the same job; `unheard`: payloads that nobody
    heard; `now_ms`: the time of the master that holds the partition."""

    ours: list[Taken]
    unheard: int
    now_ms: int


class Jobs:
    def __init__(self, store: Store, channels: Channels) -> None:
        self._store = store
        self._channels = channels

    @property
    def partitions(self) -> int:
        return self._store.partitions

    def _stream(self, partition: int) -> str:
        return self._store.stream(partition)

    def partition_of(self, user: UserId) -> int:
        return shard_of(user, self.partitions)

    def _keys(self, partition: int) -> list[str]:
        return [self._stream(partition), self._store.keys.job_bytes(partition, self.partitions)]

    def put(self, user: UserId, payload: bytes) -> bool:
        """Write a job; the oldest make room for it. A hint: not waited for; False when it was dropped."""
        routing = self._store.config.routing
        return self._store.link.post_script(
            PUT_JOB,
            self._keys(self.partition_of(user)),
            [GROUP, routing.max_jobs, routing.max_job_bytes, MAX_TRIMMED, payload],
        )

    async def hand_over(
        self, done: Sequence[Taken], messages: Sequence[tuple[ServerId | None, bytes]] = ()
    ) -> HandedOver:
        """These jobs, one or more of one partition, are done: acknowledge and delete them in one step. In the same step
        `messages`, which tell of them, are published to servers' channels before. Raises StoreUnavailable."""
        partition = done[0].partition
        ids, sizes = [job.id for job in done], [len(job.payload) for job in done]
        try:
            spelled = await self._channels.spelled(partition, messages)
            now_ms, unheard, gone = await self._store.run_on(
                HAND_OVER,
                self._keys(partition),
                rest=[*ids, *sizes, *spelled.words],
                group=GROUP,
                verb=spelled.verb,
                count=len(ids),
            )
        except StoreUnavailable:
            self._channels.may_be_new(partition)
            raise
        missing = {number - 1 for number in gone}
        ours = [job for number, job in enumerate(done) if number not in missing]
        return HandedOver(ours, unheard if spelled.knows_listeners else 0, now_ms)

    async def join(self, consumer: str, partition: int) -> None:
        """A router shares the work from now on (or again, when Redis lost the group)."""
        await self._store.run_on(JOIN_GROUP, [self._stream(partition)], group=GROUP, consumer=consumer)

    async def reader(self, consumer: str, partition: int) -> "JobReader":
        """A connection of its own for blocking reads. Raises StoreUnavailable."""
        redis = self._store.config.redis
        stream = self._stream(partition)
        connection = await self._store.link.open_connection(stream, name=f"jobs-{consumer}")
        patience_seconds = BLOCK_MS / 1000 + redis.timeout_seconds
        return JobReader(connection, stream, partition, consumer, patience_seconds, self._store.link.heard_error)

    def is_connected(self, partition: int) -> bool:
        """The master that holds this partition and its users can be asked."""
        return self._store.link.is_connected(self._stream(partition))

    async def wait_connected(self, partition: int) -> None:
        """Returns once the master that holds this partition and its users can be asked."""
        await self._store.link.wait_connected(self._stream(partition))

    async def now_ms(self, partition: int) -> int:
        """The time of the master that holds this partition and its users."""
        seconds, microseconds = await self._store.link.ask("TIME", near=self._stream(partition))
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def take_over(self, consumer: str, partition: int, count: int) -> TakenOver:
        """Take up to `count` jobs whose router has been silent for IDLE_MS; forget routers that are gone."""
        reply = await self._store.run_on(
            TAKE_OVER,
            self._keys(partition),
            group=GROUP,
            consumer=consumer,
            idle_ms=IDLE_MS,
            max_tries=MAX_TRIES,
            gone_ms=GONE_MS,
            count=count,
        )
        given_up, length, size, lag_ms, *flat = reply
        jobs = [Taken(partition, id_, payload) for id_, payload in _pairs(flat)]
        return TakenOver(jobs, given_up, Backlog(partition, length, size, lag_ms))

    async def leave(self, consumer: str, partition: int) -> bool:
        """This consumer takes no more: its name goes, unless jobs are pending under it (they are taken over first)."""
        left = await self._store.run_on(LEAVE_GROUP, self._keys(partition), group=GROUP, consumer=consumer)
        return bool(left)

    async def backlog(self, partition: int) -> tuple[Backlog, list[Consumer]]:
        """What is to do in a partition, and who does it."""
        length, size, lag_ms, *flat = await self._store.run_on(BACKLOG, self._keys(partition), group=GROUP)
        triples = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
        consumers = [Consumer(name.decode(errors="replace"), pending, idle) for name, pending, idle in triples]
        return Backlog(partition, length, size, lag_ms), consumers


class JobReader:
    """Blocking reads of one partition, over a connection of their own. One reader task at a time."""

    def __init__(
        self,
        connection: Connection,
        stream: str,
        partition: int,
        consumer: str,
        patience_seconds: float,
        on_error: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._partition = partition
        self._consumer = consumer
        self._patience_seconds = patience_seconds
        self._on_error = on_error

    async def take(self, count: int) -> list[Taken] | None:
        """Up to `count` new jobs; [] when there was none for BLOCK_MS; None when the group is gone (Redis lost it).

        Raises ConnectionLost, also when Redis keeps silent for longer than it was asked to, or the stream has moved.
        """
        reply: Reply = SILENCE
        with trio.move_on_after(self._patience_seconds):
            reply = await self._connection.ask(
                *("XREADGROUP", "GROUP", GROUP, self._consumer, "COUNT", count, "BLOCK", BLOCK_MS),
                *("STREAMS", self._stream, ">"),
            )
        if reply is SILENCE:
            raise ConnectionLost("Redis does not answer the reader of jobs")
        if isinstance(reply, ErrorReply):
            if str(reply).startswith(("NOGROUP", "UNBLOCKED")):
                return None
            self._on_error(str(reply))  # it may say where the stream is now
            raise ConnectionLost(f"Redis refuses the reader of jobs: {reply}")
        return [Taken(self._partition, id_, fields[1]) for _, entries in reply or [] for id_, fields in entries]

    async def aclose(self) -> None:
        await self._connection.aclose()


def _pairs(flat: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(flat[::2], flat[1::2], strict=True))
