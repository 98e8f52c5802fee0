"""Job streams and the routers that read them.

Owns: the shape of both. Promises: a partition on a master that is away is left out, the others are there.
Must not know: how they are shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args, get_type_hints

import msgspec
import trio

from pushctl.config.model import Config, Routing
from pushctl.errors import StoreUnavailable
from pushctl.registry import Registry
from pushctl.registry.jobs import Backlog, Consumer
from pushctl.registry.processes import Process

STRATEGIES = get_args(get_type_hints(Routing)["strategy"])


class PartitionStats(msgspec.Struct, frozen=True):
    """A job stream: `length` jobs in it, of which `pending` were taken by a router and not handed over; the oldest was
    written `lag_ms` ago. `publish`: the command that brings hints to channels, SPUBLISH or PUBLISH."""

    partition: int
    length: int
    bytes: int
    pending: int
    lag_ms: int
    routers: int
    publish: str


class RouterStats(msgspec.Struct, frozen=True):
    """A router: `pending` jobs it holds, over all partitions; `idle_ms` since it was last seen at work, in the
    partition where that is longest."""

    name: str
    strategy: str
    """What it runs; empty for a reader that is none of our routers."""
    partitions: int
    pending: int
    idle_ms: int
    jobs_per_second: float | None
    """It hands over; null where it does not say."""


class RoutingStats(msgspec.Struct, frozen=True):
    """`length`, `pending`: over all partitions; `lag_ms`: of the one where it is longest."""

    strategy: str
    length: int
    pending: int
    lag_ms: int
    jobs_per_second: float
    partitions: list[PartitionStats]
    routers: list[RouterStats]


@dataclass
class Found:
    """By partition; `problem`: why some are missing."""

    partitions: dict[int, tuple[Backlog, list[Consumer], str]]
    problem: str = ""


async def look_at_routing(registry: Registry) -> Found:
    """All partitions at once."""
    found = Found({})

    async def look(partition: int) -> None:
        try:
            backlog, consumers = await registry.jobs.backlog(partition)
            found.partitions[partition] = (backlog, consumers, await registry.channels.verb(partition))
        except StoreUnavailable as error:
            found.problem = f"partition {partition}: {error.detail}"

    async with trio.open_nursery() as nursery:
        for partition in range(registry.jobs.partitions):
            nursery.start_soon(look, partition)
    return found


def routing_stats(config: Config, found: Found, processes: Sequence[Process]) -> RoutingStats:
    held: dict[str, list[Consumer]] = {}
    partitions = []
    for _, (backlog, consumers, verb) in sorted(found.partitions.items()):
        partitions.append(
            PartitionStats(
                backlog.partition,
                backlog.length,
                backlog.bytes,
                sum(consumer.pending for consumer in consumers),
                backlog.lag_ms,
                routers=len(consumers),
                publish=verb,
            )
        )
        for consumer in consumers:
            held.setdefault(consumer.name, []).append(consumer)
    said = {each.row.label: each.row.load for each in processes if each.row.role == "router" and each.alive}
    rates = {label: load.per_second.get("jobs", 0.0) for label, load in said.items()}
    return RoutingStats(
        strategy=config.routing.strategy,
        length=sum(part.length for part in partitions),
        pending=sum(part.pending for part in partitions),
        lag_ms=max((part.lag_ms for part in partitions), default=0),
        jobs_per_second=round(sum(rates.values()), 1),
        partitions=partitions,
        routers=[_router(name, consumers, rates.get(name)) for name, consumers in sorted(held.items())],
    )


def _router(name: str, parts: Sequence[Consumer], jobs_per_second: float | None) -> RouterStats:
    """`name`: of the consumer, which begins with its strategy."""
    strategy = name.partition("-")[0]
    return RouterStats(
        name=name,
        strategy=strategy if strategy in STRATEGIES else "",
        partitions=len(parts),
        pending=sum(part.pending for part in parts),
        idle_ms=max(part.idle_ms for part in parts),
        jobs_per_second=jobs_per_second,
    )
