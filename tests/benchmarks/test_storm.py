"""The simulated storm still works, and what it says of our client's policy holds with a hundredth of the devices."""

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.benchmarks import storm_simulation
from tests.benchmarks.storm import Setting, Storm
from tests.benchmarks.storm_chart import BOTTOM, TOP, Course, chart
from tests.benchmarks.storm_devices import POLICIES
from tests.house.markdown import Document

pytestmark = pytest.mark.alone

BENCHMARKS = Path(__file__).parents[2] / "docs" / "benchmarks.md"
SVG = "{http://www.w3.org/2000/svg}"

SMALL = Setting(clients=20_000, servers=20, die=4, offices=2, fill=0.7, arrivals_per_second=200, arrivals_burst=400)


def play(name: str, setting: Setting = SMALL) -> tuple[Storm, float]:
    storm = Storm(setting, POLICIES[name])
    seconds = storm.play()
    assert seconds is not None
    return storm, seconds


def test_ours_come_back_at_the_rate_of_arrivals_and_fill_what_is_left_evenly() -> None:
    storm, seconds = play("ours")
    at_best = (storm.lost - 2 * SMALL.arrivals_burst) / (2 * SMALL.arrivals_per_second)
    assert at_best * 0.9 <= seconds <= at_best * 2
    fills = [server.fill for server in storm.servers.values() if server.alive]
    assert 100 * (max(fills) - min(fills)) < 5
    assert storm.counts.turned_away == storm.counts.failed == 0


def test_every_device_has_one_place_and_no_server_more_than_it_has_room_for() -> None:
    for name in POLICIES:
        storm, _ = play(name)
        now_there = sum(server.connections for server in storm.servers.values())
        assert now_there == sum(server.connections for server in SMALL.fleet()) - storm.lost + storm.returned
        assert all(server.connections <= server.capacity for server in storm.servers.values())


def test_servers_chosen_by_chance_end_less_even_and_turn_devices_away() -> None:
    by_chance, _ = play("random server")
    fills = [server.fill for server in by_chance.servers.values() if server.alive]
    assert 100 * (max(fills) - min(fills)) > 5
    assert by_chance.counts.turned_away > 0


def test_a_storm_is_the_same_again_with_the_same_seed() -> None:
    (first, seconds), (second, seconds_again) = play("ours"), play("ours")
    assert (seconds, first.counts) == (seconds_again, second.counts)


def test_the_drawing_has_two_lines_for_each_policy_within_bounds_and_says_them_in_words() -> None:
    courses = {name: Course([100_000, 10, 0], [1.0, 50.0, 100.0]) for name in POLICIES}
    root = ElementTree.fromstring(chart(courses, 40))
    lines = list(root.iter(f"{SVG}polyline"))
    assert [line.get("class") for line in lines] == [name for name in POLICIES for _ in range(2)]
    for line in lines:
        heights = [float(place.split(",")[1]) for place in line.attrib["points"].split()]
        assert len(heights) == 3
        assert TOP <= min(heights) <= max(heights) <= BOTTOM
    assert "ours: at most 100,000 questions in a second" in (root.findtext(f"{SVG}desc") or "")


@pytest.mark.slow
def test_it_prints_the_table_that_the_document_quotes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["storm_simulation", "--quick", "--svg", str(tmp_path / "storm.svg")])
    storm_simulation.main()
    printed = capsys.readouterr().out
    section = Document(BENCHMARKS).section("A storm")
    for name in (*POLICIES, *storm_simulation.HEAD):
        assert f" {name} " in printed
        assert f" {name} " in section
    assert ElementTree.parse(tmp_path / "storm.svg").getroot().tag == f"{SVG}svg"
