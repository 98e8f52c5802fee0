"""What is wished of a running server reaches this start of it, and no other."""

import pytest
import trio
from msgspec import structs

from pushctl import emptying
from pushctl.cli import undrain
from pushctl.config.model import Config
from pushctl.errors import Failed, TimedOut
from pushctl.ids import ServerId
from pushctl.registry import Registry
from pushctl.registry.servers import Drain, Row
from pushctl.registry.store import DAY_MS
from pushctl.registry.wishes import Wish
from tests.registry.conftest import Shift

S1 = ServerId("s1")
DRAIN = Wish(drain=True, by="ops", at_ms=1, over_ms=300_000)
READY = Wish(drain=False, by="ops", at_ms=2)


def row(generation: int) -> Row:
    return Row("ready", "ws://s1/", 0, 10, generation, "0", "2026-01-01T00:00:00.000Z")


async def heard(registry: Registry, generation: int) -> Wish | None:
    beat = await registry.servers.heartbeat(S1, row(generation))
    assert beat is not None
    return beat.wish


async def started(registry: Registry) -> int:
    generation = await registry.servers.new_generation(S1)
    assert await heard(registry, generation) is None
    return generation


async def test_a_wish_comes_with_every_heartbeat_until_a_newer_one(registry: Registry) -> None:
    generation = await started(registry)
    await registry.wishes.wish(S1, generation, DRAIN)
    assert [await heard(registry, generation) for _ in range(2)] == [DRAIN, DRAIN]
    await registry.wishes.wish(S1, generation, READY)
    assert await heard(registry, generation) == READY


async def test_a_restarted_server_does_not_hear_what_was_wished_of_the_one_before(registry: Registry) -> None:
    before = await started(registry)
    await registry.wishes.wish(S1, before, DRAIN)
    assert await heard(registry, await registry.servers.new_generation(S1)) is None


async def test_nobody_can_wish_anything_of_a_start_that_is_over(registry: Registry) -> None:
    before = await started(registry)
    after = await registry.servers.new_generation(S1)
    with pytest.raises(Failed, match="restarted"):
        await registry.wishes.wish(S1, before, DRAIN)
    with pytest.raises(Failed, match="restarted"):
        await registry.wishes.wish(ServerId("s2"), 1, DRAIN)
    await heard(registry, after)
    await registry.servers.goodbye(S1, after)
    with pytest.raises(Failed, match="restarted"):
        await registry.wishes.wish(S1, after, DRAIN)


async def test_a_goodbye_takes_the_wish_with_it(registry: Registry) -> None:
    generation = await started(registry)
    await registry.wishes.wish(S1, generation, DRAIN)
    await registry.servers.goodbye(S1, generation)
    assert await heard(registry, generation) is None


async def test_a_server_that_is_forgotten_leaves_no_wish(registry: Registry, shift: Shift) -> None:
    generation = await started(registry)
    await registry.wishes.wish(S1, generation, DRAIN)
    shift.ms = DAY_MS + 1000
    assert await registry.servers.bury() == 1
    assert await heard(registry, generation) is None


async def test_an_undrain_gives_up_a_server_that_does_not_hear_it_or_is_dead(
    config: Config, registry: Registry, shift: Shift, monkeypatch: pytest.MonkeyPatch
) -> None:
    drains = structs.replace(row(await started(registry)), state="draining", drain=Drain("ops", 1, 1000, 1))
    await registry.servers.heartbeat(S1, drains)
    monkeypatch.setattr(undrain, "PATIENCE_SECONDS", 0.1)
    with pytest.RaisesGroup(pytest.RaisesExc(TimedOut, match="s1 still drains"), flatten_subgroups=True):
        await undrain._undrain(config, "s1", "ops", True)
    (seen,) = await registry.servers.picture("")
    with trio.fail_after(10):
        shift.ms += DAY_MS
        with pytest.raises(Failed, match="s1 has died"):
            await emptying.wait_until_ready(registry, seen)
        await registry.servers.goodbye(S1, drains.generation)
        with pytest.raises(Failed, match="s1 has left"):
            await emptying.wait_until_ready(registry, seen)
