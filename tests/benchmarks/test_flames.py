"""Flames of stacks that py-spy wrote down."""

from xml.etree import ElementTree

from tests.benchmarks.flames import MARGIN, WIDTH, chart, merged

SVG = "{http://www.w3.org/2000/svg}"
LOOP = "<module> (pushctl:6);run (trio/_core/_run.py:2532);unrolled_run (trio/_core/_run.py:2866)"
BEFORE = [
    f"{LOOP};Held._write (roles/socket/held.py:257) 30",
    f"{LOOP};Held._write (roles/socket/held.py:258);put.<locals>.<lambda> (x.py:1) 20",
    f"{LOOP};Held._write (roles/socket/held.py:258);send (trio/_socket.py:5) 5",
    "<module> (pushctl:6);run (trio/_core/_run.py:2535);poll (trio/_core/_io_epoll.py:243) 40",
    f"{LOOP} 5",
]
AFTER = [f"{LOOP};Held._write (roles/socket/held.py:1) 25"]


def boxes(drawing: str) -> dict[str, tuple[float, float]]:
    """Of each, what hovering tells: its left edge and its width, the hair of ground included."""
    return {
        box.findtext(f"{SVG}title") or "": (float(box.attrib["x"]), float(box.attrib["width"]) + 1)
        for box in ElementTree.fromstring(drawing).iter(f"{SVG}rect")
    }


def test_functions_are_as_wide_as_their_share_whatever_their_line_and_begin_above_the_loop() -> None:
    found = boxes(chart(merged([BEFORE]), title="<A>", names=["before"], least_percent=5.5))
    wide = WIDTH - 2 * MARGIN
    assert found == {
        "Held._write roles/socket/held.py: 55.0 %": (MARGIN, 0.55 * wide),
        "put.<locals>.<lambda> x.py: 20.0 %": (MARGIN, 0.2 * wide),
        "poll trio/_core/_io_epoll.py: 40.0 %": (MARGIN + 0.55 * wide, 0.4 * wide),
    }, "what is too narrow is left out: sending, and the loop itself"
    assert "unrolled_run trio/_core/_run.py: 5.0 %" in boxes(chart(merged([BEFORE]), title="A", names=["before"]))


def test_two_files_are_drawn_at_one_scale() -> None:
    both = merged([BEFORE, AFTER])
    whole = "Held._write roles/socket/held.py: 100.0 %"
    shares = boxes(chart(both, title="A", names=["before", "after"]))
    assert shares[whole] == (MARGIN, WIDTH - 2 * MARGIN)
    by_message = boxes(chart(both, title="A", names=["before", "after"], messages=[100, 50]))
    assert by_message[whole] == (MARGIN, (WIDTH - 2 * MARGIN) / 2)
