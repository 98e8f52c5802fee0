"""The benchmark of recovery: small, with rates that bind, and how arrivals are held to a rate."""

import faulthandler
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from pushctl.rates import Rate, TokenBucket
from tests.faults.arrivals import Counted, Look, together
from tests.house.markdown import Document

pytestmark = pytest.mark.alone

BENCHMARKS = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def looks(*counts: int, every: float = 1.0, takes: float = 0.0) -> Counted:
    return Counted([Look(n * every, n * every + takes, count) for n, count in enumerate(counts)])


# --- arrivals --------------------------------------------------------------------------------------------------------


def test_what_keeps_to_a_rate_and_its_burst_is_no_excess() -> None:
    rate = Rate(10, 20)
    assert looks(0, 30, 40, 50, 50, 50, 80).excess(rate) == 0
    assert looks(0, 31, 40).excess(rate) == 1
    assert looks(0, 30, 40, 55).excess(rate) == 5
    assert looks(0, 0, 0, 31, 42).excess(rate) == 2
    assert looks(7).excess(rate) < 0
    assert Counted().excess(rate) < 0


def test_a_look_that_took_long_proves_less() -> None:
    assert looks(0, 35, takes=0.5).excess(Rate(10, 20)) == 0
    assert looks(0, 36, takes=0.5).excess(Rate(10, 20)) == 1


@given(st.lists(st.floats(0, 2), max_size=60), st.floats(0, 0.3))
def test_whatever_a_bucket_lets_through_is_no_excess_however_it_is_looked_at(pauses: list[float], takes: float) -> None:
    rate, now, count, seen = Rate(3, 4), 0.0, 0, []
    bucket = TokenBucket(rate, now)
    for pause in pauses:
        asked, now = now + pause, now + pause + takes / 2
        while not bucket.take(now):
            count += 1
        seen.append(Look(asked, asked + takes, count))
        now = asked + takes
    assert Counted(seen).excess(rate) <= 1e-6


def test_the_peak_is_the_most_in_about_a_second_of_all_servers_together() -> None:
    one, other = looks(0, 0, 3, 3, 3, 3, 3, every=0.2), looks(0, 2, 4, 6, 8, 10, 10, every=0.2)
    assert one.peak() == pytest.approx(3, rel=0.3)
    both = together([one, other], 0, 10)
    assert both.total == 13
    assert both.peak() == pytest.approx(13, rel=0.3)


# --- all of it -------------------------------------------------------------------------------------------------------


def test_the_document_quotes_a_kill_with_ten_thousand_and_rolling_restarts_with_three_thousand() -> None:
    section = Document(BENCHMARKS).section("Servers that go, and clients that come back")
    ways = re.findall(r"^\| (kill -9|drain|SIGTERM) +\| +(s\d)", section, re.MULTILINE)
    assert ways == [("kill -9", "s1"), *((way, f"s{n}") for way in ("drain", "SIGTERM") for n in (1, 2, 3))]
    assert "10,000, then 3,000 clients." in section
    assert "lost 0" in section


async def small_run(tmp_path: Path, *options: str) -> list[Any]:
    """The lives of one. It fails when too many came, or something was lost."""
    faulthandler.cancel_dump_traceback_later()  # it takes a minute or two, and bounds itself
    told = tmp_path / "recovery.json"
    with trio.fail_after(400):
        command = [sys.executable, "-m", "tests.benchmarks.recovery", "--quick", "--json", str(told), *options]
        await trio.run_process(command, capture_stdout=True)
    lives: list[Any] = json.loads(told.read_text())["lives"]
    for life in lives:
        assert (life["report"]["lost"], life["report"]["connected"]) == (0, life["clients"])
        assert all(each["came"] >= each["held"] > 0 for each in life["returns"])
    return lives


@pytest.mark.long
async def test_clients_of_a_server_that_was_killed_come_back_without_loss_and_not_too_fast(tmp_path: Path) -> None:
    (killed,) = await small_run(tmp_path, "--restarted", "0")
    (found,) = killed["returns"]
    assert found["way"] == "kill -9"
    assert found["put_off"], "the rate was one that binds"


@pytest.mark.long
async def test_clients_of_servers_that_are_drained_or_stopped_come_back_without_loss_and_not_too_fast(
    tmp_path: Path,
) -> None:
    (restarted,) = await small_run(tmp_path, "--killed", "0")
    assert [each["way"] for each in restarted["returns"]] == 3 * ["drain"] + 3 * ["SIGTERM"]
    assert sum(each["put_off"] for each in restarted["returns"] if each["way"] == "SIGTERM"), "a rate that binds"
