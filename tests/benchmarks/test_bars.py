"""Bars add up."""

from xml.etree import ElementTree

import pytest

from tests.benchmarks.bars import chart

SVG = "{http://www.w3.org/2000/svg}"


def test_parts_lie_end_to_end_at_one_scale_and_are_said_in_words() -> None:
    rows = {"<ours>": {"api": 50.0, "redis": 150.0}, "theirs": {"server": 80.0, "redis": 20.0}}
    root = ElementTree.fromstring(chart(rows, title="A & B", unit="µs"))
    parts = [(float(part.attrib["x"]), float(part.attrib["width"])) for part in root.iter(f"{SVG}rect")]
    start = parts[0][0]
    scale = parts[0][1] / 50
    lengths = [x - start + width for x, width in parts]
    assert lengths == pytest.approx([value * scale for value in (50, 200, 80, 100)], abs=0.3)
    assert [total.text for total in root.iterfind(f"{SVG}text[@class='total']")] == ["200", "100"]
    colours = [part.get("fill") for part in root.iter(f"{SVG}rect")]
    assert colours[1] == colours[3]
    assert len(set(colours)) == 3
    assert "<ours>: 200 (api 50, redis 150)." in (root.findtext(f"{SVG}desc") or "")
