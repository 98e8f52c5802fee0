"""Strategy `broadcast`: PUBLISH every batch to the one channel that all socket servers listen to; each picks its own.

Owns: next to nothing, which is the point: no look-up, no leases, no picture. Must not know: which servers there are.
"""

from collections.abc import Sequence

from pushctl.protocol.jobs import Job
from pushctl.registry import Registry
from pushctl.registry.jobs import Taken
from pushctl.routing.channel import publish
from pushctl.routing.strategy import Delivered


class BroadcastStrategy:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def deliver(self, jobs: Sequence[Job], done: Sequence[Taken] = ()) -> Delivered:
        return await publish(self._registry, [(None, jobs)], done)
