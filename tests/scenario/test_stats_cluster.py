"""`pushctl stats` while a master of several is away: what is known is shown, what is not is said."""

from dataclasses import replace

import pytest
import trio

from pushctl.config.model import Config
from pushctl.errors import StoreUnavailable
from pushctl.overview import Lookout, Overview
from pushctl.registry import open_registry
from pushctl.registry.processes import ProcessRow
from tests.redises.cluster import RedisCluster

pytestmark = pytest.mark.slow


async def look(lookout: Lookout, *, away: int) -> Overview:
    """The first with so many masters away."""
    with trio.fail_after(20):
        while True:
            overview = await lookout.look()
            if sum(master.state == "away" for master in overview.redis.masters) == away:
                return overview
            await trio.sleep(0.1)


async def test_the_clock_is_any_masters_that_answers(own_cluster: RedisCluster, config: Config) -> None:
    config = replace(config, redis=replace(config.redis, url=own_cluster.url, timeout_seconds=0.5))
    first, second, _ = own_cluster.masters
    async with open_registry(config, name="test") as registry:
        with first.frozen(), second.frozen():  # nobody has noticed yet
            async with trio.open_nursery() as nursery:
                for _ in range(8):
                    nursery.start_soon(registry.now_ms)


async def test_a_master_that_is_away_hides_only_what_lies_on_it(own_cluster: RedisCluster, config: Config) -> None:
    config = replace(config, redis=replace(config.redis, url=own_cluster.url, timeout_seconds=1))
    async with open_registry(config, name="test") as registry:
        lookout = Lookout(registry, config)
        await registry.processes.report("api-1", ProcessRow("api", "api", "host", 1, "0", "now"))
        whole = await look(lookout, away=0)
        assert [part.partition for part in whole.routing.partitions] == [0, 1, 2]
        assert (len(whole.roles), whole.unknown) == (1, [])
        assert whole.redis.keys == sum(master.keys or 0 for master in whole.redis.masters)

        holds_servers = own_cluster.owner(own_cluster.slot_of(registry.users._store.keys.servers("rows")))
        own_cluster.masters.remove(holds_servers)
        holds_servers.kill()
        part = await look(lookout, away=1)
        (gone,) = (master for master in part.redis.masters if master.state == "away")
        assert gone.address == holds_servers.address
        assert gone.seen_ms_ago is not None
        assert gone.seen_ms_ago > 0
        assert gone.version, "what it said last stays"
        assert {"servers", "routing"} <= set(part.unknown)
        assert len(part.routing.partitions) == 2
        words = [notice.text for notice in part.warnings]
        assert any(text.startswith("servers are not known: ") for text in words)
        assert not any("no socket server" in text for text in words), "nobody knows that"

        for master in own_cluster.masters:
            master.kill()
        with pytest.raises(StoreUnavailable):
            await look(lookout, away=4)  # there are never so many
