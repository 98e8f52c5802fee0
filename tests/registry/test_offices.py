"""What Box Offices tell each other, and how it fades."""

from pushctl.ids import ServerId
from pushctl.registry import Registry
from pushctl.registry.offices import FRESH_MS, Seats, Sister
from pushctl.registry.servers import Row
from tests.registry.conftest import Shift

S1 = ServerId("s1")


async def sisters(registry: Registry, office: str, *seats: Seats) -> list[Sister]:
    _, found = await registry.offices.look(office, seats)
    return found


async def test_an_office_learns_what_its_sisters_handed_out_and_how_long_ago(registry: Registry, shift: Shift) -> None:
    assert await sisters(registry, "a", Seats(S1, 400, 3), Seats(S1, 0, 1)) == []
    shift.ms = 1000
    (a,) = await sisters(registry, "b", Seats(S1, 0, 7))
    assert a.name == "a"
    assert sorted((seats.server, seats.count) for seats in a.seats) == [("s1", 1), ("s1", 3)]
    oldest = max(seats.ms_ago for seats in a.seats)
    assert 1400 <= oldest < 6000
    assert min(seats.ms_ago for seats in a.seats) == oldest - 400
    (b,) = await sisters(registry, "a")
    assert [(seats.server, seats.count) for seats in b.seats] == [("s1", 7)]


async def test_a_look_shows_the_servers_as_their_judge_sees_them(registry: Registry, shift: Shift) -> None:
    generation = await registry.servers.new_generation(S1)
    await registry.servers.heartbeat(S1, Row("ready", "ws://s1/", 0, 10, generation, "0", "now", zone="east"))
    for seconds in (0, 2.5, 5, 7.5):
        shift.ms = round(seconds * 1000)
        ((row,), _) = await registry.offices.look("a", [])
        assert (row.id, row.zone, row.alive) == ("s1", "east", seconds < 7)


async def test_what_a_dead_office_told_is_forgotten(registry: Registry, shift: Shift) -> None:
    await sisters(registry, "a", Seats(S1, 0, 3))
    shift.ms = FRESH_MS // 2
    assert [sister.name for sister in await sisters(registry, "b")] == ["a"]
    shift.ms = FRESH_MS + 5000
    assert await sisters(registry, "c") == []
    shift.ms = 0  # it is gone, not hidden
    assert await sisters(registry, "d") == []


async def test_a_clock_that_steps_back_makes_no_office_eternal(registry: Registry, shift: Shift) -> None:
    shift.ms = 3_600_000
    await sisters(registry, "a", Seats(S1, 0, 3))
    shift.ms = 0
    assert await sisters(registry, "b") == []
    assert [sister.name for sister in await sisters(registry, "a")] == ["b"]


async def test_a_look_is_one_round_trip(registry: Registry) -> None:
    await sisters(registry, "a")  # the scripts are known
    tally = registry.link.tally
    before = tally.commands, tally.batches
    assert [sister.name for sister in await sisters(registry, "b")] == ["a"]
    assert (tally.commands - before[0], tally.batches - before[1]) == (2, 1)
