"""The benchmark of routing still works, and what it makes of its figures is right: costs, crossings, the drawing."""

import json
import re
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
import trio

from tests.benchmarks import routing
from tests.benchmarks.chart import nice
from tests.benchmarks.routing_chart import BOTTOM, TOP, chart
from tests.benchmarks.routing_load import Ledger
from tests.benchmarks.routing_report import (
    DENSITIES,
    STRATEGIES,
    Curve,
    Life,
    Stretch,
    append_us,
    crossings,
    curves,
    points,
    sentences,
)
from tests.benchmarks.routing_run import Measured, Size, order
from tests.benchmarks.routing_site import Cpu, cpu_seconds
from tests.benchmarks.unsound import Unsound
from tests.house.markdown import Document

pytestmark = pytest.mark.alone

BENCHMARKS = Path(__file__).parents[2] / "docs" / "benchmarks.md"

SVG = "{http://www.w3.org/2000/svg}"
SERVERS = (1, 2, 4, 8, 16)


def curve(*values: float) -> Curve:
    return list(zip(SERVERS, values, strict=False))


# --- costs -----------------------------------------------------------------------------------------------------------


def life(strategy: str, servers: int, router_us: float) -> Life:
    """100 s of 1,000 messages to `servers` devices each: the router takes `router_us` for each delivery beside 1 ms a
    second, the socket servers 20 µs, Redis 10 µs and 50 µs for each append."""
    deliveries = 1000 * servers

    def spent(seconds: float, deliveries: int, appends: int) -> Cpu:
        router = seconds * 1e-3 + deliveries * router_us * 1e-6
        return Cpu(router, deliveries * 20e-6, appends * 50e-6 + deliveries * 10e-6, 1)

    latencies = [n / deliveries for n in range(deliveries)]
    stretch = Stretch(100, spent(100, deliveries, 1000), 1000, 99, latencies)
    backlog = replace(stretch, cpu=spent(100, deliveries, 0), until_last=2)
    return Life(
        servers,
        strategy,
        idle=Stretch(10, spent(10, 0, 0), 0, 0, []),
        appends=Stretch(10, spent(10, 0, 1000), 1000, 0, []),
        paced=dict.fromkeys(DENSITIES, stretch),
        backlog={density: [backlog] for density in DENSITIES},
    )


def test_a_cost_is_what_deliveries_take_beside_idling_and_appending() -> None:
    lives = [life(strategy, 2, router_us) for strategy in STRATEGIES for router_us in (90, 30, 60)]
    assert append_us(lives) == pytest.approx(50)
    for point in points(lives):
        cost = [point.cost.router, point.cost.sockets, point.cost.redis]
        assert cost == pytest.approx([60, 20, 10]), "of the middle one of three rounds"
        assert point.per_message == pytest.approx(2 * 90)
        assert point.backlog_cost.total == pytest.approx(90)
        assert point.backlog_per_second == 1000
        assert [point.median_ms, point.p99_ms] == pytest.approx([500, 990], rel=0.01)


def test_curves_are_by_strategy_and_rise_with_the_servers() -> None:
    lives = [life(strategy, servers, 10 * servers) for strategy in STRATEGIES for servers in (4, 1, 2)]
    for density in DENSITIES:
        found = curves(points(lives), density)
        assert list(found) == list(STRATEGIES)
        assert all([x for x, _ in each] == [1, 2, 4] for each in found.values())
        assert found["rpc"][2][1] == pytest.approx(70)


def test_each_strategy_comes_first_once_in_three_rounds_and_backwards_in_every_other() -> None:
    rounds = order(3)
    assert sorted(rounds) == sorted(STRATEGIES * 3)
    assert rounds == ["rpc", "channel", "broadcast", "channel", "rpc", "broadcast", "broadcast", "rpc", "channel"]


async def test_the_clock_of_a_process_counts_what_it_spends() -> None:
    async with await trio.open_file("/proc/self/stat") as file:
        pid = int((await file.read()).split()[0])
    before = cpu_seconds(pid)
    while cpu_seconds(pid) < before + 0.01:
        pass
    assert before > 0
    with pytest.raises(ProcessLookupError):
        cpu_seconds(2**22 + 1)


