"""A socket server's pub/sub channels: publishing to one, listening to one's own.

A server has one channel per partition of users, published and listened to on the master that holds those users: a
master that is away takes nobody else's hints with it. A Cluster passes on what any of its nodes is given, so that a
hint is also heard while slots move.

Owns: the connection that listens. Promises: a listener that lost its connection says so (ConnectionLost): what was
published meanwhile is gone, and its owner must look at the logs. Must not know: what is published.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from pushctl.errors import StoreUnavailable
from pushctl.ids import ServerId
from pushctl.registry.connection import Connection, ErrorReply
from pushctl.registry.store import Store


class Channels:
    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def partitions(self) -> int:
        return self._store.partitions

    def _channel(self, server: ServerId, partition: int) -> str:
        return self._store.keys.channel(server, partition, self.partitions)

    def can_be_heard(self, partition: int) -> bool:
        """Whether the master that holds this partition and its users can be asked."""
        return self._store.link.is_connected(self._store.stream(partition))

    async def wait_connected(self, partition: int) -> None:
        """Returns once it can."""
        await self._store.link.wait_connected(self._store.stream(partition))

    async def publish(self, partition: int, messages: Sequence[tuple[ServerId, bytes]]) -> int:
        """Publish what concerns users of one partition to servers' channels, all in one round trip. How many of them
        nobody heard; 0 on a Cluster, where a master knows only who listens to itself."""
        heard = await self._store.link.ask_all(
            [("PUBLISH", self._channel(server, partition), payload) for server, payload in messages],
            near=self._store.stream(partition),
        )
        return 0 if self._store.link.is_cluster else heard.count(0)

    @asynccontextmanager
    async def listen(self, server: ServerId, partition: int) -> "AsyncIterator[Listener]":
        """Listen to a server's channel of one partition, over a connection of its own."""
        redis = self._store.config.redis
        connection = await self._store.link.open_connection(self._store.stream(partition), name=f"hear-{server}")
        try:
            confirmed = None
            with trio.move_on_after(redis.timeout_seconds):
                confirmed = await connection.ask("SUBSCRIBE", self._channel(server, partition))
            if confirmed is None or isinstance(confirmed, ErrorReply):
                raise StoreUnavailable(f"Redis refuses SUBSCRIBE: {confirmed}")
            yield Listener(connection)
        finally:
            with trio.CancelScope(shield=True):
                await connection.aclose()


class Listener:
    """What is published, one payload at a time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def hear(self) -> bytes:
        """The next payload. Raises ConnectionLost."""
        while True:
            reply = await self._connection.receive()
            if reply[0] == b"message":
                payload: bytes = reply[2]
                return payload
