"""What is to do in each partition of the job streams, and who does it."""

from pushctl.registry import Registry
from pushctl.registry.jobs import Backlog, Consumer


async def backlogs(registry: Registry) -> list[tuple[Backlog, list[Consumer]]]:
    return [await registry.jobs.backlog(partition) for partition in range(registry.jobs.partitions)]
