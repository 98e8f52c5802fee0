"""Strategies on a real Redis: who is told, who is pruned, and how much at once. (rpc: tests/scenario/test_rpc.py)"""

from dataclasses import replace

import msgspec
import trio

from pushctl.config.model import Config
from pushctl.ids import ConnectionId, DeviceId, ServerId, SessionHash, UserId
from pushctl.protocol.jobs import Appended, Batch, HintedEvent, Job, decode_hint, encode
from pushctl.registry import Registry, open_registry
from pushctl.registry.jobs import Taken
from pushctl.registry.servers import Row
from pushctl.routing.broadcast import BroadcastStrategy
from pushctl.routing.channel import ChannelStrategy
from pushctl.routing.lookup import Lookup
from pushctl.routing.picture import Picture
from pushctl.routing.strategy import Delivered
from tests.registry.conftest import Shift

PATIENCE_MS = 20_000
ADA = UserId("ada")
S1, S2 = ServerId("s1"), ServerId("s2")


def appended(user: str = "ada", size: int = 1) -> Appended:
    return Appended(user, "e" * 16, 0, 0, [HintedEvent(1, 1, -1, b"x" * size)])


async def start(registry: Registry, server: ServerId) -> int:
    generation = await registry.servers.new_generation(server)
    row = Row("ready", "ws://x/", 0, 10, generation, "0", "2026-01-01T00:00:00.000Z")
    await registry.servers.heartbeat(server, row)
    return generation


async def connect(registry: Registry, server: ServerId, generation: int) -> None:
    registered = await registry.users.register(ADA, device=None, name="d", session=SessionHash(server), identity="i")
    connection = ConnectionId(f"on-{server}")
    await registry.presence.claim(
        ADA,
        DeviceId(registered.device),
        connection,
        session=SessionHash(server),
        server=server,
        generation=generation,
        rank=0,
    )


def strategy(registry: Registry) -> ChannelStrategy:
    return ChannelStrategy(registry, Lookup(registry, Picture(registry, "judge")))


async def test_a_job_goes_to_every_server_that_holds_its_user_and_to_no_other(registry: Registry) -> None:
    await connect(registry, S1, await start(registry, S1))
    await start(registry, S2)
    with trio.fail_after(5):
        async with registry.channels.listen(S1, registry.jobs.partition_of(ADA)) as listener:
            delivered = await strategy(registry).deliver([appended(), appended("nobody")])
            assert delivered == Delivered(hints=1, nobody=1, pruned=0, unheard=0)
            assert decode_hint(await listener.hear()) == Batch([appended()])


async def test_a_job_that_says_who_held_its_user_is_looked_up_only_if_one_of_them_may_not_live(
    registry: Registry,
) -> None:
    generation = await start(registry, S1)
    await connect(registry, S1, generation)
    await connect(registry, S2, await start(registry, S2))
    routing = strategy(registry)
    await routing._lookup.picture.look()
    hints = {}
    for held in (["s1 1"], ["s1 1", "s2 1"], ["s1 0"], ["s1 2"], ["s3 1"], []):
        delivered = await routing.deliver([msgspec.structs.replace(appended(), held=held)])
        hints[" ".join(held)] = (delivered.hints, delivered.nobody)
    assert generation == 1
    assert hints == {"s1 1": (1, 0), "s1 1 s2 1": (2, 0), "s1 0": (2, 0), "s1 2": (2, 0), "s3 1": (2, 0), "": (0, 1)}


async def test_jobs_are_handed_over_with_the_last_hint_that_tells_of_them(registry: Registry) -> None:
    await connect(registry, S1, await start(registry, S1))
    partition = registry.jobs.partition_of(ADA)
    await registry.jobs.join("r1", partition)
    reader = await registry.jobs.reader("r1", partition)
    for routing in (strategy(registry), BroadcastStrategy(registry)):
        registry.jobs.put(ADA, encode(appended()))
        taken = await reader.take(1)
        assert taken
        delivered = await routing.deliver([appended()], taken)
        assert delivered.handed_over is not None
        assert delivered.handed_over.ours == taken
        now_ms = await registry.jobs.now_ms(partition)
        assert now_ms - PATIENCE_MS < delivered.handed_over.now_ms <= now_ms
        again = await routing.deliver([appended()], taken)
        assert (again.hints, again.handed_over and again.handed_over.ours) == (1, [])
    await reader.aclose()


