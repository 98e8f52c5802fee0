"""Strategy `channel`: look up who holds the user, PUBLISH a batch to each such server's own channel
of their partition.

Owns: grouping by server. Must not know: what jobs say beyond whose they are.
"""

from collections.abc import Iterator, Sequence

from pushctl.ids import ServerId, UserId
from pushctl.points import Point, passed
from pushctl.protocol.jobs import Batch, Displaced, Job, encode
from pushctl.registry import Registry
from pushctl.routing.strategy import Delivered, Picture

SLICE_BYTES = 1024 * 1024
"""Published in one round trip, about: well below what may wait for Redis at all (redis.queue_bytes)."""

BATCH_JOBS = 64
"""Jobs in one published batch. With events inlined up to 16 KiB each, a batch stays around 1 MiB at worst."""


class ChannelStrategy:
    def __init__(self, registry: Registry, picture: Picture) -> None:
        self._registry = registry
        self._picture = picture

    async def deliver(self, jobs: Sequence[Job]) -> Delivered:
        users = list(dict.fromkeys(UserId(job.user) for job in jobs))
        partition = self._registry.jobs.partition_of(users[0])
        held = dict(zip(users, await self._registry.presence.holders_of(users), strict=True))
        await passed(Point.LOCATED)
        await self._picture.look_for([holder for holders in held.values() for holder in holders])
        servers: dict[UserId, set[ServerId]] = {}
        pruned = 0
        for user, holders in held.items():
            stale = [holder for holder in holders if not self._picture.may_live(holder)]
            if stale:
                self._registry.presence.prune(user, stale)
                pruned += len(stale)
            servers[user] = {holder.server for holder in holders} - {holder.server for holder in stale}
        by_server: dict[ServerId, list[Job]] = {}
        nobody = 0
        for job in jobs:
            named = {ServerId(server) for server in job.servers} if isinstance(job, Displaced) else None
            targets = servers[UserId(job.user)] if named is None else named
            nobody += not targets
            for server in targets:
                by_server.setdefault(server, []).append(job)
        messages = [
            (server, encode(Batch(theirs[first : first + BATCH_JOBS])))
            for server, theirs in by_server.items()
            for first in range(0, len(theirs), BATCH_JOBS)
        ]
        unheard = 0
        for some in _slices(messages):
            unheard += await self._registry.channels.publish(partition, some)
        return Delivered(
            hints=len(messages),
            nobody=nobody,
            pruned=pruned,
            unheard=unheard,
        )


def _slices(messages: list[tuple[ServerId, bytes]]) -> Iterator[list[tuple[ServerId, bytes]]]:
    """The messages in order, in lists of about SLICE_BYTES."""
    some: list[tuple[ServerId, bytes]] = []
    size = 0
    for message in messages:
        some.append(message)
        size += len(message[1])
        if size >= SLICE_BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some
