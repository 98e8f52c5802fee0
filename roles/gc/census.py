"""The count of everything there is, and what is put right on the way: a walk over the index of users.

Owns: the walk. Promises: on the way the expiry index gets back what it lost, deletions that were cut off are finished,
users that are no more leave the index, idle devices and browsers go. All of it can be done twice, by two daemons at
once, and be cut off anywhere, so it needs no lease; it is merely not worth doing twice (Index.take_turn).
Must not know: when it is time; how fast (pace.py).
"""

from dataclasses import dataclass

from pushctl.config.model import Gc
from pushctl.ids import UserId
from pushctl.inbox.accounts import Accounts
from pushctl.registry import Registry
from pushctl.registry.index import Census
from pushctl.registry.store import DAY_MS
from pushctl.registry.users import Counts
from roles.gc.pace import sharing

STEP = 200
"""Users of one step, about."""


@dataclass(slots=True)
class Done:
    """What the walk put right. `unlisted`: users that were no more; `deletions`: finished; `devices`, `browsers`: idle,
    removed."""

    unlisted: int = 0
    deletions: int = 0
    devices: int = 0
    browsers: int = 0


@dataclass(frozen=True, slots=True)
class Idle:
    """For how long devices, and browsers, may not have been seen, in ms; 0: for ever."""

    device_ms: int = 0
    browser_ms: int = 0

    @classmethod
    def configured(cls, gc: Gc) -> "Idle":
        return cls(round(gc.idle_device_days * DAY_MS), round(gc.idle_browser_days * DAY_MS))


FOR_EVER = Idle()


async def take_census(registry: Registry, accounts: Accounts, idle: Idle = FOR_EVER) -> tuple[Census, Done]:
    """Count user by user, put right what is wrong, and leave the counts for screens."""
    started_ms = await registry.now_ms()
    users = devices = push_urls = unread = connections = 0
    done = Done()
    for shard in registry.index.shards:
        cursor = -1
        while cursor:
            async with sharing():
                cursor, some = await registry.users.listing.some(shard, max(cursor, 0), STEP)
                for user in some:
                    counts = await _visit(registry, user, done)
                    if counts is None or await _forget(accounts, user, counts, idle, done):
                        continue
                    # Sessions of a device that was idle for longer than sessions last have ended long ago; one that is
                    # cut off here ends with them at the latest.
                    removed = 0
                    if idle.device_ms and counts.devices > 1:
                        removed = await accounts.remove_idle_devices(user, idle.device_ms)
                    done.devices += removed
                    users += 1
                    devices += counts.devices - removed
                    push_urls += counts.push_urls
                    unread += counts.unread
                    connections += counts.connections
    census = Census(started_ms, await registry.now_ms(), users, devices, push_urls, unread, connections)
    await registry.index.write_census(census)
    return census, done


async def _visit(registry: Registry, user: UserId, done: Done) -> Counts | None:
    counts = await registry.users.count(user)
    if counts is not None:
        if counts.next_expiry_ms is not None:
            registry.index.expires(user, counts.next_expiry_ms)  # the hint that an append left may have been lost
        return counts
    if await finish_deletion(registry, user):
        done.deletions += 1
    else:
        await registry.users.listing.agree(user, there=False)
        done.unlisted += 1
    return None


async def _forget(accounts: Accounts, user: UserId, counts: Counts, idle: Idle, done: Done) -> bool:
    """Let a browser go that was not seen for too long; what the count says is looked at again as that is done."""
    unseen_ms = counts.browser_unseen_ms
    if not idle.browser_ms or unseen_ms is None or unseen_ms < idle.browser_ms or counts.connections:
        return False
    went = await accounts.forget_browser(user, idle.browser_ms)
    done.browsers += went
    return went


async def finish_deletion(registry: Registry, user: UserId) -> bool:
    """Finish a deletion that was cut off; False when there is none.

    The user's sockets are not told again: they find the tombstone at reconcile. A job for all connections of the user
    could meet those of a new account.
    """
    deleted = await registry.users.unfinished_deletion(user)
    if deleted is None:
        return False
    await registry.users.finish_deletion(user, deleted)
    return True
