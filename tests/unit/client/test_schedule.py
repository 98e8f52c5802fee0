"""When messages of a load are due and what they are: fixed beforehand, whatever happens."""

import math
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushctl.client.schedule import LEAST_MARKED_BYTES, Draw, Schedule, draws, marked, read_mark

RATES = st.floats(0.1, 5000)
SECONDS = st.floats(0, 100)


@given(RATES, SECONDS, SECONDS, st.none() | st.integers(1, 10_000))
def test_all_that_counts_is_due_after_the_warm_up_and_within_the_time_as_many_as_the_rate_says(
    rate: float, seconds: float, warmup: float, most: int | None
) -> None:
    schedule = Schedule(rate, seconds, most, warmup)
    assert schedule.total == schedule.warm + schedule.measured
    slack = 1e-6 / rate
    if schedule.warm:
        assert schedule.due(schedule.warm - 1) < warmup + slack
    assert schedule.due(schedule.warm) >= warmup - slack
    if schedule.measured:
        assert schedule.due(schedule.total - 1) < warmup + seconds + 1 / rate + slack
    assert abs(schedule.measured - rate * seconds) <= 1 or schedule.measured == most
    assert most is None or schedule.measured <= most


def test_a_number_of_messages_is_a_bound_as_good_as_a_time() -> None:
    assert Schedule(3.0, math.inf, 7).measured == 7


@given(RATES)
def test_moments_are_evenly_spaced_and_never_drift(rate: float) -> None:
    dues = [Schedule(rate, 1).due(number) for number in (0, 1, 2, 1000, 1001, 1_000_000, 1_000_001)]
    assert dues[0] == 0
    assert all(before < after for before, after in pairwise(dues))
    assert dues[5] == pytest.approx(1_000_000 / rate, rel=1e-12)


@given(st.integers(), st.integers(1, 4000), st.integers(0, 100))
def test_the_same_seed_draws_the_same_within_the_bounds(seed: int, least: int, more: int) -> None:
    sizes = (least, least + more)
    first, again = (list(islice(draws(seed, sizes), 50)) for _ in range(2))
    assert first == again
    assert all(0 <= draw.pick < 1 and least <= draw.size <= least + more for draw in first)
    assert [draw.number for draw in first] == list(range(50))


def test_another_seed_draws_others() -> None:
    assert list(islice(draws(1, (1, 100)), 20)) != list(islice(draws(2, (1, 100)), 20))


@given(st.integers(0, 10**9), st.integers(1, 5000), st.integers(0, 2**50), st.booleans())
def test_a_message_has_its_size_and_says_when_it_was_due_if_there_is_room(
    number: int, size: int, due_us: int, warm: bool
) -> None:
    text = marked(Draw(number, 0.0, size), due_us, warm=warm)
    assert len(text) == size
    if size >= LEAST_MARKED_BYTES:
        assert read_mark(text.decode()) == (due_us, warm)


@given(st.text())
def test_what_is_not_ours_has_no_mark(text: str) -> None:
    assert read_mark(f"x{text}") is None


@pytest.mark.parametrize("text", ["", "m", "m.", "mango", "w~~~~", "m zz.1.", "moment.1."])
def test_what_only_looks_like_a_mark_is_none(text: str) -> None:
    assert read_mark(text) is None
