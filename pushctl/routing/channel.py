"""Strategy `channel`: look up who holds the users, PUBLISH a batch to each such server's own channel.

Owns: publishing to servers. Must not know: what jobs say beyond whose they are.
"""

from collections.abc import Iterable, Sequence

from pushctl.ids import ServerId, UserId
from pushctl.protocol.jobs import Job
from pushctl.registry import Registry
from pushctl.routing.batches import batches, parts
from pushctl.routing.lookup import Lookup
from pushctl.routing.strategy import Delivered


class ChannelStrategy:
    def __init__(self, registry: Registry, lookup: Lookup) -> None:
        self._registry = registry
        self._lookup = lookup

    async def deliver(self, jobs: Sequence[Job]) -> Delivered:
        found = await self._lookup.find(jobs)
        hints, unheard = await publish(self._registry, found.by_server.items())
        return Delivered(hints=hints, nobody=found.nobody, pruned=found.pruned, unheard=unheard)


async def publish(registry: Registry, jobs: Iterable[tuple[ServerId | None, Sequence[Job]]]) -> tuple[int, int]:
    """Publish jobs of one partition to servers' channels (None: to the one of all). (batches, those nobody heard).

    Raises StoreUnavailable.
    """
    messages: list[tuple[ServerId | None, bytes]] = []
    unheard = partition = 0
    for server, theirs in jobs:
        partition = registry.jobs.partition_of(UserId(theirs[0].user))
        messages += [(server, batch) for batch in batches(theirs)]
    # A round trip for each part: what waits for Redis at once has a bound.
    for some in parts(messages, lambda message: len(message[1])):
        unheard += await registry.channels.publish(partition, some)
    return len(messages), unheard
