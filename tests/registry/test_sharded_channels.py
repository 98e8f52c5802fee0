"""Hints on a Cluster: on Redis 7 or newer they stay on one master, before that every node is told."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from pushctl.ids import ServerId
from pushctl.overview import gather
from pushctl.protocol.jobs import Batch, SessionEnds, encode
from pushctl.registry import Registry, open_registry
from pushctl.registry.connection import ConnectionLost
from pushctl.registry.keys import slot_of
from pushctl.routing.receive import ANSWER_SECONDS, PROBE_SECONDS, Receiver
from tests.redises.cluster import RedisCluster, redis_cluster
from tests.redises.process import debian_binary, redis_binary
from tests.registry.people import impatient, in_thread, until

S1, S2 = ServerId("s1"), ServerId("s2")
JOB = SessionEnds("ada", ["s"], 0)

pytestmark = pytest.mark.slow


@pytest.fixture(params=["wheel", pytest.param("debian", marks=pytest.mark.debian)])
def three(folder: Path, request: pytest.FixtureRequest) -> Iterator[RedisCluster]:
    binary = debian_binary() if request.param == "debian" else redis_binary()
    with redis_cluster(folder, binary=binary) as running:
        yield running


def is_new(cluster: RedisCluster) -> bool:
    return int(cluster.masters[0].info("server")["redis_version"].split(".")[0]) >= 7


def passed_on(cluster: RedisCluster) -> int:
    """Hints that the masters told each other."""
    said = [line for master in cluster.masters for line in master.ask("CLUSTER", "INFO").decode().split()]
    return sum(int(line.split(":")[1]) for line in said if line.startswith("cluster_stats_messages_publish_sent"))


async def test_hints_are_heard_and_burden_no_other_master_where_redis_can(three: RedisCluster) -> None:
    new = await in_thread(is_new, three)
    async with open_registry(impatient(three.url), name="test") as registry:
        with trio.fail_after(10):
            for partition in range(3):
                assert await registry.channels.are_sharded(partition) is new
                async with registry.channels.listen(S1, partition) as listener:
                    unheard = await registry.channels.publish(
                        partition, [(S2, b"other"), (S1, b"ours"), (None, b"all")]
                    )
                    assert [await listener.hear(), await listener.hear()] == [b"ours", b"all"]
                    assert unheard == (1 if new else 0)
    assert (await in_thread(passed_on, three) == 0) is new


async def test_an_operator_sees_how_hints_travel(three: RedisCluster) -> None:
    config = impatient(three.url)
    async with open_registry(config, name="test") as registry:
        routing = (await gather(registry, config)).routing
    assert {part.publish for part in routing.partitions} == {
        "SPUBLISH" if await in_thread(is_new, three) else "PUBLISH"
    }


async def test_whoever_still_publishes_in_the_old_way_is_heard_too(three: RedisCluster) -> None:
    """Publishers find out one by one that Redis is newer."""
    async with open_registry(impatient(three.url), name="test") as registry:
        with trio.fail_after(10):
            async with registry.channels.listen(S1, 0) as listener:
                await registry.link.ask("PUBLISH", registry.channels._channel(S1, 0), b"old")
                await registry.channels.publish(0, [(S1, b"new")])
                assert [await listener.hear(), await listener.hear()] == [b"old", b"new"]


@pytest.mark.debian
async def test_a_channel_that_moves_with_its_slot_is_listened_to_at_its_new_place(folder: Path) -> None:
    with redis_cluster(folder, binary=debian_binary()) as cluster:
        async with open_registry(impatient(cluster.url), name="test") as registry, trio.open_nursery() as nursery:
            heard: list[Batch] = []
            losses: list[None] = []
            receiver = Receiver(
                registry,
                S1,
                on_batch=heard.append,
                on_news=lambda: None,
                on_loss=lambda: losses.append(None),
                probe_seconds=PROBE_SECONDS,
                answer_seconds=ANSWER_SECONDS,
            )
            await nursery.start(receiver.run)
            channel = registry.channels._channel(S1, 0)
            home = await in_thread(cluster.owner, slot_of(channel))
            away = next(master for master in cluster.masters if master is not home)
            async with registry.channels.listen(S1, 0) as listener:
                await in_thread(cluster.migrate_slot, slot_of(channel), away)
                with pytest.raises(ConnectionLost, match="moved"), trio.fail_after(10):
                    await listener.hear()
            await until(lambda: bool(losses) and receiver.problem is None)
            await publish(registry)
            await until(lambda: bool(heard))
            assert heard == [Batch([JOB])]
            nursery.cancel_scope.cancel()


async def publish(registry: Registry) -> None:
    await registry.channels.publish(0, [(S1, encode(Batch([JOB])))])
