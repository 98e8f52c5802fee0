"""All of gc's work once, and then over: for cron.

Owns: the order. Promises: it ends with 0 only if it found nothing due any more in any shard, counted, and went over all
keys. Must not know: what each part does.
"""

from dataclasses import replace

import trio

from pushctl.config.model import Config
from pushctl.errors import NotGood
from pushctl.identity.keys import installation_of
from pushctl.ids import new_id
from pushctl.inbox.accounts import Accounts
from pushctl.log import get_logger
from pushctl.registry import Registry, open_registry
from pushctl.registry.index import LEASE_MS
from roles.gc import sweeps
from roles.gc.census import Idle, take_census
from roles.gc.repair import Repaired, repair_all

PATIENCE_SECONDS = LEASE_MS / 1000 + 1
"""A daemon that died in a shard holds it for this long at most; one that lives gives it back much sooner."""


async def run_once(config: Config) -> sweeps.Swept:
    """Sweep until nothing is due, count, finish deletions, repair. Raises NotGood if a shard could not be visited."""
    installation = installation_of(config.identity)
    async with open_registry(config, name="gc-once", installation=installation) as registry:
        swept = await sweep_all(registry, limit=config.gc.batch)
        await registry.servers.bury()
        accounts = Accounts(registry, config)
        _, done = await take_census(registry, accounts, Idle.configured(config.gc))
        repaired = Repaired()
        if config.gc.repair_seconds:
            repaired = await repair_all(registry)
        get_logger(role="gc").info(
            "once",
            users=swept.users,
            messages=swept.messages,
            devices=done.devices,
            browsers=done.browsers,
            deletions=done.deletions + repaired.deletions,
            unlisted=done.unlisted,
            listing=repaired.users,
            identities=repaired.identities,
            strays=repaired.strays,
            faded=repaired.faded,
        )
        return swept


async def sweep_all(registry: Registry, *, limit: int, patience_seconds: float = PATIENCE_SECONDS) -> sweeps.Swept:
    """Sweep until every shard was found with nothing due, once: no backlog is left then. Raises NotGood when other
    daemons hold some for longer than a dead one can."""
    daemon = new_id()
    parts: list[sweeps.Swept] = []
    left = set(registry.index.shards)
    progress = trio.current_time()
    while left:
        found = await sweeps.sweep(registry, daemon, limit=limit, shards=left)
        visited = [swept for swept in found.values() if swept is not None]
        parts += visited
        left = {shard for shard, swept in found.items() if swept is None or swept.users}
        if visited:
            progress = trio.current_time()
        elif trio.current_time() - progress > patience_seconds:
            raise NotGood(
                f"{len(left)} of {len(registry.index.shards)} shards could not be visited: other gc daemons were in "
                "them all the time, or their Redis does not answer; run it again"
            )
        else:
            await trio.sleep(0.2)
    return replace(sweeps.total(parts), backlog=0)
