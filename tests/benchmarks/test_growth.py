"""The benchmark of growth: small, and what it makes of a law that does not hold."""

import faulthandler
import sys
from pathlib import Path

import msgspec
import pytest
import trio

from tests.benchmarks.growth import LAWS, broken, expected, holds
from tests.benchmarks.growth_run import Life, Measured, Size


def test_a_law_says_what_ten_times_as_many_cost() -> None:
    assert (expected("constant", 100), expected("linear", 100)) == (1, 10)
    assert expected("log n", 100) == pytest.approx(1.5)
    assert holds("constant", 100, small=100, large=190)
    assert not holds("constant", 100, small=100, large=210)
    assert holds("log n", 100, small=100, large=290)
    assert not holds("linear", 100, small=100, large=2100)


def test_what_costs_next_to_nothing_breaks_no_law() -> None:
    assert holds("constant", 100, small=0.5, large=19)
    assert not holds("constant", 100, small=0.5, large=50)


def test_a_cost_that_grows_too_fast_is_named() -> None:
    costs: dict[str, dict[str, float]] = {}
    for what, process in LAWS:
        costs.setdefault(what, {})[process] = 100.0
    dear = {**costs, "deliver": {**costs["deliver"], "socket": 1000.0}}
    lives = [Life(10, 2, "", costs), Life(100, 2, "", dear), Life(10, 20, "", costs)]
    (found,) = broken(Measured("", Size(users=10, stored=2), lives))
    assert found == "deliver of socket with users: 100 µs, 1,000 µs with 10 times as many; constant was expected"


@pytest.mark.long
@pytest.mark.alone
async def test_growth_is_measured_with_few_and_with_many(tmp_path: Path) -> None:
    faulthandler.cancel_dump_traceback_later()  # it takes a minute, and bounds itself
    file = tmp_path / "growth.json"
    command = [sys.executable, "-m", "tests.benchmarks.growth", "--quick", "--json", str(file)]
    with trio.fail_after(300):
        # What so few say of laws says nothing: 3 is as good as 0.
        await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    measured = msgspec.json.decode(file.read_bytes(), type=Measured)
    assert [(life.users, life.stored) for life in measured.lives] == [(10, 2), (100, 2), (10, 20)]
    assert all(set(life.costs[what]) >= {process} for life in measured.lives for what, process in LAWS)
