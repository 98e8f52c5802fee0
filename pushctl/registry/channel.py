"""A socket server's pub/sub channel: publishing to one, listening to one's own.

Owns: the connection that listens. Promises: a listener that lost its connection says so (ConnectionLost): what was
published meanwhile is gone, and its owner must look at the logs. Must not know: what is published.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from pushctl.errors import StoreUnavailable
from pushctl.ids import ServerId, UserId
from pushctl.registry.connection import Connection, ErrorReply
from pushctl.registry.store import Store


class Channels:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def publish(self, messages: Sequence[tuple[ServerId, bytes]], *, near: UserId | None = None) -> int:
        """Publish to servers' channels, all in one round trip. How many of them nobody heard; 0 on a Cluster, where a
        master knows only who listens to itself.

        `near`: through this user's master. A Cluster passes on what any of its nodes is given, so that a master that is
        away delays only its own users.
        """
        keys = self._store.keys
        heard = await self._store.link.ask_all(
            [("PUBLISH", keys.channel(server), payload) for server, payload in messages],
            near=None if near is None else keys.user(near, "presence"),
        )
        return 0 if self._store.link.is_cluster else heard.count(0)

    @asynccontextmanager
    async def listen(self, server: ServerId) -> "AsyncIterator[Listener]":
        """Listen to a server's channel, over a connection of its own."""
        redis = self._store.config.redis
        connection = await self._store.link.open_connection(None, name=f"hear-{server}")
        try:
            confirmed = None
            with trio.move_on_after(redis.timeout_seconds):
                confirmed = await connection.ask("SUBSCRIBE", self._store.keys.channel(server))
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
