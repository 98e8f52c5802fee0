"""Token buckets: what may pass is counted exactly."""

from collections import Counter
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushctl.rates import Rate, TokenBucket, TokenBuckets, rate_of

rates = st.builds(
    Rate,
    st.one_of(st.integers(1, 5000), st.sampled_from([0.1, 0.25, 0.3, 1.5, 3.3, 99.9])),
    st.integers(1, 50),
)
moments = st.lists(st.integers(0, 400_000_000), min_size=1, max_size=120).map(lambda gaps: list(accumulate(gaps)))
"""Rising, in ns."""

NS = 1_000_000_000


def allowed(rate: Rate, passed: list[int], now: int) -> bool:
    """The definition: whether one more at `now` keeps every span within burst + per_second * T."""
    tenths = round(rate.per_second * 100)
    return all(
        (len(passed) - at + 1) * 100 * NS <= rate.burst * 100 * NS + tenths * (now - since)
        for at, since in enumerate(passed)
    )


@given(rates, moments)
def test_exactly_those_pass_that_keep_every_span_within_rate_and_burst(rate: Rate, asked: list[int]) -> None:
    bucket = TokenBucket(rate, 0.0)
    passed: list[int] = []
    for now in asked:
        wait_seconds = bucket.take(now / NS)
        assert (wait_seconds == 0) == allowed(rate, passed, now)
        if not wait_seconds:
            passed.append(now)


@given(rates, moments)
def test_the_wait_is_over_when_it_says_and_not_before(rate: Rate, asked: list[int]) -> None:
    bucket = TokenBucket(rate, 0.0)
    for at in asked:
        wait_ns = round(bucket.take(at / NS) * NS)
        if wait_ns:
            assert bucket.take((at + wait_ns - 1) / NS) > 0
            assert bucket.take((at + wait_ns) / NS) == 0
            return


def test_a_burst_passes_at_once_and_then_the_rate_to_the_last_one() -> None:
    bucket = TokenBucket(Rate(10, 100), 0.0)
    passed = sum(not bucket.take(ms / 1000) for ms in range(600_000))
    assert passed == 100 + 10 * 600 - 1  # the last one of the ten minutes comes with their end


def test_a_clock_that_steps_back_gives_nothing_away() -> None:
    bucket = TokenBucket(Rate(1, 1), 1000.0)
    assert bucket.take(1000.0) == 0
    for now in (0.0, 500.0, 1000.0):
        assert bucket.take(now) == 1.0
    assert bucket.take(1001.0) == 0


def test_no_rate_is_no_limit() -> None:
    assert rate_of(0, 5) is None
    assert rate_of(0.5, 5) == Rate(0.5, 5)


# --- many ------------------------------------------------------------------------------------------------------------


def test_each_key_has_a_bucket_of_its_own() -> None:
    buckets = TokenBuckets(Rate(1, 2), 10)
    passed = Counter(key for key in "abab" * 5 if not buckets.take(key, 0.0))
    assert passed == {"a": 2, "b": 2}


@given(rates, moments, st.lists(st.integers(0, 20), min_size=120, max_size=120), st.integers(1, 5))
def test_memory_is_bounded_and_nobody_is_refused_who_would_not_be_alone(
    rate: Rate, asked: list[int], keys: list[int], most: int
) -> None:
    buckets, alone = TokenBuckets(rate, most), {key: TokenBucket(rate, 0.0) for key in keys}
    for now, key in zip(asked, keys, strict=False):
        passes = not buckets.take(key, now / NS)
        assert len(buckets) <= most
        if not alone[key].take(now / NS):
            assert passes


@given(rates, moments, st.lists(st.integers(0, 20), min_size=120, max_size=120))
def test_with_room_for_all_each_is_treated_as_if_alone(rate: Rate, asked: list[int], keys: list[int]) -> None:
    buckets, alone = TokenBuckets(rate, 21), {key: TokenBucket(rate, 0.0) for key in keys}
    for now, key in zip(asked, keys, strict=False):
        assert buckets.take(key, now / NS) == alone[key].take(now / NS)


def test_beyond_the_bound_the_one_that_was_quiet_longest_is_forgotten() -> None:
    buckets = TokenBuckets(Rate(0.1, 1), 2)
    for key in "abac":
        buckets.take(key, 0.0)
    assert buckets.take("a", 0.0) > 0
    assert buckets.take("b", 0.0) == 0


def test_whoever_is_quiet_is_forgotten_without_anybody_tidying_up() -> None:
    buckets = TokenBuckets(Rate(10, 10), 1000)
    for key in range(500):
        buckets.take(key, 0.0)
    assert len(buckets) == 500
    for step in range(300):
        buckets.take("one", 10 + step / 1000)
    assert len(buckets) == 1


@pytest.mark.parametrize("per_second", [0.1, 1 / 3, 7, 1e-5, 123456.789])
def test_any_number_is_a_rate(per_second: float) -> None:
    bucket = TokenBucket(Rate(per_second, 1), 0.0)
    assert bucket.take(0.0) == 0
    assert bucket.take(0.0) == pytest.approx(1 / per_second, abs=2e-9)
