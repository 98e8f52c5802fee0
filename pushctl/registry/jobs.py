"""Job streams: what has to be brought to socket servers. Written by api and socket, read by routers.

Owns: streams route:<partition>, their consumer group, hand-over. Promises: bounded length (the oldest go; reconcile
covers them); acknowledged and deleted together; a dead router's jobs are taken over. Must not know: what a job says.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import trio

from pushctl.ids import UserId
from pushctl.registry.connection import Connection, ConnectionLost, ErrorReply, Reply
from pushctl.registry.keys import shard_of
from pushctl.registry.script import Script
from pushctl.registry.store import Store

HAND_OVER = Script.load("hand_over")
PUT_JOB = Script.load("put_job")
JOIN_GROUP = Script.load("join_group")

GROUP = "routers"
BLOCK_MS = 500
"""A blocking read looks up this often: how long a router that is told to stop may have to wait."""

IDLE_MS = 10_000
"""Jobs a router took and did not hand over for so long are another's to take."""

MAX_TRIES = 2

SILENCE = object()


@dataclass(frozen=True, slots=True)
class Taken:
    """A job as it stands in a stream. `id` begins with the Redis time in ms at which it was written."""

    partition: int
    id: bytes
    payload: bytes

    @property
    def written_ms(self) -> int:
        return int(self.id.split(b"-")[0])


@dataclass(frozen=True, slots=True)
class Backlog:
    partition: int
    length: int
    pending: int
    consumers: int


class Jobs:
    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def partitions(self) -> int:
        return self._store.partitions

    def _stream(self, partition: int) -> str:
        return self._store.stream(partition)

    def partition_of(self, user: UserId) -> int:
        return shard_of(user, self.partitions)

    def put(self, user: UserId, payload: bytes) -> bool:
        """Write a job, and drop those too old to be delivered. A hint: not waited for; False when it was dropped."""
        keys = [self._stream(self.partition_of(user))]
        config = self._store.config
        return self._store.link.post_script(
            PUT_JOB, keys, [config.routing.max_jobs, int(config.socket.reconcile_seconds * 1000), payload]
        )

    async def hand_over(self, partition: int, ids: list[bytes]) -> None:
        """These jobs are done: acknowledge and delete them in one step."""
        await self._store.run_on(HAND_OVER, [self._stream(partition)], rest=ids, group=GROUP)

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

    async def wait_connected(self, partition: int) -> None:
        """Returns once the master that holds this partition and its users can be asked."""
        await self._store.link.wait_connected(self._stream(partition))

    async def now_ms(self, partition: int) -> int:
        """The time of the master that holds this partition and its users."""
        seconds, microseconds = await self._store.link.ask("TIME", near=self._stream(partition))
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def take_over(self, consumer: str, partition: int, count: int) -> tuple[list[Taken], list[Taken]]:
        """Jobs whose router has been silent for IDLE_MS: (now this consumer's to try, tried twice already)."""
        stream = self._stream(partition)
        pending = await self._store.link.ask("XPENDING", stream, GROUP, "IDLE", IDLE_MS, "-", "+", count)
        if not pending:
            return [], []
        tries = {id_: times for id_, _, _, times in pending}
        # Only what is still idle is claimed: two routers that look at once share it between them.
        claimed = _taken(partition, await self._store.link.ask("XCLAIM", stream, GROUP, consumer, IDLE_MS, *tries))
        # What nobody can claim was trimmed: Redis 6.2 would keep it pending for ever.
        trimmed = tries.keys() - {taken.id for taken in claimed}
        if trimmed:
            await self._store.link.ask("XACK", stream, GROUP, *trimmed)
        again = [taken for taken in claimed if tries[taken.id] < MAX_TRIES]
        return again, [taken for taken in claimed if tries[taken.id] >= MAX_TRIES]

    async def leave(self, consumer: str, partition: int) -> None:
        """This consumer takes no more: its name goes, unless jobs are pending under it (they are taken over first)."""
        stream = self._stream(partition)
        summary = await self._store.link.ask("XPENDING", stream, GROUP, "-", "+", 1, consumer)
        if not summary:
            await self._store.link.ask("XGROUP", "DELCONSUMER", stream, GROUP, consumer)

    async def backlog(self) -> list[Backlog]:
        """Per partition: jobs in the stream, taken and not handed over, consumers."""
        result = []
        for partition in range(self.partitions):
            stream = self._stream(partition)
            if not await self._store.link.ask("EXISTS", stream):
                result.append(Backlog(partition, 0, 0, 0))
                continue
            length, groups = await self._store.link.ask_all([("XLEN", stream), ("XINFO", "GROUPS", stream)])
            flat = [dict(zip(group[::2], group[1::2], strict=True)) for group in groups]
            ours: dict[bytes, Any] = next((group for group in flat if group[b"name"] == GROUP.encode()), {})
            result.append(Backlog(partition, length, ours.get(b"pending", 0), ours.get(b"consumers", 0)))
        return result


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
        return [taken for _, entries in reply or [] for taken in _taken(self._partition, entries)]

    async def aclose(self) -> None:
        await self._connection.aclose()


def _taken(partition: int, entries: list[Any]) -> list[Taken]:
    # An entry that was trimmed while pending comes back without fields: nothing to do for it.
    return [Taken(partition, entry[0], entry[1][1]) for entry in entries if entry and entry[1]]
