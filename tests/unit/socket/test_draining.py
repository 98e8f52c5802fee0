"""The pace of a drain: even slices."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roles.socket.draining import SLICE_SECONDS, slices


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
