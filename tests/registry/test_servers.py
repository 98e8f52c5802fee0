"""Rows, heartbeats, and who counts as alive."""

from pushctl.ids import ServerId
from pushctl.registry import Registry
from pushctl.registry.servers import Row
from tests.registry.conftest import Shift

S1 = ServerId("s1")


def row(generation: int) -> Row:
    return Row("ready", "ws://s1/", 0, 10, generation, "0", "2026-01-01T00:00:00.000Z")


async def alive(registry: Registry, judge: str) -> dict[str, bool]:
    return {server.id: server.alive for server in await registry.servers.picture(judge)}


async def test_only_a_newer_generation_of_the_same_id_fences_the_older(registry: Registry) -> None:
    servers = registry.servers
    old, new = await servers.new_generation(S1), await servers.new_generation(S1)
    assert new > old
    assert await servers.heartbeat(S1, row(new))
    assert not await servers.heartbeat(S1, row(old))
    await servers.goodbye(S1, old)
    assert await alive(registry, "") == {"s1": True}
    await servers.goodbye(S1, new)
    assert await alive(registry, "") == {}


async def test_seven_seconds_of_silence_are_death_for_a_judge_that_watched(registry: Registry, shift: Shift) -> None:
    generation = await registry.servers.new_generation(S1)
    await registry.servers.heartbeat(S1, row(generation))
    for seconds in (0, 2.5, 5):
        shift.ms = round(seconds * 1000)
        assert await alive(registry, "judge") == {"s1": True}, seconds
    shift.ms = 7500
    assert await alive(registry, "judge") == {"s1": False}
    assert (await registry.servers.picture(""))[0].seen_ms_ago >= 7500
    assert await registry.servers.heartbeat(S1, row(generation))  # the same generation renews in place
    assert await alive(registry, "judge") == {"s1": True}


async def test_a_frozen_redis_or_a_stepped_clock_declares_nobody_dead(registry: Registry, shift: Shift) -> None:
    generation = await registry.servers.new_generation(S1)
    await registry.servers.heartbeat(S1, row(generation))
    assert await alive(registry, "judge") == {"s1": True}
    shift.ms = 20_000  # nobody could ask, nobody could beat
    assert await alive(registry, "judge") == {"s1": True}
    shift.ms = -60_000
    assert await alive(registry, "judge") == {"s1": True}
    shift.ms = 60_000
    assert await alive(registry, "judge") == {"s1": True}
    for seconds in (62, 64, 66, 68):
        shift.ms = round(seconds * 1000)
        found = await alive(registry, "judge")
    assert found == {"s1": False}


async def test_a_server_that_died_as_the_clock_stepped_back_is_dead_seven_seconds_later(
    registry: Registry, shift: Shift
) -> None:
    """And not when the clock is again where it was."""
    await registry.servers.heartbeat(S1, row(await registry.servers.new_generation(S1)))
    assert await alive(registry, "judge") == {"s1": True}
    shift.ms = -60_000
    assert await alive(registry, "") == {"s1": True}
    for seconds in (0, 2.5, 5):
        shift.ms = -60_000 + round(seconds * 1000)
        assert await alive(registry, "judge") == {"s1": True}, seconds
    shift.ms = -60_000 + 7500
    assert await alive(registry, "judge") == {"s1": False}


async def test_a_heartbeat_is_told_for_how_long_there_was_none(registry: Registry, shift: Shift) -> None:
    async def silent_ms() -> int:
        beat = await registry.servers.heartbeat(S1, row(1))
        assert beat is not None
        return beat.silent_ms

    assert await silent_ms() == 0
    shift.ms = 10_000
    assert 10_000 <= await silent_ms() < 12_000
    assert await silent_ms() < 2000
    shift.ms = -60_000
    assert await silent_ms() == 0


async def test_an_older_generation_stays_fenced_when_redis_forgets_that_a_newer_began(registry: Registry) -> None:
    """A failover took back the number that the newer one was given, and the newer one goes on."""
    old, new = await registry.servers.new_generation(S1), await registry.servers.new_generation(S1)
    await registry.link.ask("HSET", registry.servers._store.keys.servers("generations"), S1, old)
    assert await registry.servers.heartbeat(S1, row(new))
    assert await registry.servers.heartbeat(S1, row(old)) is None
    assert await registry.servers.new_generation(S1) == new + 1


async def test_a_server_silent_for_a_day_is_forgotten(registry: Registry, shift: Shift) -> None:
    await registry.servers.heartbeat(S1, row(await registry.servers.new_generation(S1)))
    shift.ms = 3600_000
    assert await registry.servers.bury() == 0
    shift.ms = 86_400_000 + 1000
    assert await registry.servers.bury() == 1
    assert await alive(registry, "") == {}
