"""Whom jobs concern: the look-up that `rpc` and `channel` begin with.

Owns: asking presence, holding it against the picture, pruning what is proved stale, grouping by server.
Promises: one round trip for all jobs (two when a server is new). Must not know: how servers are reached.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pushctl.ids import ServerId, UserId
from pushctl.points import Point, passed
from pushctl.protocol.jobs import Displaced, Job
from pushctl.registry import Registry
from pushctl.registry.presence import Holder
from pushctl.routing.picture import Picture


@dataclass(frozen=True, slots=True)
class Found:
    """`by_server`: the jobs each is to be told of, in order; `holders`: living leases by user; `nobody`: jobs for no
    server; `pruned`: leases of the dead."""

    by_server: dict[ServerId, list[Job]]
    holders: dict[UserId, list[Holder]]
    nobody: int
    pruned: int


class Lookup:
    def __init__(self, registry: Registry, picture: Picture) -> None:
        self._registry = registry
        self.picture = picture

    async def find(self, jobs: Sequence[Job]) -> Found:
        """Raises StoreUnavailable."""
        users = list(dict.fromkeys(UserId(job.user) for job in jobs))
        held = dict(zip(users, await self._registry.presence.holders_of(users), strict=True))
        await passed(Point.LOCATED)
        await self.picture.look_for([holder for holders in held.values() for holder in holders])
        pruned = 0
        for user, holders in held.items():
            held[user] = [holder for holder in holders if self.picture.may_live(holder)]
            pruned += self.prune(user, [holder for holder in holders if not self.picture.may_live(holder)])
        by_server, nobody = _grouped(jobs, held)
        return Found(by_server, held, nobody, pruned)

    def prune(self, user: UserId, stale: Sequence[Holder]) -> int:
        """Remove these leases unless they have changed. Returns how many they are."""
        if stale:
            self._registry.presence.prune(user, stale)
        return len(stale)


def _grouped(jobs: Sequence[Job], held: dict[UserId, list[Holder]]) -> tuple[dict[ServerId, list[Job]], int]:
    by_server: dict[ServerId, list[Job]] = {}
    nobody = 0
    for job in jobs:
        if isinstance(job, Displaced):
            servers = {ServerId(server) for server in job.servers}
        else:
            servers = {holder.server for holder in held[UserId(job.user)]}
        nobody += not servers
        for server in servers:
            by_server.setdefault(server, []).append(job)
    return by_server, nobody
