"""The pace of a drain: even slices, and when devices are back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roles.socket.draining import RETURNS_PER_SECOND, SLICE_SECONDS, returns, slices


@given(count=st.integers(0, 100_000), seconds=st.floats(0, 3600))
def test_everybody_is_in_one_slice_and_slices_differ_by_one_at_most(count: int, seconds: float) -> None:
    sizes = slices(count, seconds)
    assert sum(sizes) == count
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) * SLICE_SECONDS <= max(seconds, SLICE_SECONDS)


@pytest.mark.parametrize(
    ("count", "seconds", "sizes"),
    [(10, 3.9, [3, 3, 4]), (2, 300, [1, 1]), (5, 0.5, [5]), (0, 60, [0]), (1, 0, [1])],
)
def test_a_slice_takes_about_a_second_longer_when_there_are_few(count: int, seconds: float, sizes: list[int]) -> None:
    assert slices(count, seconds) == sizes


def moments(count: int, seconds: float) -> list[tuple[float, float]]:
    """When each is asked, and when it is to be back, from the first that is asked."""
    plan = returns(count, seconds)
    asked = [seconds * number / len(plan) for number in range(len(plan))]
    return [(at, at + after) for at, afters in zip(asked, plan, strict=True) for after in afters]


@given(count=st.integers(1, 3000), seconds=st.floats(0, 300))
def test_nobody_is_back_before_it_was_asked_nor_all_of_them_later_than_the_pace_needs(
    count: int, seconds: float
) -> None:
    found = moments(count, seconds)
    assert all(back >= asked - 1e-6 for asked, back in found)
    assert max(back for _, back in found) <= max(seconds, count / RETURNS_PER_SECOND) + 1e-6


@pytest.mark.parametrize(
    ("seconds", "pace"),
    [(0.0, RETURNS_PER_SECOND), (0.5, RETURNS_PER_SECOND), (11.0, RETURNS_PER_SECOND), (200.0, 3000 / 200)],
    ids=["no time", "little time", "a stop", "a long drain"],
)
def test_devices_come_back_evenly_at_the_pace_of_the_drain_but_never_faster_than_they_may(
    seconds: float, pace: float
) -> None:
    backs = sorted(back for _, back in moments(3000, seconds))
    assert backs[-1] == pytest.approx(3000 / pace, rel=0.05)
    for begin in range(int(backs[-1]) - 5):
        in_five_seconds = sum(begin <= back < begin + 5 for back in backs)
        assert in_five_seconds == pytest.approx(5 * pace, rel=0.5)


def test_with_time_enough_nobody_is_away_while_it_waits_for_its_moment() -> None:
    """Its moment is in the slice in which it is asked; it stays where it is until then."""
    assert all(back - asked <= 2 * SLICE_SECONDS for asked, back in moments(3000, 200.0))
