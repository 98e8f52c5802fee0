"""Broadcasts: named versions that operators set and browsers listen to, the same for everybody.

Owns: script broadcast and the key it writes. Promises: every change has a number higher than that of the one before;
a heartbeat tells it, and whoever listens to channels is told at once.
Must not know: who listens to which.
"""

import msgspec

from pushctl.errors import LimitReached, StoreUnavailable
from pushctl.protocol.jobs import News, encode
from pushctl.registry.channel import Channels
from pushctl.registry.script import Script
from pushctl.registry.store import Store

BROADCAST = Script.load("broadcast")

MAX_BROADCASTS = 100


class Versions(msgspec.Struct, frozen=True):
    """`change`: the number of the last one; `by_id`: every broadcast there is."""

    change: int
    by_id: dict[str, str]


class Broadcasts:
    def __init__(self, store: Store, channels: Channels) -> None:
        self._store = store
        self._channels = channels

    @property
    def _key(self) -> str:
        return self._store.keys.servers("broadcasts")

    async def all(self) -> Versions:
        flat = iter(await self._store.link.ask("HGETALL", self._key))
        found = {key.decode(): value.decode() for key, value in zip(flat, flat, strict=True)}
        return Versions(int(found.pop("", "0")), found)

    async def set(self, id_: str, version: str) -> bool:
        """Set a broadcast's version; '' removes it. False: it was that already. Raises LimitReached."""
        reply = await self._store.run_on(BROADCAST, [self._key], id=id_, version=version, most=MAX_BROADCASTS)
        if reply[0] == b"limit":
            raise LimitReached(f"there may be {MAX_BROADCASTS} broadcasts; remove one first")
        if reply[0] == b"same":
            return False
        await self._tell()
        return True

    async def _tell(self) -> None:
        """A hint: the next heartbeat says so, too. Every server listens to each partition's channel; one is enough."""
        for partition in range(self._channels.partitions):
            try:
                await self._channels.publish(partition, [(None, encode(News()))])
            except StoreUnavailable:
                continue
            return
