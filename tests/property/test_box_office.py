"""Sister Box Offices and a fleet of servers, with the real Seating on a clock of its own: who ends where."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roles.boxoffice.seating import Rules
from tests.unit.boxoffice.fleet import Fleet, Server

RULES = Rules(max_servers=5, stale_seconds=30, floor=0.05)


def four_servers() -> list[Server]:
    """54 % full together after 10,000 more, and none is fuller now."""
    return [Server("a", 6000, 20_000), Server("b", 500, 8000), Server("c", 2000, 4000), Server("d", 0, 2000)]


@pytest.mark.parametrize("offices", [1, 2, 3, 10])
def test_ten_thousand_clients_in_ten_seconds_fill_servers_evenly(offices: int) -> None:
    fleet = Fleet(four_servers(), offices=offices, rules=RULES)
    fleet.run(3)
    fleet.arrivals(10_000, 10)
    fleet.run(14)
    assert (fleet.sent_on, fleet.unlucky) == (10_000, 0)
    assert fleet.spread_of_fill() < 5


def test_they_do_when_nearly_all_ask_the_same_office_too() -> None:
    fleet = Fleet(four_servers(), offices=5, rules=RULES)
    fleet.run(3)
    fleet.arrivals(10_000, 10, ["office-0"] * 19 + ["office-1"])
    fleet.run(14)
    assert fleet.spread_of_fill() < 5


def test_they_do_when_an_office_dies_on_the_way() -> None:
    fleet = Fleet(four_servers(), offices=3, rules=RULES)
    fleet.run(3)
    fleet.arrivals(5000, 5)
    fleet.run(8)
    fleet.kill_office("office-1")
    fleet.arrivals(5000, 5)
    fleet.run(14)
    assert fleet.spread_of_fill() < 5


@settings(max_examples=20)
@given(
    st.lists(st.tuples(st.integers(1000, 8000), st.floats(0, 0.4)), min_size=2, max_size=5),
    st.integers(1, 6),
    st.integers(0, 1000),
)
def test_whatever_their_size_and_fill_servers_end_evenly(
    servers: list[tuple[int, float]], offices: int, seed: int
) -> None:
    fleet = Fleet(
        [Server(f"s{n}", int(capacity * fill), capacity) for n, (capacity, fill) in enumerate(servers)],
        offices=offices,
        rules=RULES,
        seed=seed,
    )
    capacity = sum(each for each, _ in servers)
    taken = sum(int(each * fill) for each, fill in servers)
    fleet.run(3)
    fleet.arrivals(int(0.6 * capacity) - taken, 10)
    fleet.run(14)
    assert fleet.unlucky == 0
    assert fleet.spread_of_fill() < 5


def nearly_full(free: int, *, offices: int, seed: int) -> Fleet:
    chance = random.Random(seed)
    left = Counter(chance.randrange(4) for _ in range(free))
    return Fleet([Server(f"s{n}", 2000 - left[n], 2000) for n in range(4)], offices=offices, rules=RULES, seed=seed)


@settings(max_examples=20)
@given(st.integers(0, 300), st.integers(200, 3000), st.integers(0, 1000))
def test_under_the_floor_only_as_many_as_fit_are_sent_on(free: int, clients: int, seed: int) -> None:
    fleet = nearly_full(free, offices=1, seed=seed)
    fleet.run(5)
    fleet.arrivals(clients, 3)
    fleet.run(12)
    assert fleet.sent_on <= free
    assert fleet.unlucky == 0
    assert fleet.sent_on >= min(clients, free) * 3 // 4


@settings(max_examples=20)
@given(st.integers(2, 6), st.integers(0, 300), st.integers(200, 3000), st.integers(0, 1000))
def test_under_the_floor_sisters_together_send_on_hardly_more_than_fit(
    offices: int, free: int, clients: int, seed: int
) -> None:
    fleet = nearly_full(free, offices=offices, seed=seed)
    fleet.run(5)
    fleet.arrivals(clients, 3)
    fleet.run(12)
    assert fleet.sent_on <= free + 2 + free // 10
    assert fleet.sent_on >= min(clients, free) * 3 // 4 - offices
