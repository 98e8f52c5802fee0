"""How a load looks: banner, bars, report and histogram, in a terminal and in words."""

import re
import sys
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
from rich.console import Console

from pushctl.cli.load_view import histogram, time_text
from tests.fake_service import FakeService, open_fake_service
from tests.terminal import PUSHCTL, hold_screen, terminal


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [(7, "7 us"), (830, "830 us"), (1000, "1 ms"), (4215, "4.21 ms"), (999_000, "999 ms"), (2_650_000, "2.65 s")],
)
def test_a_time_has_three_digits_and_the_unit_that_suits(microseconds: int, text: str) -> None:
    assert time_text(microseconds) == text


def drawn(buckets: list[tuple[int, int]]) -> list[tuple[str, int, int]]:
    """Step, count and length of the bar of each line."""
    console = Console(width=80)
    with console.capture() as screen:
        console.print(histogram(buckets))
    found = [re.fullmatch(r" *<= (\S+ \S+) +([\d,]+) *(\S*) *", line) for line in screen.get().splitlines() if line]
    return [(row[1], int(row[2].replace(",", "")), len(row[3])) for row in found if row]


def test_a_histogram_has_a_bar_for_each_step_between_the_least_and_the_most_and_loses_nothing() -> None:
    lines = drawn([(90, 5), (450, 1), (500, 99), (501, 300), (4000, 1)])
    assert lines == [
        ("100 us", 5, 1), ("200 us", 0, 0), ("500 us", 100, 14), ("1 ms", 300, 40), ("2 ms", 0, 0), ("5 ms", 1, 1),
    ]  # fmt: skip
    assert drawn([]) == []


@pytest.mark.debian
@pytest.mark.parametrize("columns", [80, 120])
async def test_screens_have_the_layout_that_is_kept(columns: int) -> None:
    command = [sys.executable, "-m", "tests.unit.cli.load_screens"]
    async with terminal(command, columns=columns, rows=120) as shown:
        lines = await shown.until("# end")
    starts = [number for number, line in enumerate(lines) if line.startswith("# ")]
    for start, end in pairwise(starts):
        hold_screen(f"load-{lines[start][2:]}", columns, lines[start + 1 : end])


@pytest.fixture
async def service() -> AsyncIterator[FakeService]:
    async with open_fake_service() as running:
        running.answers["POST /push/s3cret"] = (201, None, {})
        yield running


@pytest.mark.debian
async def test_a_bar_is_drawn_while_it_sends_and_gone_when_ctrl_c_brings_the_report(
    service: FakeService, tmp_path: Path
) -> None:
    file = tmp_path / "targets.txt"
    file.write_text(f"{service.api_url}/push/s3cret\n")
    file.chmod(0o600)
    command = [*PUSHCTL, "send", "--targets", str(file), "--rate", "50/s", "--duration", "10m"]
    async with terminal(command, rows=40) as shown:
        await shown.until(
            lambda lines: any(re.match(r"sending +\S+ +\d+/30,000 +accepted \d+", line) for line in lines)
        )
        await shown.press("C-c")
        lines = await shown.until("sender")
    text = "\n".join(lines)
    assert "rate=50/s" in text
    assert re.search(r"\d+ of \d+ accepted in ", text)
    assert "30,000" not in text
    assert "s3cret" not in text
