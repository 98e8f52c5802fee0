"""What the garbage collector walks through, and when."""

import gc
from collections.abc import Iterator, Mapping

import pytest

from pushctl.collector import ALL_SECONDS, LONG_SECONDS, Collector


class Clocks:
    """Time stands still; CPU, too, but for `step` at each look."""

    def __init__(self) -> None:
        self.now = self.spent = self.step = 0.0

    def time(self) -> float:
        return self.now

    def cpu(self) -> float:
        self.spent += self.step
        return self.spent


class Cycle:
    """Only the collector frees it."""

    freed = 0

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        Cycle.freed += 1


@pytest.fixture
def clocks() -> Iterator[Clocks]:
    clocks = Clocks()
    Cycle.freed = 0
    with Collector(clocks.time, clocks.cpu) as collector:
        collector.begin()
        yield clocks
    assert gc.get_freeze_count() == 0, "all is as it was"


def test_what_lives_once_a_process_is_ready_is_not_walked_through_again(clocks: Clocks) -> None:
    put_aside = gc.get_freeze_count()
    assert put_aside > 1000
    gc.collect()
    assert gc.get_freeze_count() <= put_aside, "a short collection puts nothing aside"


def test_what_modules_make_is_put_aside_without_being_walked_through() -> None:
    found: list[int] = []

    def note(phase: str, info: Mapping[str, int]) -> None:
        found.append(info["generation"])

    with Collector() as collector:
        gc.callbacks.append(note)
        with collector.importing():
            made: list[list[int]] = [[] for _ in range(10_000)]
        gc.callbacks.remove(note)
        assert gc.isenabled()
        assert gc.get_freeze_count() >= len(made)
    assert not found
    assert gc.get_freeze_count() == 0, "all is as it was"


def test_what_a_long_full_collection_leaves_is_put_aside(clocks: Clocks) -> None:
    held: list[list[int]] = [[] for _ in range(5000)]
    put_aside = gc.get_freeze_count()
    clocks.step = 2 * LONG_SECONDS
    gc.collect(1)
    assert gc.get_freeze_count() <= put_aside, "only a full one looks at everything"
    gc.collect()
    assert gc.get_freeze_count() >= put_aside + len(held)


def test_what_was_put_aside_is_freed_without_the_collector_and_cycles_once_everything_is_looked_at(
    clocks: Clocks,
) -> None:
    cycle = Cycle()
    clocks.step = 2 * LONG_SECONDS
    gc.collect()
    clocks.step = 0
    del cycle
    gc.collect()
    assert Cycle.freed == 0, "it is put aside"
    clocks.now += ALL_SECONDS
    gc.collect()
    assert Cycle.freed == 1
