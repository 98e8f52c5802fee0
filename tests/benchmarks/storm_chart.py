"""A storm as a drawing (chart.py): how many ask, and how many are back, second by second, for each policy.

Must not know: how it was simulated.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log10
from xml.sax.saxutils import escape

from tests.benchmarks.chart import BLUE, GREEN, OCHRE, RED, TICKS, VIOLET, drawing

WIDTH, HEIGHT = 760, 360
TOP, BOTTOM = 50, 280
LEFT, PANEL, GAP = 60, 290, 80
LEGEND_Y, LEGEND_PX = 340, 140

DECADES = 5
"""Of the logarithmic scale: from 1 to 100,000."""

LOOKS = [(BLUE, "none"), (GREEN, "8 3"), (RED, "3 3"), (OCHRE, "8 3 2 3"), (VIOLET, "1 3")]
"""Of each policy: colour, dashes."""


@dataclass(frozen=True, slots=True)
class Course:
    """By second: questions to all Box Offices; the share of the lost that is back, in percent."""

    asked: Sequence[int]
    back: Sequence[float]


def chart(courses: Mapping[str, Course], seconds: int) -> str:
    """So many seconds to the right: questions per second on a logarithmic scale, and beside it who is back."""
    asked = _Panel("questions to the Box Offices per second", LEFT, seconds)
    back = _Panel("back, in percent", LEFT + PANEL + GAP, seconds)
    parts = [
        *asked.axes((10**n, n / DECADES) for n in range(DECADES + 1)),
        *back.axes((20 * n, n / TICKS) for n in range(TICKS + 1)),
    ]
    for (name, course), look in zip(courses.items(), LOOKS, strict=False):
        parts += asked.line(name, look, [log10(max(1, n)) / DECADES for n in course.asked])
        parts += back.line(name, look, [share / 100 for share in course.back])
    parts += _legend(courses)
    title = "After ten of a hundred socket servers died: questions per second, and who is back"
    return drawing(WIDTH, HEIGHT, title=title, words=_in_words(courses), parts=parts)


def _in_words(courses: Mapping[str, Course]) -> str:
    return " ".join(
        f"{name}: at most {max(course.asked, default=0):,} questions in a second; back after 1, 5, 10, 20 and 40 s: "
        f"{', '.join(f'{course.back[min(n, len(course.back)) - 1]:.0f}%' for n in (1, 5, 10, 20, 40))}."
        for name, course in courses.items()
    )


def _legend(names: Mapping[str, object]) -> Iterator[str]:
    for at, (name, (colour, dashes)) in enumerate(zip(names, LOOKS, strict=False)):
        x = LEFT + at * LEGEND_PX
        stroke = f'stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"'
        yield f'<path d="M{x} {LEGEND_Y - 4}h24" {stroke}/>'
        yield f'<text x="{x + 30}" y="{LEGEND_Y}">{escape(name)}</text>'


class _Panel:
    """One drawing area. Heights are shares of it, 0 to 1."""

    def __init__(self, name: str, left: int, seconds: int) -> None:
        self._name = name
        self._left = left
        self._seconds = seconds

    def _x(self, second: float) -> float:
        return self._left + PANEL * second / self._seconds

    def _y(self, share: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * share

    def axes(self, ticks: Iterator[tuple[int, float]]) -> Iterator[str]:
        yield f'<text class="name" x="{self._left}" y="{TOP - 12}">{escape(self._name)}</text>'
        for value, share in ticks:
            y = self._y(share)
            yield f'<path class="{"grid" if share else "axis"}" d="M{self._left} {y:.1f}h{PANEL}"/>'
            yield f'<text x="{self._left - 6}" y="{y + 4:.1f}" text-anchor="end">{value:,}</text>'
        for second in range(0, self._seconds + 1, self._seconds // TICKS):
            yield f'<text x="{self._x(second):.1f}" y="{BOTTOM + 18}" text-anchor="middle">{second}</text>'
        middle = self._left + PANEL / 2
        yield f'<text x="{middle:g}" y="{BOTTOM + 38}" text-anchor="middle">seconds after the servers died</text>'

    def line(self, name: str, look: tuple[str, str], shares: Sequence[float]) -> Iterator[str]:
        """A value for each second, drawn at its middle."""
        colour, dashes = look
        shown = shares[: self._seconds]
        places = " ".join(f"{self._x(n + 0.5):.1f},{self._y(share):.1f}" for n, share in enumerate(shown))
        stroke = f'stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"'
        yield f'<polyline class="{escape(name)}" points="{places}" fill="none" {stroke}/>'