def test_what_was_measured_can_be_told_again_from_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lives = [life(strategy, servers, 10 * servers) for strategy in STRATEGIES for servers in (1, 2)]
    measured = Measured("2 x Abacus", "Redis 6.2", Size(servers=(1, 2), rounds=1), lives)
    routing.tell(measured)
    told = capsys.readouterr().out
    (tmp_path / "earlier.json").write_bytes(msgspec.json.encode(measured))
    svg = tmp_path / "routing.svg"
    monkeypatch.setattr(sys, "argv", ["routing", "--from", str(tmp_path / "earlier.json"), "--svg", str(svg)])
    routing.main()
    assert capsys.readouterr().out == f"2 x Abacus\n{told}"
    assert ElementTree.fromstring(svg.read_text()).tag == f"{SVG}svg"


# --- the ledger ------------------------------------------------------------------------------------------------------


async def test_a_ledger_is_settled_once_all_devices_have_all() -> None:
    ledger = Ledger()
    ledger.sends(1, [1, 2])
    ledger.arrives(1, 2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ledger.settled)
        ledger.arrives(1, 1)
    assert len(ledger.arrivals) == 2


@pytest.mark.parametrize(("number", "device"), [(1, 1), (1, 3), (2, 1)], ids=["again", "foreign", "never sent"])
async def test_what_comes_again_or_unasked_makes_a_run_unsound(number: int, device: int) -> None:
    ledger = Ledger()
    ledger.sends(1, [1])
    ledger.arrives(1, 1)
    ledger.arrives(number, device)
    with pytest.raises(Unsound, match="unasked or again"):
        await ledger.settled()


async def test_what_is_lost_makes_a_run_unsound(autojump_clock: trio.abc.Clock) -> None:
    ledger = Ledger()
    ledger.sends(1, [1, 2])
    ledger.arrives(1, 1)
    with pytest.raises(Unsound, match="1 messages did not come"):
        await ledger.settled()


def test_an_unsound_run_ends_with_3_and_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def measure_all(_: Size) -> None:
        async with trio.open_nursery(), trio.open_nursery():
            raise Unsound("7 messages did not come")

    monkeypatch.setattr(routing, "measure_all", measure_all)
    monkeypatch.setattr(sys, "argv", ["routing", "--quick"])
    with pytest.raises(SystemExit) as end:
        routing.main()
    assert end.value.code == 3
    assert capsys.readouterr().err == "\nunsound: 7 messages did not come\n"


# --- crossings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (curve(100, 100, 100), curve(200, 200, 200), []),
        (curve(100, 200, 400), curve(200, 200, 200), [2]),
        (curve(100, 150, 250), curve(200, 200, 200), [3]),
        (curve(100, 199, 202, 400), curve(200, 200, 200, 200), [2 + 2 / 3]),
        (curve(100, 300, 100), curve(200, 200, 200), [1.5, 3]),
        (curve(100, 203, 202, 100), curve(200, 200, 200, 200), []),
        (curve(200, 201), curve(201, 200), []),
        (curve(100), curve(200), []),
    ],
    ids=["apart", "at a point", "between", "after a while together", "twice", "a touch", "the same", "one point"],
)
def test_curves_cross_where_their_lines_do_unless_they_only_touch(
    one: Curve, other: Curve, expected: list[int]
) -> None:
    assert crossings(one, other) == pytest.approx(expected)
    assert crossings(other, one) == pytest.approx(expected)


def test_every_two_strategies_are_compared_in_words() -> None:
    found = {"rpc": curve(300, 300, 300), "channel": curve(200, 200, 300), "broadcast": curve(100, 200, 400)}
    apart = "channel is cheaper than rpc by a factor of 1.50, where they differ, up to 4 servers; they do not cross."
    assert sentences("sparse", found) == [
        f"sparse: {apart}",
        "sparse: broadcast is cheaper than rpc with few servers; they cross at 3.0 servers.",
        "sparse: broadcast is cheaper than channel with few servers; they cross at 2.0 servers.",
    ]
    assert sentences("dense", {"rpc": curve(100, 101), "channel": curve(101, 100)}) == [
        "dense: rpc and channel cost the same within 10% up to 2 servers."
    ]


