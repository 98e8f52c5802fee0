"""Job streams: taken once, handed over once, taken over when a router dies; bounded whatever happens."""

import random
from collections.abc import AsyncIterator
from dataclasses import replace

import msgspec
import pytest
import trio

from pushctl.config.model import Config
from pushctl.config.model import Redis as Settings
from pushctl.ids import ServerId, UserId
from pushctl.registry import Registry, jobs, open_registry
from pushctl.registry.connection import ConnectionLost
from pushctl.registry.jobs import Backlog, Consumer, Taken
from tests.backlogs import backlogs
from tests.redises.process import RedisProcess

ADA = UserId("ada")


async def take(registry: Registry, consumer: str, count: int = 100) -> list[Taken]:
    reader = await registry.jobs.reader(consumer, registry.jobs.partition_of(ADA))
    taken = await reader.take(count)
    await reader.aclose()
    assert taken is not None
    return taken


def payloads(taken: list[Taken]) -> list[bytes]:
    return [item.payload for item in taken]


async def look(registry: Registry) -> tuple[Backlog, dict[str, Consumer]]:
    """What is in ADA's stream, and who reads it."""
    backlog, consumers = (await backlogs(registry))[registry.jobs.partition_of(ADA)]
    return backlog, {consumer.name: consumer for consumer in consumers}


async def true_bytes(registry: Registry) -> int:
    """Bytes of the jobs that are in ADA's stream, counted anew."""
    stream, _ = registry.jobs._keys(registry.jobs.partition_of(ADA))
    return sum(len(fields[1]) for _, fields in await registry.link.ask("XRANGE", stream, "-", "+"))


# --- taking and handing over -----------------------------------------------------------------------------------------


async def test_a_job_goes_to_one_router_and_is_gone_once_handed_over(registry: Registry) -> None:
    partition = registry.jobs.partition_of(ADA)
    await registry.jobs.join("r1", partition)
    await registry.jobs.join("r1", partition)
    await registry.jobs.join("r2", partition)
    registry.jobs.put(ADA, b"one")
    registry.jobs.put(ADA, b"three")
    taken = await take(registry, "r1")
    assert payloads(taken) == [b"one", b"three"]
    assert await take(registry, "r2") == []
    backlog, consumers = await look(registry)
    assert (backlog.length, backlog.bytes) == (2, 8)
    assert {name: each.pending for name, each in consumers.items()} == {"r1": 2, "r2": 0}
    assert (await registry.jobs.hand_over(taken)).ours == taken
    backlog, consumers = await look(registry)
    assert (backlog.length, backlog.bytes, backlog.lag_ms) == (0, 0, 0)
    assert consumers["r1"].pending == 0
    assert await registry.jobs.leave("r1", partition)
    assert await registry.jobs.leave("r2", partition)
    assert (await look(registry))[1] == {}
    assert not await registry.jobs.leave("r2", partition)


async def test_of_two_routers_that_hand_a_job_over_one_is_told_that_it_was_there(registry: Registry) -> None:
    await registry.jobs.join("r1", registry.jobs.partition_of(ADA))
    for name in (b"one", b"two", b"three"):
        registry.jobs.put(ADA, name)
    taken = await take(registry, "r1")
    assert payloads((await registry.jobs.hand_over(taken[1:2])).ours) == [b"two"]
    assert payloads((await registry.jobs.hand_over(taken)).ours) == [b"one", b"three"]
    assert (await registry.jobs.hand_over(taken)).ours == []


async def test_jobs_are_handed_over_while_redis_has_no_memory_left(own_redis: RedisProcess) -> None:
    """A full Redis refuses what is new; what would make room must get through."""
    config = replace(Config(), redis=Settings(url=own_redis.url, prefix="full", connect_seconds=5))
    async with open_registry(config, name="test") as registry:
        await registry.jobs.join("r1", 0)
        registry.jobs.put(ADA, b"one")
        registry.jobs.put(ADA, b"two")
        taken = await take(registry, "r1", 1)
        own_redis.ask("CONFIG", "SET", "maxmemory", 1)
        assert (await registry.jobs.hand_over(taken)).ours == taken
        backlog, _ = await look(registry)
        assert (backlog.length, backlog.bytes) == (1, 3)


