"""The gc index and the census: hints of where something expires, and counts for screens.

Owns: keys due, idle, census, lease; scripts gc_due and gc_settle. Promises: the index is a hint; a user leaves it only
when nothing expires at two visits a minute apart and nobody set it anew meanwhile. Must not know: what expires.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from pushctl.ids import UserId
from pushctl.registry.keys import SHARDS, shard_of
from pushctl.registry.script import Script
from pushctl.registry.store import Store

GC_DUE = Script.load("gc_due")
GC_SETTLE = Script.load("gc_settle")


class Census(msgspec.Struct, frozen=True):
    """What gc counted, between two moments (Redis time, ms). Screens show its age."""

    started_ms: int
    finished_ms: int
    users: int
    devices: int
    push_urls: int
    unread: int
    connections: int


@dataclass(frozen=True, slots=True)
class Due:
    user: UserId
    score: bytes
    """As it stands in the index, for compare-and-set."""


class Index:
    def __init__(self, store: Store) -> None:
        self._store = store

    def expires(self, user: UserId, at_ms: int) -> None:
        """Something of the user's expires at this moment: an earlier entry stays. A hint."""
        self._store.link.post("ZADD", self._store.keys.shard(shard_of(user), "due"), "LT", at_ms, user)

    async def due(self, shard: int, limit: int) -> tuple[int, list[Due]]:
        """(how many users of this shard are due, at most `limit` of them)"""
        reply = await self._store.run_on(GC_DUE, [self._store.keys.shard(shard, "due")], limit=limit)
        flat = iter(reply[2:])
        return int(reply[1]), [Due(UserId(user.decode()), score) for user, score in zip(flat, flat, strict=True)]

    async def settle(self, shard: int, due: Due, next_ms: int | None) -> None:
        """A due user was swept; its next expiry, None when it has none."""
        keys = [self._store.keys.shard(shard, "due"), self._store.keys.shard(shard, "idle")]
        await self._store.run_on(
            GC_SETTLE, keys, user=due.user, score=due.score, next="" if next_ms is None else next_ms
        )

    async def write_census(self, census: Census) -> None:
        await self._store.link.ask("SET", self._store.keys.census, msgspec.msgpack.encode(census))

    async def census(self) -> Census | None:
        raw = await self._store.link.ask("GET", self._store.keys.census)
        return None if raw is None else msgspec.msgpack.decode(raw, type=Census)

    async def take_turn(self, name: str, ms: int) -> bool:
        """True once per `ms` for all daemons together: whoever gets it does what it names."""
        return await self._store.link.ask("SET", self._store.keys.lease(name), "1", "NX", "PX", ms) is not None

    @property
    def shards(self) -> Sequence[int]:
        return range(SHARDS)