# --- the drawing -----------------------------------------------------------------------------------------------------


def test_a_drawing_has_three_series_in_each_panel_within_its_bounds_and_says_them_in_words() -> None:
    steep = {name: curve(*(factor * 90.0 * n for n in SERVERS)) for factor, name in enumerate(STRATEGIES, 1)}
    root = ElementTree.fromstring(chart(dict.fromkeys(DENSITIES, steep)))
    assert root.tag == f"{SVG}svg"
    series = {group.get("id"): group for group in root.iter(f"{SVG}g") if group.get("id")}
    assert set(series) == {f"{density}-{strategy}" for density in DENSITIES for strategy in STRATEGIES}
    for group in series.values():
        (line,) = group.iter(f"{SVG}polyline")
        heights = [float(place.split(",")[1]) for place in line.attrib["points"].split()]
        assert len(heights) == len(SERVERS)
        assert TOP <= min(heights) <= max(heights) <= BOTTOM
        assert heights == sorted(heights, reverse=True)
    told = root.findtext(f"{SVG}desc") or ""
    assert root.get("role") == "img"
    assert root.findtext(f"{SVG}title")
    assert "dense, broadcast: 270 µs with 1," in told


@pytest.mark.parametrize("height", [0, 50, 100])
def test_labels_of_lines_that_end_together_are_apart_and_within_the_panel(height: float) -> None:
    ends = {name: curve(100, height) for name in STRATEGIES}
    root = ElementTree.fromstring(chart({"sparse": ends}))
    heights = sorted(float(text.attrib["y"]) for text in root.iter(f"{SVG}text") if text.text in STRATEGIES)
    assert len(heights) == 3
    assert min(b - a for a, b in pairwise(heights)) >= 10
    assert TOP <= heights[0] < heights[-1] <= BOTTOM


@pytest.mark.parametrize(("largest", "end"), [(1, 1), (0.9, 1), (101, 125), (4_300, 5_000), (5_001, 10_000)])
def test_a_scale_ends_at_a_round_number_with_room_for_the_largest(largest: float, end: float) -> None:
    assert nice(largest) == pytest.approx(end)


def test_the_document_quotes_a_measurement_of_all_of_it() -> None:
    section = Document(BENCHMARKS).section("Routing strategies")
    for density in DENSITIES:
        for servers in (1, 2, 4, 8, 16):
            for strategy in STRATEGIES:
                assert re.search(rf"^\| {density} +\| +{servers} \| +{strategy} \|", section, re.MULTILINE)
    drawn = ElementTree.parse(BENCHMARKS.with_name("routing.svg")).getroot()
    assert set(STRATEGIES) <= {text.text for text in drawn.iter(f"{SVG}text")}


# --- all of it -------------------------------------------------------------------------------------------------------


@pytest.mark.long
async def test_the_benchmark_measures_every_strategy_with_few_and_many_servers(tmp_path: Path) -> None:
    svg, told = tmp_path / "routing.svg", tmp_path / "routing.json"
    options = ["--quick", "--servers", "1,2", "--svg", str(svg), "--json", str(told)]
    with trio.fail_after(300):
        done = await trio.run_process([sys.executable, "-m", "tests.benchmarks.routing", *options], capture_stdout=True)
    printed = done.stdout.decode()
    for density in DENSITIES:
        for servers in (1, 2):
            for strategy in STRATEGIES:
                assert re.search(rf"^\| {density} +\| +{servers} \| +{strategy} \|", printed, re.MULTILINE)
    assert len(re.findall(r"^- (?:sparse|dense)(?:, backlog)?: .* servers", printed, re.MULTILINE)) == 12
    assert len(json.loads(told.read_text())["lives"]) == 2 * len(STRATEGIES)
    assert ElementTree.fromstring(svg.read_text()).tag == f"{SVG}svg"
