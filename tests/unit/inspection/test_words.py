"""Spans of time and numbers of things, in words."""

import pytest

from pushctl.inspection.words import ago, many, when


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        (-5, "just now"),
        (999, "just now"),
        (1000, "1 s ago"),
        (119_999, "119 s ago"),
        (120_000, "2 min ago"),
        (7_199_999, "119 min ago"),
        (7_200_000, "2 h ago"),
        (172_799_999, "47 h ago"),
        (172_800_000, "2 d ago"),
    ],
)
def test_a_span_is_said_in_the_largest_unit_of_which_there_are_two(ms: int, said: str) -> None:
    assert ago(ms) == said


def test_a_moment_may_be_to_come_or_over() -> None:
    assert (when(5000), when(-5000), when(0)) == ("in 5 s", "5 s ago", "in 0 s")


def test_one_thing_is_not_things() -> None:
    assert (many(1, "event"), many(0, "event"), many(1200, "event")) == ("1 event", "0 events", "1,200 events")
