"""Figures fit their columns, whatever the number; small lines are as wide as they were asked to be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushctl.cli.stats.processes import sorted_servers
from pushctl.cli.stats.table import SORTS
from pushctl.cli.stats.words import bar, figure, lag, octets, sparkline
from tests.unit.overview.looks import load, server


@given(st.floats(0, 9.9e11))
def test_a_figure_has_five_characters_at_most(number: float) -> None:
    assert len(figure(number)) <= 5
    assert len(octets(int(number))) <= 4


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, "-"),
        (0, "0"),
        (0.25, "0.2"),
        (9.96, "10"),
        (12.4, "12"),
        (999.6, "1.0k"),
        (34_567, "35k"),
        (5.6e6, "5.6M"),
    ],
)
def test_figures_are_spelled_short(number: float | None, text: str) -> None:
    assert figure(number) == text


@pytest.mark.parametrize(
    ("ms", "text"), [(None, "-"), (0, "0ms"), (250, "250ms"), (1234, "1.2s"), (45_000, "45s"), (3.6e6, "60m")]
)
def test_lags_are_spelled_short(ms: float | None, text: str) -> None:
    assert lag(ms) == text


def test_a_line_over_time_ends_with_now() -> None:
    assert sparkline([0, 50, 100], 5) == "  ▁▅█"
    assert sparkline([0, 50, 100], 2, plain=True) == "+#"
    assert sparkline([0, 0], 2) == "▁▁"
    assert sparkline([], 3) == "   "
    assert bar(0.5, 4) == "██··"


def test_servers_are_in_the_order_that_was_asked_for_and_by_name_within() -> None:
    small = server(id="s10", connections=1, capacity=2, load=load(written_per_second=9))
    large = server(id="s9", connections=300, capacity=1000, load=None)
    other = server(id="s2", connections=300, capacity=1000)
    order = {sort: [each.id for each in sorted_servers([small, large, other], sort)] for sort in SORTS}
    assert order["id"] == ["s2", "s9", "s10"]
    assert order["connections"] == ["s2", "s9", "s10"]
    assert order["fill"] == ["s10", "s2", "s9"]
    assert order["messages"] == ["s2", "s10", "s9"]
    assert all(sorted(found) == ["s10", "s2", "s9"] for found in order.values())
