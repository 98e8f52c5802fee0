"""What an api process hears of messages whose senders wait for a receipt.

A waiting process names its channel in the user's key `waiters`; the scripts by which something becomes of a message
publish there whose message it was. So nothing is published while nobody waits, and a process has one connection however
many wait in it. On a Cluster every node passes on what one of them publishes (that is PUBLISH, not SPUBLISH: a script
may not publish to another slot's channel).

Owns: the channel's connection. Promises: a connection that is lost says so (StoreUnavailable); what was published
meanwhile is gone, and its owner must look again.
Must not know: who waits, receipts' ids.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pushctl.ids import UserId, new_id
from pushctl.registry.channel import Listener, listening
from pushctl.registry.store import Store


class Receipts:
    def __init__(self, store: Store) -> None:
        self._store = store
        self.channel = store.keys.receipts(new_id())
        """This process's."""

    def user_of(self, payload: bytes) -> UserId:
        """Whose messages to look at: scripts publish the name of the user's key."""
        return UserId(payload.decode(errors="replace").partition("{u:")[2].partition("}")[0])

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[Listener]:
        """Listen to the channel, over a connection of its own. Raises StoreUnavailable."""
        commands = [("SUBSCRIBE", self.channel)]
        async with listening(self._store, self.channel, commands, name="receipts") as listener:
            yield listener

    async def wait_connected(self) -> None:
        """Returns once a master can be listened to."""
        await self._store.link.wait_connected()
