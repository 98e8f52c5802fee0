"""What gc does, one round each: use cases without a loop and without a clock of their own.

Owns: sweeping users whose messages have expired, counting, forgetting dead servers. Bounded work per round.
Must not know: when rounds come; how expired messages are stored.
"""

from dataclasses import dataclass

from pushctl.registry import Registry
from pushctl.registry.index import Census
from pushctl.registry.keys import SHARDS

SWEEP_MESSAGES = 500
"""Expired messages of one user thrown away in one script: keeps every script short."""

CENSUS_STEP = 200


@dataclass(frozen=True, slots=True)
class Swept:
    """`users` looked at, `messages` thrown away, `backlog`: users due and not looked at."""

    users: int = 0
    messages: int = 0
    backlog: int = 0


async def sweep(registry: Registry, *, limit: int) -> Swept:
    """Throw away expired messages of at most `limit` users that are due, shard by shard."""
    users = messages = backlog = 0
    for shard in registry.index.shards:
        waiting, due = await registry.index.due(shard, max(1, limit // SHARDS))
        backlog += waiting - len(due)
        for entry in due:
            dropped, next_ms = await registry.users.sweep(entry.user, SWEEP_MESSAGES)
            await registry.index.settle(shard, entry, next_ms)
            users += 1
            messages += dropped
    return Swept(users, messages, backlog)


async def take_census(registry: Registry) -> Census:
    """Count everything there is, user by user, and leave the result for screens. On the way the index is repaired."""
    started_ms = await registry.now_ms()
    users = devices = push_urls = unread = connections = 0
    for shard in registry.index.shards:
        cursor = -1
        while cursor:
            cursor, some = await registry.users.some(shard, max(cursor, 0), CENSUS_STEP)
            for user in some:
                counts = await registry.users.count(user)
                if counts is not None:
                    users += 1
                    devices += counts.devices
                    push_urls += counts.push_urls
                    unread += counts.unread
                    connections += counts.connections
                    if counts.next_expiry_ms is not None:
                        # Repairs the index: the hint that an append left may have been lost.
                        registry.index.expires(user, counts.next_expiry_ms)
    census = Census(started_ms, await registry.now_ms(), users, devices, push_urls, unread, connections)
    await registry.index.write_census(census)
    return census
