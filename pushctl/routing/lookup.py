"""Whom jobs concern: the look-up that `rpc` and `channel` begin with.

Owns: asking presence, holding it against the picture, pruning what is proved stale, grouping by server.
Promises: one round trip for all jobs (two when a server is new); none for jobs that are `believed` and name living
servers only. Must not know: how servers are reached.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pushctl.ids import ServerId, UserId
from pushctl.points import Point, passed
from pushctl.protocol.jobs import Displaced, Job, SessionEnds
from pushctl.registry import Registry
from pushctl.registry.presence import Holder
from pushctl.routing.picture import Picture


@dataclass(frozen=True, slots=True)
class Found:
    """`by_server`: the jobs each is to be told of, in order; `holders`: living leases by user who was looked up;
    `nobody`: jobs for no server; `pruned`: leases of the dead."""

    by_server: dict[ServerId, list[Job]]
    holders: dict[UserId, list[Holder]]
    nobody: int
    pruned: int


class Lookup:
    def __init__(self, registry: Registry, picture: Picture) -> None:
        self._registry = registry
        self.picture = picture

    async def find(self, jobs: Sequence[Job], *, believe: bool) -> Found:
        """`believe`: a job that says who held its user when it was made is for these, if they live. Who came since has
        read the log. Raises StoreUnavailable."""
        told = [self._told(job) if believe or isinstance(job, Displaced) else None for job in jobs]
        users = list(dict.fromkeys(UserId(job.user) for job, named in zip(jobs, told, strict=True) if named is None))
        held = dict(zip(users, await self._registry.presence.holders_of(users), strict=True))
        await passed(Point.LOCATED)
        await self.picture.look_for([holder for holders in held.values() for holder in holders])
        pruned = 0
        for user, holders in held.items():
            held[user] = [holder for holder in holders if self.picture.may_live(holder)]
            pruned += self.prune(user, [holder for holder in holders if not self.picture.may_live(holder)])
        by_server: dict[ServerId, list[Job]] = {}
        nobody = 0
        for job, named in zip(jobs, told, strict=True):
            servers = {holder.server for holder in held[UserId(job.user)]} if named is None else named
            nobody += not servers
            for server in servers:
                by_server.setdefault(server, []).append(job)
        return Found(by_server, held, nobody, pruned)

    def _told(self, job: Job) -> set[ServerId] | None:
        """The servers that a job itself names; None if it names none, or one that is not known to live."""
        if isinstance(job, Displaced):
            return {ServerId(server) for server in job.servers}
        if isinstance(job, SessionEnds) or job.held is None:
            return None
        living = {self.picture.living(holder) for holder in job.held}
        return {server for server in living if server is not None} if None not in living else None

    def prune(self, user: UserId, stale: Sequence[Holder]) -> int:
        """Remove these leases unless they have changed. Returns how many they are."""
        if stale:
            self._registry.presence.prune(user, stale)
        return len(stale)
