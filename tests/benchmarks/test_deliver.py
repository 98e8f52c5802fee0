"""The benchmark of deliveries: small, and what its figures are made of."""

import faulthandler
import json
import sys
from pathlib import Path

import pytest
import trio

from tests.benchmarks import deliver
from tests.benchmarks.deliver_crowd import Ledger
from tests.benchmarks.deliver_run import Cpu, Life, Stretch
from tests.benchmarks.unsound import Unsound

pytestmark = pytest.mark.alone


def life(api: float) -> Life:
    """1,000 messages within 20 s, on processes that idle for 10 ms a second each."""
    idle = Cpu(0.1, 0.1, 0.1, 0.1, 5.0, 5.0)
    spent = Cpu(0.2 + api, 0.2 + 0.02, 0.2 + 0.03, 0.2 + 0.04, 9.0, 0.05)
    closed = Stretch("as many as go", None, 20, spent, 0.06, 1000, 10, (1, 2), (3, 4), (0, 0))
    return Life(100, (10, idle), [closed])


def test_a_delivery_costs_what_four_processes_take_beside_idling() -> None:
    assert deliver.costs(life(0.01), life(0.01).stretches[0]) == pytest.approx([10, 20, 30, 40])
    cost_rows, latency_rows = deliver.rows([life(api) for api in (0.05, 0.01, 0.02)])
    head = ["100", "as many as go", "100"]
    assert cost_rows == [[*head, "20", "20", "30", "40", "110", "60", "50"]], "of the middle one of three rounds"
    assert latency_rows == [[*head, "1.0", "2.0", "3.0", "4.0"]]


async def test_what_comes_again_or_not_at_all_makes_a_run_unsound(autojump_clock: trio.abc.Clock) -> None:
    ledger = Ledger()
    ledger.arrives(1, 0, warm=False)
    await ledger.settled(1)
    with pytest.raises(Unsound, match="2 messages were accepted, 1 came"):
        await ledger.settled(2)
    ledger = Ledger()
    ledger.arrives(1, 0, warm=True)
    ledger.arrives(1, 0, warm=True)
    with pytest.raises(Unsound, match="came again"):
        await ledger.settled(1)


@pytest.mark.long
async def test_the_benchmark_delivers_everything_and_tells_whose_cpu_it_took(tmp_path: Path) -> None:
    faulthandler.cancel_dump_traceback_later()  # it bounds itself
    told = tmp_path / "deliver.json"
    with trio.fail_after(120):
        command = [sys.executable, "-m", "tests.benchmarks.deliver", "--quick", "--json", str(told)]
        done = await trio.run_process(command, capture_stdout=True)
    assert "all of which came, once and in order" in done.stdout.decode()
    (life,) = json.loads(told.read_text())["lives"]
    assert [stretch["name"] for stretch in life["stretches"]] == ["100/s", "as many as go", "half of that"]
    assert all(stretch["messages"] > 0 and min(stretch["cpu"]) > 0 for stretch in life["stretches"])
