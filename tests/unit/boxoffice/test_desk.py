"""What one client is told: the order of the questions, and every refusal with its wait."""

import random
from collections import Counter

import pytest

from pushctl.errors import NoCapacity, RateLimited, StoreUnavailable
from pushctl.http.address_rates import AddressRates
from pushctl.rates import Rate
from roles.boxoffice.desk import Desk
from roles.boxoffice.seating import Rules, Seating
from tests.unit.boxoffice.test_seating import server


class Office:
    def __init__(self, *, capacity: int = 1000, arrivals: Rate | None = None, address: Rate | None = None) -> None:
        chance = random.Random(7)
        self.refusals: Counter[str] = Counter()
        self.seating = Seating(Rules(5, 30.0), chance=chance)
        self.seating.look([server("a", 0, capacity)], 0.0)
        self.desk = Desk(
            self.seating,
            addresses=AddressRates(address, []),
            arrivals=arrivals,
            now=0.0,
            count=lambda reason: self.refusals.update([reason]),
            chance=chance,
        )

    def wait(self, who: str, now: float) -> int:
        """Seconds; 0: it was told where to go."""
        try:
            assert self.desk.servers_for(who, now) == ["ws://a/"]
        except NoCapacity as refused:
            return refused.retry_after_seconds or 0
        return 0


def test_more_arrivals_than_may_come_are_no_capacity_and_spread_at_that_rate() -> None:
    office = Office(capacity=10_000, arrivals=Rate(100, 200))
    waits = [office.wait(str(n), 0.0) for n in range(2200)]
    assert waits[:200] == [0] * 200
    assert min(waits[200:]) >= 2
    assert 19 <= max(waits) <= 25
    assert office.refusals == {"arrivals": 2000}


def test_those_who_come_when_they_were_told_are_soon_all_served() -> None:
    office = Office(capacity=10_000, arrivals=Rate(100, 200))
    agenda = [(0.0, str(n)) for n in range(2200)]
    chance = random.Random(3)
    while agenda:
        agenda.sort(reverse=True)
        now, who = agenda.pop()
        if wait := office.wait(who, now):
            agenda.append((now + wait + chance.random(), who))
        last = now
    assert last < 30


def test_without_room_all_who_ask_wait() -> None:
    office = Office(capacity=3)
    waits = [office.wait(str(n), 0.1) for n in range(10)]
    assert waits[:3] == [0, 0, 0]
    assert all(2 <= each <= 6 for each in waits[3:])
    assert office.refusals == {"no_capacity": 7}


def test_a_stale_picture_is_no_answer_and_costs_no_arrival() -> None:
    office = Office(arrivals=Rate(1, 1))
    with pytest.raises(StoreUnavailable) as refused:
        office.desk.servers_for("me", 31.0)
    assert refused.value.retry_after_seconds is not None
    assert 2 <= refused.value.retry_after_seconds <= 5
    office.seating.look([server("a")], 31.0)
    assert office.wait("me", 31.0) == 0
    assert office.refusals == {"store_unavailable": 1}


def test_an_address_that_asks_too_often_is_refused_before_anything_else() -> None:
    office = Office(address=Rate(1, 2))
    for _ in range(2):
        office.desk.knock("192.0.2.1", 0.0)
    with pytest.raises(RateLimited):
        office.desk.knock("192.0.2.1", 0.0)
    assert office.refusals == {"rate_limited": 1}
