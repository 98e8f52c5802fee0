"""Sweeping: users whose messages have expired, shard by shard, shared between daemons.

Owns: the visit to a shard. Promises: one daemon at a time in a shard; bounded work per visit.
A visit takes the shard's lease and gives it back when done, so a daemon that has just started finds shards to take, and
nobody holds more than it works on. Sweeping a user needs no fence: it throws away what has expired, whoever does it.
What a visit writes into the index does: a daemon that was frozen after it had looked would settle what it saw long ago.
Must not know: when rounds come; how expired messages are stored.
"""

import random
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from pushctl.errors import StoreUnavailable
from pushctl.registry import Registry
from pushctl.registry.keys import SHARDS
from roles.gc.pace import sharing

SWEEP_MESSAGES = 100
"""Expired messages of one user thrown away in one script, which then takes Redis about 1 ms."""


@dataclass(frozen=True, slots=True)
class Swept:
    """`users` looked at, `messages` thrown away, `backlog`: users due and not looked at, `oldest_ms`: for how long the
    first had been due."""

    users: int = 0
    messages: int = 0
    backlog: int = 0
    oldest_ms: int = 0


async def sweep(
    registry: Registry,
    daemon: str,
    *,
    limit: int,
    shards: Collection[int] = range(SHARDS),
    enough: Callable[[], bool] = lambda: False,
    step: Callable[[], None] = lambda: None,
) -> dict[int, Swept | None]:
    """One round: about `limit` users that are due, these shards in random order, until it is `enough`. None for a shard
    that another daemon is in, or that does not answer: one master that is away must not keep gc from the others.
    `step`: called before each shard and each user, for with a slow Redis a round takes minutes.

    Raises StoreUnavailable when no shard answers.
    """
    found: dict[int, Swept | None] = {}
    silent: list[StoreUnavailable] = []
    for shard in random.sample(list(shards), len(shards)):
        if enough():
            break
        async with sharing():
            step()
            try:
                found[shard] = await visit(registry, daemon, shard, limit=max(1, limit // SHARDS), step=step)
            except StoreUnavailable as error:
                found[shard] = None
                silent.append(error)
    if silent and len(silent) == len(found):
        raise silent[0]
    return found


async def visit(
    registry: Registry, daemon: str, shard: int, *, limit: int, step: Callable[[], None] = lambda: None
) -> Swept | None:
    """Throw away expired messages of at most `limit` users of a shard; None when another daemon is in it."""
    index = registry.index
    fence = await index.take(shard, daemon)
    due = None if fence is None else await index.due(shard, fence, limit)
    if fence is None or due is None:
        return None
    users = messages = 0
    for entry in due.entries:
        step()
        dropped, next_ms = await registry.users.sweep(entry.user, SWEEP_MESSAGES)
        users += 1
        messages += dropped
        if await index.settle(shard, fence, entry, next_ms) == "fenced":
            break
    await index.give_back(shard, fence)
    return Swept(users, messages, due.count - users, due.oldest_ms)


def total(parts: Iterable[Swept | None]) -> Swept:
    """Several visits as one; those that did not come about count for nothing."""
    swept = [part for part in parts if part is not None]
    return Swept(
        sum(part.users for part in swept),
        sum(part.messages for part in swept),
        sum(part.backlog for part in swept),
        max((part.oldest_ms for part in swept), default=0),
    )
