"""Job streams: taken once, handed over once, taken over when a router dies."""

import pytest
import trio

from pushctl.ids import ServerId, UserId
from pushctl.registry import Registry, jobs
from pushctl.registry.connection import ConnectionLost

ADA = UserId("ada")
PARTITION = 0
"""Where ada's jobs go, be there one partition or three."""


async def take(registry: Registry, consumer: str) -> list[bytes]:
    reader = await registry.jobs.reader(consumer, PARTITION)
    taken = await reader.take(100)
    await reader.aclose()
    assert taken is not None
    return [item.payload for item in taken]


async def test_a_job_goes_to_one_router_and_is_gone_once_handed_over(registry: Registry) -> None:
    await registry.jobs.join("r1", PARTITION)
    await registry.jobs.join("r1", PARTITION)
    await registry.jobs.join("r2", PARTITION)
    assert (await registry.jobs.backlog())[0].consumers == 2
    registry.jobs.put(ADA, b"one")
    registry.jobs.put(ADA, b"two")
    reader = await registry.jobs.reader("r1", PARTITION)
    taken = await reader.take(100)
    assert taken is not None
    assert [item.payload for item in taken] == [b"one", b"two"]
    assert await take(registry, "r2") == []
    await registry.jobs.hand_over(PARTITION, [item.id for item in taken])
    backlog = (await registry.jobs.backlog())[PARTITION]
    assert (backlog.length, backlog.pending) == (0, 0)
    await registry.jobs.leave("r1", PARTITION)
    await registry.jobs.leave("r2", PARTITION)
    assert (await registry.jobs.backlog())[0].consumers == 0
    await reader.aclose()


async def test_jobs_of_a_silent_router_are_tried_once_more_and_then_given_up(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "IDLE_MS", 0)  # the one thing that would have to be waited for
    await registry.jobs.join("dead", PARTITION)
    registry.jobs.put(ADA, b"one")
    assert await take(registry, "dead") == [b"one"]
    again, hopeless = await registry.jobs.take_over("r2", PARTITION, 100)
    assert ([item.payload for item in again], hopeless) == ([b"one"], [])
    again, hopeless = await registry.jobs.take_over("r3", PARTITION, 100)
    assert (again, [item.payload for item in hopeless]) == ([], [b"one"])


async def test_a_stream_without_routers_is_bounded(registry: Registry) -> None:
    bound = registry.jobs._store.config.routing.max_jobs
    key = registry.jobs._store.keys.route(PARTITION, registry.jobs.partitions)
    await registry.link.ask_all([("XADD", key, "MAXLEN", "=", 100, "*", "j", b"x") for _ in range(300)])
    assert await registry.link.ask("XLEN", key) == 100
    registry.jobs.put(ADA, b"new")
    assert await registry.link.ask("XLEN", key) <= bound


async def test_a_group_that_redis_lost_is_noticed(registry: Registry) -> None:
    reader = await registry.jobs.reader("r1", PARTITION)
    assert await reader.take(1) is None
    await registry.jobs.join("r1", PARTITION)
    assert await reader.take(1) == []
    await reader.aclose()


async def test_what_is_published_is_heard_by_its_server_only(registry: Registry) -> None:
    s1, s2 = ServerId("s1"), ServerId("s2")
    with trio.fail_after(5):
        async with registry.channels.listen(s1) as listener:
            assert await registry.channels.publish([(s2, b"other"), (s1, b"ours")]) == [0, 1]
            assert await listener.hear() == b"ours"
            await registry.link.ask("CLIENT", "KILL", "TYPE", "pubsub")
            with pytest.raises(ConnectionLost):
                await listener.hear()
