"""The benchmark of connections: small, and what its figures are made of."""

import faulthandler
import json
import re
import sys
from pathlib import Path

import pytest
import trio

from pushctl.client.report import Tally, report
from tests.benchmarks import connections
from tests.benchmarks.connections_run import Life, Stretch
from tests.benchmarks.memory import Memory
from tests.house.markdown import Document

pytestmark = pytest.mark.alone

BENCHMARKS = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def life(way: str, *, idle_cpu: float = 0.0, sockets: int | None = 0) -> Life:
    """100 clients, who cost a second of CPU to come within ten, and half a second for 50 messages within ten."""
    return Life(
        way,
        100,
        empty=Memory(rss=1000, slab=5000, sockets=0, buffers=0),
        full=Memory(rss=3000, slab=25_000, sockets=sockets, buffers=0),
        arriving=Stretch(10, 1.0, 100, [3.0, 40.0]),
        idle=Stretch(20, idle_cpu, 0, []),
        messages=Stretch(10, 0.5, 50, [7.0]),
        sent=25,
        report=report(Tally(), users=50, devices=100, seconds=40),
    )


def test_what_idling_costs_is_no_part_of_what_arriving_and_messages_cost() -> None:
    assert connections.arriving_us(life("ws")) == pytest.approx(10_000)
    assert connections.message_us(life("ws")) == pytest.approx(10_000)
    busy = life("ws", idle_cpu=0.4)  # 20 ms a second, of all 100 together
    assert connections.idle_us(busy) == pytest.approx(200)
    assert connections.arriving_us(busy) == pytest.approx(10_000 - 1000)  # half of them were there, on average
    assert connections.message_us(busy) == pytest.approx(10_000 - 4000)


def test_the_kernel_holds_both_ends_and_only_one_is_the_servers() -> None:
    rows = {name: values for name, *values in connections.rows([life("ws", sockets=6000), life("wss", sockets=12_000)])}
    assert rows["memory of the process, bytes"] == ["20", "20", "1.00"]
    assert rows["memory of the kernel: its socket, bytes"] == ["30", "60", "2.00"]
    assert rows["memory of the kernel: all slabs, a half, bytes"] == ["100", "100", "1.00"]
    assert rows["its longest full garbage collection, ms"][0] == "40"


def test_what_could_not_be_read_is_not_nought() -> None:
    rows = {name: values for name, *values in connections.rows([life(way, sockets=None) for way in ("ws", "wss")])}
    assert rows["memory of the kernel: its socket, bytes"] == ["-", "-", "-"]


def test_the_document_quotes_a_run_with_ten_thousand() -> None:
    section = Document(BENCHMARKS).section("10,000 connected clients")
    for name, _ in connections.ROWS:
        assert re.search(rf"^\| {re.escape(name)} +\| +[\d,.-]+ \| +[\d,.-]+ \| +[\d.-]+ \|$", section, re.MULTILINE)


@pytest.mark.long
async def test_the_benchmark_measures_clients_with_and_without_tls_and_nothing_is_lost(tmp_path: Path) -> None:
    faulthandler.cancel_dump_traceback_later()  # it takes a minute, and bounds itself
    told = tmp_path / "connections.json"
    with trio.fail_after(200):
        command = [sys.executable, "-m", "tests.benchmarks.connections", "--quick", "--json", str(told)]
        done = await trio.run_process(command, capture_stdout=True)
    printed = done.stdout.decode()
    assert "lost 0" in printed
    lives = json.loads(told.read_text())["lives"]
    assert [each["way"] for each in lives] == ["ws", "wss"]
    for each in lives:
        assert each["full"]["rss"] > each["empty"]["rss"]
        assert each["arriving"]["cpu"] > 0
        assert each["messages"]["count"] == each["report"]["received_live"] == 2 * each["sent"] > 0
        assert (each["report"]["connected"], each["report"]["lost"]) == (each["clients"], 0)
    for name, _ in connections.ROWS:
        assert f"| {name} " in printed