async def test_the_lag_is_the_age_of_the_oldest_job(registry: Registry) -> None:
    before = await registry.jobs.now_ms(registry.jobs.partition_of(ADA))
    registry.jobs.put(ADA, b"one")
    await look(registry)
    await trio.sleep(0.05)
    registry.jobs.put(ADA, b"two")
    backlog, _ = await look(registry)
    assert 50 <= backlog.lag_ms <= await registry.jobs.now_ms(backlog.partition) - before


async def test_a_job_from_before_the_clock_stepped_back_has_no_age(registry: Registry) -> None:
    stream, _ = registry.jobs._keys(registry.jobs.partition_of(ADA))
    later = await registry.jobs.now_ms(registry.jobs.partition_of(ADA)) + 60_000
    await registry.link.ask("XADD", stream, f"{later}-0", "j", "future")
    registry.jobs.put(ADA, b"next")  # Redis goes on from there
    backlog, _ = await look(registry)
    assert (backlog.length, backlog.lag_ms) == (2, 0)


# --- taking over -----------------------------------------------------------------------------------------------------


async def test_jobs_of_a_silent_router_are_tried_once_more_and_then_given_up(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    partition = registry.jobs.partition_of(ADA)
    monkeypatch.setattr(jobs, "IDLE_MS", 0)  # the one thing that would have to be waited for
    await registry.jobs.join("dead", partition)
    registry.jobs.put(ADA, b"one")
    registry.jobs.put(ADA, b"new")
    assert payloads(await take(registry, "dead", 1)) == [b"one"]
    again = await registry.jobs.take_over("r2", partition, 100)
    assert (payloads(again.jobs), again.given_up) == ([b"one"], 0)
    hopeless = await registry.jobs.take_over("r3", partition, 100)
    assert (hopeless.jobs, hopeless.given_up) == ([], 1)
    backlog, consumers = await look(registry)
    assert (backlog.length, backlog.bytes) == (1, 3)  # what nobody has taken yet is nobody's to give up
    assert hopeless.backlog == msgspec.structs.replace(backlog, lag_ms=hopeless.backlog.lag_ms)
    assert sum(each.pending for each in consumers.values()) == 0


async def test_what_a_router_took_just_now_is_nobody_elses(registry: Registry) -> None:
    partition = registry.jobs.partition_of(ADA)
    await registry.jobs.join("r1", partition)
    registry.jobs.put(ADA, b"one")
    assert payloads(await take(registry, "r1")) == [b"one"]
    assert (await registry.jobs.take_over("r2", partition, 100)).jobs == []


async def test_two_routers_that_take_over_at_once_share_it(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    partition = registry.jobs.partition_of(ADA)
    await registry.jobs.join("dead", partition)
    for n in range(10):
        registry.jobs.put(ADA, b"%d" % n)
    assert len(await take(registry, "dead")) == 10
    monkeypatch.setattr(jobs, "IDLE_MS", 100)
    await trio.sleep(0.2)
    found: list[bytes] = []

    async def look_after(consumer: str) -> None:
        found.extend(payloads((await registry.jobs.take_over(consumer, partition, 5)).jobs))

    async with trio.open_nursery() as nursery:
        for n in range(4):
            nursery.start_soon(look_after, f"r{n}")
    assert sorted(found) == [b"%d" % n for n in range(10)]


async def test_a_dead_router_is_forgotten_once_it_holds_nothing(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    partition = registry.jobs.partition_of(ADA)
    for consumer in ("holds", "dead", "r1"):
        await registry.jobs.join(consumer, partition)
    registry.jobs.put(ADA, b"one")
    taken = await take(registry, "holds")
    await registry.jobs.take_over("r1", partition, 100)
    assert (await look(registry))[1].keys() == {"holds", "dead", "r1"}  # they may only be slow
    monkeypatch.setattr(jobs, "GONE_MS", -1)
    await registry.jobs.take_over("r1", partition, 100)
    backlog, consumers = await look(registry)
    assert consumers.keys() == {"holds", "r1"}
    assert (backlog.length, consumers["holds"].pending) == (1, 1)
    await registry.jobs.hand_over(taken)
    await registry.jobs.take_over("r1", partition, 100)
    assert (await look(registry))[1].keys() == {"r1"}
    # It was only frozen: reading is joining.
    registry.jobs.put(ADA, b"two")
    assert payloads(await take(registry, "dead")) == [b"two"]
    assert (await look(registry))[1]["dead"].pending == 1


async def test_a_router_that_leaves_with_jobs_in_hand_keeps_its_name_until_they_were_taken_over(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    partition = registry.jobs.partition_of(ADA)
    await registry.jobs.join("r1", partition)
    registry.jobs.put(ADA, b"one")
    await take(registry, "r1")
    assert not await registry.jobs.leave("r1", partition)
    monkeypatch.setattr(jobs, "IDLE_MS", 0)
    taken = (await registry.jobs.take_over("r2", partition, 100)).jobs
    assert payloads((await registry.jobs.hand_over(taken)).ours) == [b"one"]


async def test_a_group_that_redis_lost_is_noticed(registry: Registry) -> None:
    partition = registry.jobs.partition_of(ADA)
    reader = await registry.jobs.reader("r1", partition)
    assert await reader.take(1) is None
    found = await registry.jobs.take_over("r1", partition, 100)
    assert (found.jobs, found.given_up, found.backlog) == ([], 0, Backlog(partition, 0, 0, 0))
    assert not await registry.jobs.leave("r1", partition)
    registry.jobs.put(ADA, b"one")
    assert await reader.take(1) is None  # a stream, and no group
    assert (await registry.jobs.take_over("r1", partition, 100)).backlog.length == 1
    await registry.jobs.join("r1", partition)
    assert payloads(await reader.take(1) or []) == [b"one"]
    await reader.aclose()


# --- bounds ----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def small(config: Config) -> AsyncIterator[Registry]:
    """A registry whose streams hold 100 jobs or 2 MiB."""
    routing = replace(config.routing, max_jobs=100, max_job_bytes=2 * 1024 * 1024)
    async with open_registry(replace(config, routing=routing), name="test") as registry:
        yield registry


async def put_all(registry: Registry, many: list[bytes]) -> None:
    for n, payload in enumerate(many, 1):
        assert registry.jobs.put(ADA, payload)
        if n % 50 == 0:
            await look(registry)  # behind the hints, in the same queue


async def test_a_stream_holds_so_many_jobs_and_the_oldest_go(small: Registry) -> None:
    await put_all(small, [b"%d" % n for n in range(250)])
    await small.jobs.join("r1", small.jobs.partition_of(ADA))
    assert payloads(await take(small, "r1", 1000)) == [b"%d" % n for n in range(150, 250)]


async def test_a_stream_holds_so_many_bytes_and_the_oldest_go(small: Registry) -> None:
    await put_all(small, [b"%d" % (n % 10) * 65_536 for n in range(80)])
    backlog, _ = await look(small)
    assert (backlog.length, backlog.bytes) == (32, 2 * 1024 * 1024)
    await put_all(small, [b"x" * 100_000])
    backlog, _ = await look(small)
    assert (backlog.length, backlog.bytes) == (31, 30 * 65_536 + 100_000)
    assert backlog.bytes == await true_bytes(small)


async def test_a_job_larger_than_all_that_fits_is_alone(small: Registry) -> None:
    await put_all(small, [b"small", b"x" * 3_000_000])
    assert (await look(small))[0].length == 1
    await put_all(small, [b"small"])
    assert (await look(small))[0].bytes == 5


async def test_lowered_limits_are_reached_step_by_step(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """No write may hold Redis up for long."""
    monkeypatch.setattr(jobs, "MAX_TRIMMED", 20)
    async with open_registry(config, name="test") as registry:
        await put_all(registry, [b"%d" % n for n in range(150)])
        lower = replace(config, routing=replace(config.routing, max_jobs=100))
        async with open_registry(lower, name="test") as writer:
            lengths = []
            for _ in range(4):
                await put_all(writer, [b"new"])
                lengths.append((await look(writer))[0].length)
    assert lengths == [131, 112, 100, 100]


async def test_what_is_trimmed_while_a_router_holds_it_is_pending_no_longer(small: Registry) -> None:
    partition = small.jobs.partition_of(ADA)
    await small.jobs.join("r1", partition)
    await put_all(small, [b"old"] * 100)
    taken = await take(small, "r1")
    await put_all(small, [b"new"] * 60)
    backlog, consumers = await look(small)
    assert (backlog.length, consumers["r1"].pending) == (100, 40)
    assert (await small.jobs.hand_over(taken)).ours == taken[60:]
    assert (await look(small))[1]["r1"].pending == 0


async def test_what_an_operator_deleted_by_hand_is_not_pending_for_ever(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    partition = registry.jobs.partition_of(ADA)
    stream, _ = registry.jobs._keys(partition)
    await registry.jobs.join("r1", partition)
    await put_all(registry, [b"one", b"two", b"three"])
    first, *_ = await take(registry, "r1", 2)
    await registry.link.ask("XDEL", stream, first.id)
    monkeypatch.setattr(jobs, "IDLE_MS", 0)
    assert payloads((await registry.jobs.take_over("r2", partition, 100)).jobs) == [b"two"]
    _, consumers = await look(registry)
    assert {name: each.pending for name, each in consumers.items()} == {"r1": 0, "r2": 1}
    assert (await registry.jobs.take_over("r2", partition, 100)).given_up == 1
    # The count of bytes was wrong since then; an empty stream forgets that.
    await registry.jobs.hand_over(await take(registry, "r1"))
    assert (await look(registry))[0].bytes == 0
    await put_all(registry, [b"four"])
    assert (await look(registry))[0].bytes == 4


async def test_a_count_of_bytes_that_was_lost_is_right_again_once_the_stream_was_empty(registry: Registry) -> None:
    stream, count = registry.jobs._keys(registry.jobs.partition_of(ADA))
    await registry.jobs.join("r1", registry.jobs.partition_of(ADA))
    await put_all(registry, [b"one", b"three"])
    await registry.link.ask("DEL", count)
    await registry.jobs.hand_over(await take(registry, "r1", 1))
    assert (await look(registry))[0].bytes == 0  # and not less
    await put_all(registry, [b"four"])
    assert (await look(registry))[0].bytes == 4  # the other one is not known of
    await registry.link.ask("DEL", stream)
    await put_all(registry, [b"seven"])
    assert (await look(registry))[0].bytes == 5


async def test_the_count_of_bytes_never_drifts(small: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any order of what routers and writers do."""
    chance = random.Random(7)
    partition = small.jobs.partition_of(ADA)
    monkeypatch.setattr(jobs, "IDLE_MS", 0)
    await small.jobs.join("r1", partition)
    hand: list[Taken] = []
    for _ in range(150):
        match chance.randrange(5):
            case 0 | 1:
                await put_all(small, [bytes(chance.choice([10, 1000, 90_000])) for _ in range(chance.randrange(60))])
            case 2:
                hand += await _take_if_there(small, chance.randrange(1, 40))
            case 3:
                chance.shuffle(hand)
                if done := hand[: len(hand) // 2]:
                    await small.jobs.hand_over(done)
                del hand[: len(hand) // 3]  # some will be handed over twice
            case 4:
                hand += (await small.jobs.take_over("r2", partition, 10)).jobs
        backlog, consumers = await look(small)
        assert backlog.bytes == await true_bytes(small) <= 2 * 1024 * 1024
        assert backlog.length <= 100
        assert sum(each.pending for each in consumers.values()) <= backlog.length


async def _take_if_there(registry: Registry, count: int) -> list[Taken]:
    return await take(registry, "r1", count) if (await look(registry))[0].length else []


# --- channels --------------------------------------------------------------------------------------------------------


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