async def test_jobs_for_nobody_are_left_to_be_handed_over(registry: Registry) -> None:
    done = [Taken(registry.jobs.partition_of(ADA), b"1-0", b"")]
    assert await strategy(registry).deliver([appended("nobody")], done) == Delivered(nobody=1)


async def test_a_server_that_has_just_started_is_not_taken_for_dead(registry: Registry) -> None:
    routing = strategy(registry)
    await routing.deliver([appended()])  # its picture is of before s1
    await connect(registry, S1, await start(registry, S1))
    assert (await routing.deliver([appended()])).hints == 1


async def test_a_lease_without_a_row_is_not_pruned(registry: Registry) -> None:
    """No evidence of death: perhaps its server is about to say that it lives."""
    await connect(registry, S1, generation=1)
    delivered = await strategy(registry).deliver([appended()])
    assert (delivered.hints, delivered.pruned) == (1, 0)


async def test_leases_of_the_dead_and_the_replaced_are_pruned(registry: Registry, shift: Shift) -> None:
    await connect(registry, S1, await start(registry, S1))
    await connect(registry, S2, await start(registry, S2))
    routing = strategy(registry)
    assert (await routing.deliver([appended()])).hints == 2
    newer = await start(registry, S2)
    assert newer == 2
    delivered = Delivered()
    for seconds in (2, 4, 6, 8):  # nobody beats for s1, and the judge keeps looking
        shift.ms = seconds * 1000
        await start(registry, S2)
        await routing._lookup.picture.look()
        delivered = await routing.deliver([appended()])
    assert delivered.hints == 0
    (left,) = await registry.presence.holders_of([ADA])
    assert left == []


async def test_broadcast_looks_nobody_up_and_every_server_hears(registry: Registry) -> None:
    partition = registry.jobs.partition_of(ADA)
    with trio.fail_after(5):
        async with registry.channels.listen(S1, partition) as one, registry.channels.listen(S2, partition) as other:
            delivered = await BroadcastStrategy(registry).deliver([appended(), appended()])
            assert delivered == Delivered(hints=1)
            for listener in (one, other):
                assert decode_hint(await listener.hear()) == Batch([appended(), appended()])


async def test_what_is_broadcast_to_nobody_is_unheard(config: Config, registry: Registry) -> None:
    delivered = await BroadcastStrategy(registry).deliver([appended()])
    assert delivered.unheard == (0 if registry.link.is_cluster else 1)


async def test_a_server_that_is_back_keeps_what_it_claimed_again(registry: Registry, shift: Shift) -> None:
    """The router's last picture has it dead: it looks again before it prunes."""
    generation = await start(registry, S1)
    await connect(registry, S1, generation)
    routing = strategy(registry)
    for seconds in (0, 2, 4, 6, 8):
        shift.ms = seconds * 1000
        await routing._lookup.picture.look()
    row = Row("ready", "ws://x/", 0, 10, generation, "0", "2026-01-01T00:00:00.000Z")
    await registry.servers.heartbeat(S1, row)
    delivered = await routing.deliver([appended()])
    assert (delivered.hints, delivered.pruned) == (1, 0)


async def test_however_much_there_is_it_is_published_in_slices(config: Config) -> None:
    small = replace(config, redis=replace(config.redis, queue_bytes=2 * 1024 * 1024))
    async with open_registry(small, name="test") as registry:
        await connect(registry, S1, await start(registry, S1))
        jobs: list[Job] = [appended(size=16_000)] * 256
        for routing in (strategy(registry), BroadcastStrategy(registry)):
            assert 4 <= (await routing.deliver(jobs)).hints <= 5
