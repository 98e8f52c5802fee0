"""Percentiles of very many, in little room."""

import math
import random

from hypothesis import given
from hypothesis import strategies as st

from pushctl.client.distribution import Distribution, Percentiles


def test_of_nothing_there_is_nothing_to_say() -> None:
    assert Distribution().percentiles() == Percentiles(None, None, None, None)


def test_what_two_clocks_make_negative_counts_as_nothing() -> None:
    found = Distribution()
    found.add(-3)
    assert found.percentiles() == Percentiles(0, 0, 0, 0)


@given(st.lists(st.floats(0, 1e7), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_percentile_is_never_too_low_and_at_most_one_percent_or_a_millisecond_too_high(
    times: list[float], share: float
) -> None:
    found = Distribution()
    for each in times:
        found.add(each)
    exact = sorted(times)[math.ceil(share * len(times) - 1e-9) - 1]
    told = found.percentile(share)
    assert told is not None
    assert exact <= told <= max(exact + 1, exact * 1.01 + 1)


def test_buckets_make_the_same_distribution_again() -> None:
    found = Distribution()
    for each in (1, 2, 2, 5000.5, 123_456):
        found.add(each)
    again = Distribution(found.buckets())
    assert again.latencies() == found.latencies()
    assert found.buckets() == [(1, 1), (2, 2), (5010, 1), (124_000, 1)]
    assert (found.latencies().min, found.latencies().mean) == (1, 25_803)


def test_a_million_cost_no_more_than_thousands() -> None:
    found, drawn = Distribution(), random.Random(1)
    for _ in range(20_000):
        found.add(drawn.expovariate(1 / 60_000))
    assert len(found._buckets) < 1000 + 900 * 3
