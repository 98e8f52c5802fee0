"""What the garbage collector walks through, and when."""

import gc
from collections.abc import Iterator

import pytest

from pushctl.collector import ALL_SECONDS, LONG_SECONDS, Collector


class Clock:
    """Stands still, but for `step` at each look."""

    def __init__(self) -> None:
        self.now = 0.0
        self.step = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


class Cycle:
    """Only the collector frees it."""

    freed = 0

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        Cycle.freed += 1


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    Cycle.freed = 0
    with Collector(clock) as collector:
        collector.begin()
        yield clock
    assert gc.get_freeze_count() == 0, "all is as it was"


def test_what_lives_once_a_process_is_ready_is_not_walked_through_again(clock: Clock) -> None:
    put_aside = gc.get_freeze_count()
    assert put_aside > 1000
    gc.collect()
    assert gc.get_freeze_count() <= put_aside, "a short collection puts nothing aside"


def test_what_a_long_full_collection_leaves_is_put_aside(clock: Clock) -> None:
    held: list[list[int]] = [[] for _ in range(5000)]
    put_aside = gc.get_freeze_count()
    clock.step = 2 * LONG_SECONDS
    gc.collect(1)
    assert gc.get_freeze_count() <= put_aside, "only a full one looks at everything"
    gc.collect()
    assert gc.get_freeze_count() >= put_aside + len(held)


def test_what_was_put_aside_is_freed_without_the_collector_and_cycles_once_everything_is_looked_at(
    clock: Clock,
) -> None:
    cycle = Cycle()
    clock.step = 2 * LONG_SECONDS
    gc.collect()
    clock.step = 0
    del cycle
    gc.collect()
    assert Cycle.freed == 0, "it is put aside"
    clock.now += ALL_SECONDS
    gc.collect()
    assert Cycle.freed == 1
