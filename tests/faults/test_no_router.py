"""No router for a while at full load: Redis' memory is bounded, and afterwards nothing is left over.

On the wheel's Redis (6.2) and on Debian's (7), which treat what is deleted while it is pending in different ways.
"""

from dataclasses import replace

import pytest
import trio

from pushctl.config.model import Config, Redis, Routing
from pushctl.ids import UserId
from pushctl.protocol.jobs import Appended, Ephemeral, HintedEvent, encode
from pushctl.registry import Registry, open_registry
from pushctl.registry.jobs import Backlog, Consumer
from pushctl.runtime import run_role
from roles.router.serve import RouterRole
from tests.backlogs import backlogs
from tests.redises.process import RedisProcess, debian_binary
from tests.scenario.people import eventually

ADA = UserId("ada")
SIZES = [300, 600, 16_384, 100, 1200, 4000]
"""Bytes of frames: of small and of large messages, up to the largest that a job carries."""


@pytest.fixture(params=["wheel", pytest.param("debian", marks=pytest.mark.debian)])
def _server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "debian":
        monkeypatch.setenv("PUSHCTL_REDIS_SERVER", debian_binary())


def job(n: int) -> bytes:
    frame = b"x" * SIZES[n % len(SIZES)]
    if n % 10 == 0:
        return encode(Ephemeral(ADA, 2**45, 1, frame))
    return encode(Appended(ADA, "e" * 16, n, 1, [HintedEvent(n + 1, 2, 1, frame)]))


async def flood(registry: Registry, count: int) -> None:
    """Write so many jobs, as fast as Redis takes them."""
    for n in range(count):
        assert registry.jobs.put(ADA, job(n))
        if n % 200 == 199:
            await registry.now_ms()  # behind them, in the same queue


async def look(registry: Registry) -> tuple[Backlog, dict[str, Consumer]]:
    ((backlog, consumers),) = await backlogs(registry)
    return backlog, {consumer.name: consumer for consumer in consumers}


def used(redis: RedisProcess) -> int:
    """Without what waits to be written to its file."""
    memory = redis.info("memory")
    return int(memory["used_memory"]) - int(memory["mem_aof_buffer"])


@pytest.mark.slow
@pytest.mark.usefixtures("_server")
async def test_without_routers_a_flood_is_bounded_and_afterwards_nothing_is_pending(
    request: pytest.FixtureRequest,
) -> None:
    redis: RedisProcess = request.getfixturevalue("own_redis")  # once it is known which one
    bounds = Routing(max_jobs=20_000, max_job_bytes=8 * 1024 * 1024, strategy="broadcast")
    config = replace(
        Config(),
        redis=Redis(url=redis.url, prefix="t", connect_seconds=5, timeout_seconds=10),
        routing=bounds,
        router=replace(Config().router, admin_listen=""),
    )
    async with open_registry(config, name="test") as registry:
        # While its file is written anew, Redis 6.2 keeps what comes in blocks of 10 MB, full or not.
        redis.ask("CONFIG", "SET", "auto-aof-rewrite-percentage", 0)
        before = used(redis)
        # A router died with a batch in hand: it is trimmed under its name.
        await registry.jobs.join("dead", 0)
        await flood(registry, 200)
        reader = await registry.jobs.reader("dead", 0)
        assert len(await reader.take(100) or []) == 100
        await reader.aclose()
        await flood(registry, 20_000)
        backlog, consumers = await look(registry)
        assert consumers["dead"].pending == 0
        grown = used(redis) - before
        await flood(registry, 20_000)  # as much again: it has stopped growing
        assert backlog.bytes <= bounds.max_job_bytes
        assert used(redis) - before < 1.2 * grown < 2 * bounds.max_job_bytes
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            role = RouterRole(config)
            await nursery.start(lambda task_status: run_role(role, until=stop.wait, task_status=task_status))

            async def done() -> bool:
                backlog, consumers = await look(registry)
                return backlog.length == 0 and not any(each.pending for each in consumers.values())

            await eventually(done)
            assert (await look(registry))[1].keys() == {"dead", role._consumer}
            stop.set()
        backlog, consumers = await look(registry)
        assert (backlog, set(consumers)) == (Backlog(0, 0, 0, 0), {"dead"})  # forgotten after a minute
        assert used(redis) - before < 0.2 * grown
        print(f"{redis.info('server')['redis_version']}: {grown / bounds.max_job_bytes:.2f} x max_job_bytes at most")


@pytest.mark.slow
@pytest.mark.usefixtures("_server")
async def test_many_small_jobs_are_bounded_by_their_number(request: pytest.FixtureRequest) -> None:
    redis: RedisProcess = request.getfixturevalue("own_redis")
    config = replace(Config(), redis=Redis(url=redis.url, prefix="t", connect_seconds=5, timeout_seconds=10))
    config = replace(config, routing=Routing(max_jobs=10_000))
    async with open_registry(config, name="test") as registry:
        before = used(redis)
        for n in range(25_000):
            registry.jobs.put(ADA, b"x" * 100)
            if n % 200 == 199:
                await registry.now_ms()
        backlog, _ = await look(registry)
        assert (backlog.length, backlog.bytes) == (10_000, 1_000_000)
        print(f"{(used(redis) - before) / 10_000:.0f} bytes of memory for a job of 100 bytes")
        assert used(redis) - before < 4_000_000


@pytest.mark.usefixtures("_server")
async def test_a_router_with_nothing_to_do_is_seen_to_live(request: pytest.FixtureRequest) -> None:
    """Redis 7.0 does not say so by itself: a read that waits in vain leaves no trace there."""
    redis: RedisProcess = request.getfixturevalue("own_redis")
    async with open_registry(replace(Config(), redis=Redis(url=redis.url)), name="test") as registry:
        await registry.jobs.join("channel-r1", 0)
        registry.jobs.put(ADA, job(1))
        reader = await registry.jobs.reader("channel-r1", 0)
        assert len(await reader.take(1) or []) == 1
        await trio.sleep(0.5)
        taken = await registry.jobs.take_over("channel-r1", 0, 10)
        _, consumers = await look(registry)
        assert (taken.jobs, consumers["channel-r1"].pending) == ([], 1)  # what it holds is not touched by that
        (row,) = redis.ask("XPENDING", registry.jobs._stream(0), "routers", "-", "+", 10)
        assert (row[2] >= 500, row[3]) == (True, 1)
        assert consumers["channel-r1"].idle_ms <= row[2] - 499  # seen since it took that, though it took nothing more
        await reader.aclose()
