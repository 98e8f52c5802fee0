"""Strategy `channel`: look up who holds the users, PUBLISH a batch to each such server's own channel.

Owns: publishing to servers. Must not know: what jobs say beyond whose they are.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from pushctl.ids import ServerId, UserId
from pushctl.protocol.jobs import Job
from pushctl.registry import Registry
from pushctl.registry.jobs import Taken
from pushctl.routing.batches import batches, parts
from pushctl.routing.lookup import Lookup
from pushctl.routing.strategy import Delivered


class ChannelStrategy:
    def __init__(self, registry: Registry, lookup: Lookup) -> None:
        self._registry = registry
        self._lookup = lookup

    async def deliver(self, jobs: Sequence[Job], done: Sequence[Taken] = ()) -> Delivered:
        found = await self._lookup.find(jobs, believe=True)
        delivered = await publish(self._registry, found.by_server.items(), done)
        return replace(delivered, nobody=found.nobody, pruned=found.pruned)


async def publish(
    registry: Registry, jobs: Iterable[tuple[ServerId | None, Sequence[Job]]], done: Sequence[Taken] = ()
) -> Delivered:
    """Publish jobs of one partition to servers' channels (None: to the one of all), and hand over what is `done` in the
    same step as the last of it. Raises StoreUnavailable."""
    messages: list[tuple[ServerId | None, bytes]] = []
    partition = 0
    for server, theirs in jobs:
        partition = registry.jobs.partition_of(UserId(theirs[0].user))
        messages += [(server, batch) for batch in batches(theirs)]
    # A round trip for each part: what waits for Redis at once has a bound.
    *most, last = [*parts(messages, lambda message: len(message[1]))] or [[]]
    unheard, handed_over = 0, None
    for some in most:
        unheard += await registry.channels.publish(partition, some)
    if done and last:
        handed_over = await registry.jobs.hand_over(done, last)
        unheard += handed_over.unheard
    elif last:
        unheard += await registry.channels.publish(partition, last)
    return Delivered(hints=len(messages), unheard=unheard, handed_over=handed_over)
