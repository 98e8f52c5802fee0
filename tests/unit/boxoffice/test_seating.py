"""Who is told to connect where, decided from a picture of the servers alone."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushctl.ids import ServerId
from pushctl.registry.offices import Seats, Sister, decoded, encoded
from pushctl.registry.servers import Row, ServerRow, ServerState
from roles.boxoffice import seating
from roles.boxoffice.seating import Rules, Seating


def server(
    name: str,
    connections: int = 0,
    capacity: int = 100,
    *,
    alive: bool = True,
    state: ServerState = "ready",
    seen_ms_ago: int = 0,
    zone: str = "",
) -> ServerRow:
    row = Row(
        state=state,
        url=f"ws://{name}/",
        connections=connections,
        capacity=capacity,
        generation=1,
        version="0",
        started_at="",
        zone=zone,
    )
    return ServerRow(ServerId(name), row, alive, seen_ms_ago)


RULES = Rules(max_servers=5, stale_seconds=30)


def box(*rows: ServerRow, rules: Rules = RULES, at: float = 0.0, sisters: Sequence[Sister] = ()) -> Seating:
    made = Seating(rules, name="b", chance=random.Random(7))
    made.look(rows, at, sisters)
    return made


def test_servers_come_by_decreasing_free_capacity_and_not_too_many() -> None:
    rows = server("a", 90), server("b", 10), server("c", 50), server("d", 20)
    office = box(*rows, rules=replace(RULES, max_servers=3))
    assert office.servers_for("me", 0.0) == ["ws://b/", "ws://d/", "ws://c/"]


def test_of_servers_of_different_size_the_one_comes_first_that_has_the_greater_share_free() -> None:
    office = box(server("large", 500, 1000), server("small", 10, 100), server("tiny", 3, 10))
    assert office.servers_for("me", 0.0) == ["ws://small/", "ws://tiny/", "ws://large/"]


def test_dead_draining_unready_and_full_servers_are_left_out() -> None:
    office = box(
        server("dead", alive=False),
        server("draining", state="draining"),
        server("unready", state="not_ready"),
        server("full", 100, 100),
        server("over", 130, 100),
        server("good", 99, 100),
    )
    assert office.servers_for("me", 0.0) == ["ws://good/"]


def test_what_was_handed_out_counts_until_the_next_heartbeat() -> None:
    office = box(server("a", 0, 2), server("b", 1, 2))
    assert office.servers_for("1", 0.1) == ["ws://a/", "ws://b/"]
    assert set(office.servers_for("2", 0.2)) == {"ws://a/", "ws://b/"}
    office.servers_for("3", 0.3)
    assert office.servers_for("4", 0.4) == []
    office.look([server("a", 0, 2), server("b", 1, 2)], 5.0)
    assert office.servers_for("4", 5.1) == ["ws://a/", "ws://b/"]


def test_a_heartbeat_that_came_before_a_seat_was_handed_out_does_not_free_it() -> None:
    office = box(server("a", 0, 1))
    office.servers_for("1", 0.5)
    office.look([server("a", 0, 1, seen_ms_ago=800)], 1.0)
    assert office.servers_for("2", 1.1) == []


def test_two_clients_in_a_row_are_spread_even_if_a_heartbeat_comes_between() -> None:
    for _ in range(20):
        office = box(server("a"), server("b"))
        first = office.servers_for("1", 0.8)[0]
        office.look([server("a"), server("b")], 1.0)
        assert office.servers_for("2", 1.1)[0] != first


def test_a_seat_that_only_settles_does_not_make_a_server_full() -> None:
    office = box(server("a", 0, 2))
    office.servers_for("1", 0.9)
    office.look([server("a", 1, 2)], 1.0)
    assert office.servers_for("2", 1.1) == ["ws://a/"]


def test_a_client_that_asks_again_and_again_takes_one_seat() -> None:
    office = box(server("a", 0, 2))
    for step in range(50):
        office.servers_for("greedy", step / 100)
    assert office.servers_for("other", 0.9) == ["ws://a/"]


def test_equals_come_in_random_order() -> None:
    first: Counter[str] = Counter()
    for seed in range(200):
        office = Seating(RULES, chance=random.Random(seed))
        office.look([server("a"), server("b")], 0.0)
        first[office.servers_for("me", 0.0)[0]] += 1
    assert min(first["ws://a/"], first["ws://b/"]) > 60


def test_without_any_room_nobody_is_named() -> None:
    assert box().servers_for("me", 0.0) == []


def test_a_picture_is_stale_after_its_time_and_before_there_is_one() -> None:
    office = Seating(RULES)
    assert office.stale(0.0)
    office.look([server("a")], 100.0)
    assert not office.stale(130.0)
    assert office.stale(130.1)


def test_open_servers_are_the_ones_that_take_clients_full_or_not() -> None:
    office = box(server("a", 100, 100), server("b"), server("c", state="draining"), server("d", alive=False))
    assert office.open_servers() == {"a", "b"}


def test_seats_are_forgotten_beyond_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seating, "MAX_SEATS", 10)
    office = box(server("a", 0, 12))
    for client in range(100):
        office.servers_for(str(client), client / 1000)
    assert office.servers_for("last", 1.0) == ["ws://a/"]


# --- sisters ---------------------------------------------------------------------------------------------------------


def sister(*seats: Seats, name: str = "a") -> Sister:
    return Sister(name, seats)


def test_what_a_sister_handed_out_counts_as_taken_until_the_next_heartbeat() -> None:
    rows = [server("a", 0, 10, seen_ms_ago=1000), server("b", 0, 10, seen_ms_ago=1000)]
    told = sister(Seats(ServerId("a"), 500, 10), Seats(ServerId("b"), 500, 9))
    office = box(*rows, sisters=[told], at=10.0)
    assert office.servers_for("1", 10.0) == ["ws://b/"]
    assert office.servers_for("2", 10.1) == []
    office.look([server("a", 5, 10), server("b", 9, 10)], 12.0, [told])  # counted by those heartbeats
    assert office.servers_for("2", 12.1) == ["ws://a/", "ws://b/"]


def test_a_seat_that_a_heartbeat_may_have_missed_counts_by_how_likely_that_is() -> None:
    rows = [server("a", 10, 100), server("b", 10, 100), server("c", 13, 100)]
    just_before, long_before = Seats(ServerId("a"), 50, 4), Seats(ServerId("b"), 450, 4)
    office = box(*rows, sisters=[sister(just_before, long_before)], at=10.0)
    assert office.servers_for("me", 10.0) == ["ws://b/", "ws://c/", "ws://a/"]


def test_sisters_are_expected_to_go_on_as_they_did() -> None:
    rows = [server("a", 0, 100), server("b", 3, 100)]
    alone = box(*rows)
    alone.servers_for("1", 0.1)
    assert alone.servers_for("2", 0.2)[0] == "ws://a/"
    busy = sister(Seats(ServerId("gone"), 100, 4))
    together = box(*rows, sisters=[busy])
    together.servers_for("0", 0.1)
    together.look(rows, 0.2, [busy])  # one of ours, four of its: and so on
    assert together.servers_for("1", 0.3)[0] == "ws://a/"
    assert together.servers_for("2", 0.4)[0] == "ws://b/"


def test_a_client_that_asks_again_is_not_counted_again_for_the_sisters_either() -> None:
    rows = [server("a", 0, 100), server("b", 3, 100)]
    office = box(*rows, sisters=[sister(name=name) for name in "acdefg"])
    for step in range(50):
        assert office.servers_for("greedy", 0.1 + step / 100)[0] == "ws://a/"


def test_what_is_told_to_sisters_is_by_server_and_age_and_never_older_than_it_is() -> None:
    office = box(server("a"), server("b", 99))
    for n in range(5):
        office.servers_for(str(n), 0.5)
    office.servers_for("6", 1.3)
    told = list(decoded(encoded(office.handed_out(2.0)), 300))
    assert told == [Seats(ServerId("a"), 1700, 5), Seats(ServerId("a"), 900, 1)]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 60_000)), max_size=60))
def test_what_is_told_to_sisters_is_complete(seats: list[tuple[str, int]]) -> None:
    office = box(*(server(name, seen_ms_ago=60_001) for name in "abc"), rules=replace(RULES, max_servers=1), at=60.0)
    for n, (_, ms) in enumerate(seats):
        office.servers_for(str(n), ms / 1000)
    told = decoded(encoded(office.handed_out(60.0)), 0)
    assert sum(each.count for each in told) == len(seats)


def test_what_is_told_to_sisters_is_bounded() -> None:
    office = box(server("a", capacity=1000))
    for n in range(600):
        office.servers_for(str(n), n / 10)
    assert len(list(decoded(encoded(office.handed_out(60.0)), 0))) == seating.OLDEST_MS // seating.STEP_MS + 1


# --- scarce ----------------------------------------------------------------------------------------------------------

SCARCE = replace(RULES, floor=0.1)


def test_under_the_floor_every_office_hands_out_its_part_of_what_is_free() -> None:
    rows = [server("a", 95), server("b", 98)]
    sold = 0
    for name in "abc":
        office = Seating(SCARCE, name=name, chance=random.Random(7))
        office.look(rows, 0.0, [Sister(other, ()) for other in "abc" if other != name])
        assert office.scarce
        sold += sum(bool(office.servers_for(str(n), 0.1)) for n in range(10))
    assert sold == 7


def test_under_the_floor_an_office_hands_out_its_part_of_what_it_knows_to_be_free_until_it_looks_again() -> None:
    sisters = [sister(Seats(ServerId("a"), 0, 3), name="a"), sister(name="c")]
    office = box(server("a", 91, seen_ms_ago=100), rules=SCARCE, sisters=sisters)
    assert sum(bool(office.servers_for(str(n), 0.1)) for n in range(10)) == 2


def test_under_the_floor_a_server_is_not_named_whose_last_seat_may_be_taken() -> None:
    office = box(server("a", 98, 99), server("b", 98), rules=SCARCE)
    assert office.servers_for("1", 0.9) == ["ws://b/", "ws://a/"]
    assert office.servers_for("2", 0.9)[0] == "ws://a/"
    office.look([server("a", 98, 99), server("b", 98)], 1.0)
    assert office.servers_for("3", 1.1) == ["ws://b/"]


def test_under_the_floor_a_seat_counts_until_a_heartbeat_has_surely_counted_it() -> None:
    office = box(server("a", 99), rules=SCARCE)
    assert office.servers_for("1", 0.9)
    office.look([server("a", 99)], 1.0)  # it may be on its way
    assert office.servers_for("2", 1.1) == []
    office.look([server("a", 99)], 3.0)  # it never came
    assert office.servers_for("2", 3.1)


def test_at_the_floor_nothing_is_scarce() -> None:
    assert not box(server("a", 90), rules=SCARCE).scarce
    assert box(server("a", 91), rules=SCARCE).scarce
    assert not box(rules=SCARCE).scarce


@given(st.integers(0, 400), st.integers(1, 7))
def test_the_parts_of_all_offices_are_the_whole(whole: int, offices: int) -> None:
    names = [f"o{n}" for n in range(offices)]
    parts = [seating._part(whole, name, [other for other in names if other != name]) for name in names]
    assert sum(parts) == whole
    assert max(parts) - min(parts) <= 1


# --- zones -----------------------------------------------------------------------------------------------------------


def test_servers_of_the_own_zone_come_first_while_they_have_room() -> None:
    rows = [server("far", 10, zone="west"), server("near", 50, 52, zone="east"), server("nowhere", 20)]
    office = box(*rows, rules=replace(RULES, zone="east"))
    for n in range(2):
        assert office.servers_for(str(n), 0.1) == ["ws://near/", "ws://far/", "ws://nowhere/"]
    assert office.servers_for("3", 0.1) == ["ws://far/", "ws://nowhere/"]


def test_an_office_without_a_zone_prefers_none() -> None:
    office = box(server("west", 10, zone="west"), server("none", 20))
    assert office.servers_for("me", 0.1) == ["ws://west/", "ws://none/"]


# --- whatever comes --------------------------------------------------------------------------------------------------

rows = st.lists(
    st.builds(
        server,
        st.sampled_from([f"s{n}" for n in range(6)]),
        st.integers(0, 12),
        st.integers(0, 10),
        alive=st.booleans(),
        state=st.sampled_from(["ready", "draining", "not_ready"]),
        seen_ms_ago=st.integers(0, 7000),
    ),
    max_size=6,
    unique_by=lambda row: row.id,
)


@given(rows, st.lists(st.sampled_from("abcdefgh"), max_size=40), st.integers(1, 4))
def test_whoever_asks_gets_servers_with_room_best_first(
    picture: list[ServerRow], clients: list[str], most: int
) -> None:
    office = box(*picture, rules=replace(RULES, max_servers=most))
    seated: dict[str, str] = {}
    for step, client in enumerate(clients):
        seated.pop(client, None)
        taken = Counter(seated.values())
        free = {
            row.url: 1 - row.fill(taken[row.url])
            for row in picture
            if row.alive and row.state == "ready" and row.capacity > row.connections + taken[row.url]
        }
        told = office.servers_for(client, step / 10)
        assert [free[url] for url in told] == sorted(free.values(), reverse=True)[:most]
        assert len(set(told)) == len(told)
        if told:
            seated[client] = told[0]
