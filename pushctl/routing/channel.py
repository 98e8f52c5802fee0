"""Strategy `channel`: look up who holds the users, PUBLISH a batch to each such server's own channel.

Owns: publishing to servers. Must not know: what jobs say beyond whose they are.
"""

from collections.abc import Iterable, Iterator, Sequence

from pushctl.ids import ServerId, UserId
from pushctl.protocol.jobs import Job
from pushctl.registry import Registry
from pushctl.routing.batches import BATCH_BYTES, batches
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
    for some in _slices(messages):
        unheard += await registry.channels.publish(partition, some)
    return len(messages), unheard


def _slices(messages: Sequence[tuple[ServerId | None, bytes]]) -> Iterator[list[tuple[ServerId | None, bytes]]]:
    """The messages in order, in lists of about BATCH_BYTES: one round trip each."""
    some: list[tuple[ServerId | None, bytes]] = []
    size = 0
    for message in messages:
        some.append(message)
        size += len(message[1])
        if size >= BATCH_BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some
