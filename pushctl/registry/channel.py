"""Pub/sub channels to socket servers: publishing to one or to all, listening to one's own.

A server has one channel per partition of users, and shares another with all servers. They are published and listened
to on the master that holds those users: a master that is away takes nobody else's hints with it. On a Cluster of
Redis 7 or newer they are sharded channels (SPUBLISH): a hint stays on that master. An older Cluster passes every hint
on to each of its nodes. A listener listens in both ways, so that publishers may find out one by one what Redis can.

Owns: the connection that listens. Promises: a listener that lost its connection, or whose channel moved to another
master, says so (StoreUnavailable): what was published meanwhile is gone, and its owner must look at the logs.
Must not know: what is published.
"""

from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from pushctl.errors import StoreUnavailable
from pushctl.ids import ServerId
from pushctl.registry.connection import Connection, ConnectionLost, ErrorReply, Reply, pack
from pushctl.registry.info import major_version, parse_info
from pushctl.registry.store import Store

SHARDED_SINCE = 7


@dataclass(frozen=True, slots=True)
class Spelled:
    """What is to be published, for a command or a script. `words`: channels and payloads by turns; `knows_listeners`:
    the answer is how many hear it. On a Cluster before Redis 7 a master knows only who listens to itself."""

    verb: str
    words: list[str | bytes]
    knows_listeners: bool


class Channels:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._sharded: dict[int, bool] = {}
        """By partition, what its master was found to be able to."""

    @property
    def partitions(self) -> int:
        return self._store.partitions

    def _channel(self, server: ServerId | None, partition: int) -> str:
        return self._store.keys.channel(server, partition, self.partitions)

    def can_be_heard(self, partition: int) -> bool:
        """Whether the master that holds this partition and its users can be asked."""
        return self._store.link.is_connected(self._store.stream(partition))

    async def wait_connected(self, partition: int) -> None:
        """Returns once it can."""
        await self._store.link.wait_connected(self._store.stream(partition))

    async def are_sharded(self, partition: int) -> bool:
        """Whether hints of this partition stay on one master (SPUBLISH). Raises StoreUnavailable."""
        if not self._store.link.is_cluster:
            return False
        if partition not in self._sharded:
            said = await self._store.link.ask("INFO", "server", near=self._store.stream(partition))
            self._sharded[partition] = major_version(parse_info(said)) >= SHARDED_SINCE
        return self._sharded[partition]

    async def verb(self, partition: int) -> str:
        """The command that publishes hints of this partition. Raises StoreUnavailable."""
        return "SPUBLISH" if await self.are_sharded(partition) else "PUBLISH"

    async def publish(self, partition: int, messages: Sequence[tuple[ServerId | None, bytes]]) -> int:
        """Publish what concerns users of one partition to servers' channels (None: to the one of all), in one round
        trip. How many of them nobody heard, where that is known. Raises StoreUnavailable."""
        try:
            spelled = await self.spelled(partition, messages)
            words = spelled.words
            heard = await self._store.link.ask_all(
                [(spelled.verb, *words[n : n + 2]) for n in range(0, len(words), 2)],
                near=self._store.stream(partition),
            )
        except StoreUnavailable:
            self.may_be_new(partition)
            raise
        return heard.count(0) if spelled.knows_listeners else 0

    async def spelled(self, partition: int, messages: Sequence[tuple[ServerId | None, bytes]]) -> Spelled:
        """How to publish what concerns users of one partition. Raises StoreUnavailable."""
        verb = await self.verb(partition)
        words = [word for server, payload in messages for word in (self._channel(server, partition), payload)]
        return Spelled(verb, words, verb == "SPUBLISH" or not self._store.link.is_cluster)

    def may_be_new(self, partition: int) -> None:
        """A question failed: what comes back may be of another version."""
        self._sharded.pop(partition, None)

    @asynccontextmanager
    async def listen(self, server: ServerId, partition: int) -> "AsyncIterator[Listener]":
        """Listen to a server's channels of one partition, over a connection of its own. Raises StoreUnavailable."""
        self.may_be_new(partition)
        verbs = ["SUBSCRIBE", *(["SSUBSCRIBE"] if await self.are_sharded(partition) else [])]
        channels = [self._channel(server, partition), self._channel(None, partition)]
        commands = [(verb, *channels) for verb in verbs]
        async with listening(self._store, self._store.stream(partition), commands, name=f"hear-{server}") as listener:
            yield listener


@asynccontextmanager
async def listening(
    store: Store, near: str, commands: Sequence[tuple[str, ...]], *, name: str
) -> "AsyncIterator[Listener]":
    """Listen to the channels that the commands name, over a connection of its own to the master that holds `near`.
    Raises StoreUnavailable."""
    seconds = store.config.redis.timeout_seconds
    connection = await store.link.open_connection(near, name=name)
    try:
        listener = Listener(connection)
        subscribed = False
        with trio.move_on_after(seconds):
            await _subscribe(store, listener, commands)
            subscribed = True
        if not subscribed:
            raise ConnectionLost(f"Redis did not take a subscription within {seconds:g} s")
        yield listener
    finally:
        with trio.CancelScope(shield=True):
            await connection.aclose()


async def _subscribe(store: Store, listener: "Listener", commands: Sequence[tuple[str, ...]]) -> None:
    try:
        await listener.subscribe(commands)
    except Refused as refused:
        store.link.heard_error(refused.error)  # it may say where the channel is now
        raise


class Refused(StoreUnavailable):
    """Redis answered a subscription with an error."""

    def __init__(self, error: str) -> None:
        super().__init__(f"Redis refuses to be listened to: {error}")
        self.error = error


class Listener:
    """What is published, one payload at a time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._early: deque[bytes] = deque()
        """What came before the last subscription was confirmed."""

    async def subscribe(self, commands: Sequence[tuple[str, ...]]) -> None:
        """Send these, and return when every channel they name is listened to. Raises Refused, ConnectionLost."""
        await self._connection.send(b"".join(map(pack, commands)))
        missing = sum(len(command) - 1 for command in commands)
        while missing:
            reply = await self._connection.receive()
            if isinstance(reply, ErrorReply):
                raise Refused(str(reply))
            if reply[0] in (b"subscribe", b"ssubscribe"):
                missing -= 1
            else:
                self._early.append(_payload(reply))

    async def hear(self) -> bytes:
        """The next payload. Raises ConnectionLost."""
        if self._early:
            return self._early.popleft()
        return _payload(await self._connection.receive())


def _payload(reply: Reply) -> bytes:
    if reply[0] not in (b"message", b"smessage"):
        raise ConnectionLost("the channel has moved to another master")  # sunsubscribe: with its slot
    payload: bytes = reply[2]
    return payload
