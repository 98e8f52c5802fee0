"""Appointments for those who were refused."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roles.boxoffice import waiting
from roles.boxoffice.waiting import LONGEST_SECONDS, SHORTEST_SECONDS, SPREAD_SECONDS, Waiting


def room(per_second: float = 100) -> Waiting:
    return Waiting(per_second, random.Random(7))


def test_a_few_wait_for_about_a_heartbeat_and_not_all_equally_long() -> None:
    seconds = [room().seconds(str(n), 0.0) for n in range(5)]
    assert all(SHORTEST_SECONDS <= each <= SHORTEST_SECONDS + SPREAD_SECONDS + 1 for each in seconds)
    together = room()
    assert len({together.seconds(str(n), 0.0) for n in range(20)}) > 1


def test_the_more_wait_the_longer_is_the_wait_and_no_second_gets_too_many() -> None:
    crowd = room(100)
    told = [crowd.seconds(str(n), 0.0) for n in range(5000)]
    assert told[-1] == pytest.approx(50, abs=6)
    assert max(Counter(told[1000:4000]).values()) < 150


def test_when_too_many_wait_the_last_come_at_any_time_in_the_second_half_of_the_longest_wait() -> None:
    crowd = room(10)
    told = [crowd.seconds(str(n), 0.0) for n in range(20_000)]
    late = told[4000:]
    assert LONGEST_SECONDS / 2 <= min(late) <= max(late) <= LONGEST_SECONDS
    assert max(Counter(late).values()) < 3 * len(late) / (LONGEST_SECONDS / 2)


def test_whoever_asks_too_early_keeps_its_appointment_and_moves_nobodys() -> None:
    crowd = room(1)
    for n in range(30):
        crowd.seconds(str(n), 0.0)
    due = crowd.seconds("greedy", 0.0)
    for step in range(1, 100):
        assert crowd.seconds("greedy", step / 10) <= due
    assert crowd.seconds("other", 10.0) <= 30 + SPREAD_SECONDS


@pytest.mark.parametrize(("crowd_of", "gone_after"), [(1000, 110.0), (20_000, LONGEST_SECONDS)])
def test_when_the_crowd_is_gone_waits_are_short_again(crowd_of: int, gone_after: float) -> None:
    crowd = room(10)
    for n in range(crowd_of):
        crowd.seconds(str(n), 0.0)
    assert crowd.seconds("later", gone_after) <= SHORTEST_SECONDS + SPREAD_SECONDS + 1


def test_only_so_many_appointments_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MAX_APPOINTMENTS", 50)
    crowd = room()
    for n in range(1000):
        crowd.seconds(str(n), 0.0)
    assert len(crowd) == 50
    crowd.seconds("a", 10_000.0)
    for n in range(60):
        crowd.seconds(f"later {n}", 10_000.0)
    assert len(crowd) == 50


@given(st.lists(st.tuples(st.integers(0, 40), st.floats(0, 2)), max_size=200), st.floats(0.1, 5000))
def test_whatever_comes_a_wait_is_a_whole_number_within_bounds(asked: list[tuple[int, float]], rate: float) -> None:
    crowd, now = room(rate), 0.0
    for who, gap in asked:
        now += gap
        assert 1 <= crowd.seconds(str(who), now) <= LONGEST_SECONDS
