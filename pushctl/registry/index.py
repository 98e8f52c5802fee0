"""The gc index, the leases of the daemons that work on it, and the census.

Owns: keys due, idle, lease, repair, census; scripts gc_take, gc_give_back, gc_due and gc_settle. Promises: the index is
a hint; a user leaves it only when nothing expires at two visits a minute apart and nobody set it anew meanwhile; a
daemon that was frozen past the end of its lease changes nothing in the index of a shard that another has taken.
Must not know: what expires.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from pushctl.ids import UserId
from pushctl.registry.keys import SHARDS, shard_of
from pushctl.registry.script import Script
from pushctl.registry.store import Store

GC_TAKE = Script.load("gc_take")
GC_GIVE_BACK = Script.load("gc_give_back")
GC_DUE = Script.load("gc_due")
GC_SETTLE = Script.load("gc_settle")


LEASE_MS = 15_000
"""A shard is a dead daemon's for so long. Every question asked under the lease renews it."""

REPAIR_LEASE_MS = 600_000
"""Longer than any tick; the round of a daemon that died begins anew afterwards, so there is no hurry."""


class Census(msgspec.Struct, frozen=True):
    """What gc counted, between two moments (Redis time, ms). Screens show its age."""

    started_ms: int
    finished_ms: int
    users: int
    devices: int
    push_urls: int
    unread: int
    connections: int


class Entry(msgspec.Struct, frozen=True):
    user: UserId
    score: bytes
    """As it stands in the index, for compare-and-set: when something of the user expires, in ms."""


class Due(msgspec.Struct, frozen=True):
    """What is due in a shard at `now_ms`: `count` users, the longest overdue of them in `entries`."""

    now_ms: int
    count: int
    entries: list[Entry]

    @property
    def oldest_ms(self) -> int:
        """For how long the first of them has been due."""
        return max(0, self.now_ms - int(float(self.entries[0].score))) if self.entries else 0


Settled = Literal["moved", "once", "removed", "changed", "fenced"]


class Index:
    def __init__(self, store: Store) -> None:
        self._store = store

    def _keys(self, shard: int, *nouns: str) -> list[str]:
        return [self._store.keys.shard(shard, noun) for noun in nouns]

    def expires(self, user: UserId, at_ms: int) -> None:
        """Something of the user's expires at this moment: an earlier entry stays. A hint."""
        self._store.link.post("ZADD", self._store.keys.shard(shard_of(user), "due"), "LT", at_ms, user)

    async def take(self, shard: int, daemon: str) -> int | None:
        """Take the lease of a shard for LEASE_MS, or renew it. Its fence; None while another daemon holds it."""
        return await self._take(self._keys(shard, "lease"), daemon, LEASE_MS)

    async def take_repair(self, daemon: str) -> int | None:
        """As `take`, for the walk over the key space and REPAIR_LEASE_MS."""
        return await self._take([self._store.keys.repair], daemon, REPAIR_LEASE_MS)

    async def _take(self, keys: Sequence[str], daemon: str, lease_ms: int) -> int | None:
        reply = await self._store.run_on(GC_TAKE, keys, daemon=daemon, lease_ms=lease_ms)
        return None if reply is None else int(reply)

    async def give_back(self, shard: int, fence: int) -> None:
        """Let others have the shard, if this lease still is the one that counts."""
        await self._store.run_on(GC_GIVE_BACK, self._keys(shard, "lease"), fence=fence)

    async def give_back_repair(self, fence: int) -> None:
        await self._store.run_on(GC_GIVE_BACK, [self._store.keys.repair], fence=fence)

    async def due(self, shard: int, fence: int, limit: int) -> Due | None:
        """What is due in a shard, at most `limit` users of it; None when another daemon has taken it."""
        keys = self._keys(shard, "lease", "due")
        reply = await self._store.run_on(GC_DUE, keys, fence=fence, lease_ms=LEASE_MS, limit=limit)
        if reply[0] == b"fenced":
            return None
        flat = iter(reply[3:])
        entries = [Entry(UserId(user.decode()), score) for user, score in zip(flat, flat, strict=True)]
        return Due(int(reply[1]), int(reply[2]), entries)

    async def settle(self, shard: int, fence: int, entry: Entry, next_ms: int | None) -> Settled:
        """A due user was swept; its next expiry, None when it has none."""
        reply = await self._store.run_on(
            GC_SETTLE,
            self._keys(shard, "lease", "due", "idle"),
            fence=fence,
            lease_ms=LEASE_MS,
            user=entry.user,
            score=entry.score,
            next="" if next_ms is None else next_ms,
        )
        settled: Settled = reply.decode()
        return settled

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
