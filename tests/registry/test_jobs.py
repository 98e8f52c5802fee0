"""Job streams: taken once, handed over once, taken over when a router dies."""

import pytest
import trio

from pushctl.ids import ServerId, UserId
from pushctl.registry import Registry, jobs
from pushctl.registry.connection import ConnectionLost

ADA = UserId("ada")


async def take(registry: Registry, consumer: str) -> list[bytes]:
    reader = await registry.jobs.reader(consumer, registry.jobs.partition_of(ADA))
    taken = await reader.take(100)
    await reader.aclose()
    assert taken is not None
    return [item.payload for item in taken]


async def test_a_job_goes_to_one_router_and_is_gone_once_handed_over(registry: Registry) -> None:
    partition = registry.jobs.partition_of(ADA)
    await registry.jobs.join("r1", partition)
    await registry.jobs.join("r1", partition)
    await registry.jobs.join("r2", partition)
    assert (await registry.jobs.backlog())[partition].consumers == 2
    registry.jobs.put(ADA, b"one")
    registry.jobs.put(ADA, b"two")
    reader = await registry.jobs.reader("r1", partition)
    taken = await reader.take(100)
    assert taken is not None
    assert [item.payload for item in taken] == [b"one", b"two"]
    assert await take(registry, "r2") == []
    await registry.jobs.hand_over(partition, [item.id for item in taken])
    backlog = (await registry.jobs.backlog())[partition]
    assert (backlog.length, backlog.pending) == (0, 0)
    await registry.jobs.leave("r1", partition)
    await registry.jobs.leave("r2", partition)
    assert (await registry.jobs.backlog())[partition].consumers == 0
    await reader.aclose()


async def test_jobs_of_a_silent_router_are_tried_once_more_and_then_given_up(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    partition = registry.jobs.partition_of(ADA)
    monkeypatch.setattr(jobs, "IDLE_MS", 0)  # the one thing that would have to be waited for
    await registry.jobs.join("dead", partition)
    registry.jobs.put(ADA, b"one")
    assert await take(registry, "dead") == [b"one"]
    again, hopeless = await registry.jobs.take_over("r2", partition, 100)
    assert ([item.payload for item in again], hopeless) == ([b"one"], [])
    again, hopeless = await registry.jobs.take_over("r3", partition, 100)
    assert (again, [item.payload for item in hopeless]) == ([], [b"one"])


async def test_a_stream_without_routers_is_bounded(registry: Registry) -> None:
    partition = registry.jobs.partition_of(ADA)
    bound = registry.jobs._store.config.routing.max_jobs
    key = registry.jobs._store.keys.route(partition, registry.jobs.partitions)
    await registry.link.ask_all([("XADD", key, "MAXLEN", "=", 100, "*", "j", b"x") for _ in range(300)])
    assert await registry.link.ask("XLEN", key) == 100
    registry.jobs.put(ADA, b"new")
    assert await registry.link.ask("XLEN", key) <= bound


async def test_a_group_that_redis_lost_is_noticed(registry: Registry) -> None:
    partition = registry.jobs.partition_of(ADA)
    reader = await registry.jobs.reader("r1", partition)
    assert await reader.take(1) is None
    await registry.jobs.join("r1", partition)
    assert await reader.take(1) == []
    await reader.aclose()


async def test_what_is_published_is_heard_by_its_server_only(registry: Registry) -> None:
    s1, s2 = ServerId("s1"), ServerId("s2")
    with trio.fail_after(5):
        async with registry.channels.listen(s1, 0) as listener:
            unheard = await registry.channels.publish(0, [(s2, b"other"), (s1, b"ours")])
            assert unheard == (0 if registry.link.is_cluster else 1)
            assert await listener.hear() == b"ours"
            await registry.link.ask_masters("CLIENT", "KILL", "TYPE", "pubsub")
            with pytest.raises(ConnectionLost):
                await listener.hear()
