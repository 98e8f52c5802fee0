"""The slow repair: a round over every key there is, for what no index leads to.

Finds users that the index of users or the identity index does not name (the write after the log-in was lost), deletions
that were cut off, entries of the identity index whose user is no more, and keys whose user is gone without a trace.
Owns: the place in the round and its pace. Promises: bounded work at a time; every repair can be done twice, by two
daemons at once, and be cut off anywhere, so a daemon that is killed costs a round begun anew and nothing else.
Must not know: who else repairs.
"""

from dataclasses import dataclass

import trio

from pushctl.registry import Registry
from pushctl.registry.keyspace import COUNT, Found
from roles.gc.census import finish_deletion
from roles.gc.pace import sharing

STEPS = 20
"""Of the walk in one go, at most: a round that fell behind catches up slowly."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """`users`, `identities`: entries put back into the two indexes; `deletions`: finished; `strays`: identity entries
    of deleted users; `faded`: keys without a user that were given an end."""

    users: int = 0
    identities: int = 0
    deletions: int = 0
    strays: int = 0
    faded: int = 0

    def __add__(self, other: "Repaired") -> "Repaired":
        return Repaired(
            self.users + other.users,
            self.identities + other.identities,
            self.deletions + other.deletions,
            self.strays + other.strays,
            self.faded + other.faded,
        )


async def repair(registry: Registry, found: Found) -> Repaired:
    """Put right what one step of the walk found."""
    listing = registry.users.listing
    lacking = await listing.lacking(list(found.users))
    for each in lacking:
        await listing.agree(each.user, there=True)
    finished = [await finish_deletion(registry, user) for user in found.tombstones]
    strays = await listing.stray(found.entries)
    for user, entry in strays:
        await listing.agree(user, entry, there=False)
    return Repaired(
        users=sum("users" in each.what for each in lacking),
        identities=sum("identity" in each.what for each in lacking),
        deletions=sum(finished),
        strays=len(strays),
        faded=await registry.keyspace.fade(list(found.lasting - found.users)),
    )


class Walk:
    """One round, step by step, master by master."""

    def __init__(self, registry: Registry, masters: dict[str, int]) -> None:
        self.masters = masters.keys()
        self._registry = registry
        self._left = list(masters)
        self._cursor = 0
        self._taken = 0
        self._of = sum(masters.values()) / COUNT

    @property
    def finished(self) -> bool:
        return not self._left

    @property
    def share(self) -> float:
        """How much of the round is done, about: keys come and go while it lasts."""
        return self._taken / max(1.0, self._of)

    async def step(self) -> Repaired:
        """Raises StoreUnavailable; the step may then be taken again."""
        cursor, found = await self._registry.keyspace.step(self._left[0], self._cursor)
        repaired = await repair(self._registry, found)
        self._cursor, self._taken = cursor, self._taken + 1
        if not cursor:
            self._left.pop(0)
        return repaired


async def repair_all(registry: Registry) -> Repaired:
    """A whole round, now."""
    walk = Walk(registry, await registry.keyspace.masters())
    repaired = Repaired()
    while not walk.finished:
        async with sharing():
            repaired += await walk.step()
    return repaired


class Rounds:
    """Round after round, each spread over `seconds`."""

    def __init__(self, registry: Registry, seconds: float) -> None:
        self._registry = registry
        self._seconds = seconds
        self._walk: Walk | None = None
        self._began = 0.0

    def abandon(self) -> None:
        """Another daemon walks: if this one is to walk again, from the start."""
        self._walk = None

    async def catch_up(self) -> Repaired:
        """Take the steps that are due by now, at most STEPS. After StoreUnavailable it goes on where it was, unless the
        masters are others by then: a cursor is good for the one that gave it."""
        masters = await self._registry.keyspace.masters()
        passed = trio.current_time() - self._began
        walk = self._walk
        if walk is None or walk.masters != masters.keys() or (walk.finished and passed >= self._seconds):
            walk = self._walk = Walk(self._registry, masters)
            self._began, passed = trio.current_time(), 0.0
        repaired = Repaired()
        for _ in range(STEPS):
            if walk.finished or walk.share > passed / self._seconds:
                break
            async with sharing():
                repaired += await walk.step()
        return repaired
