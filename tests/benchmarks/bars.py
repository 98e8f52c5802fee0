"""Costs that are sums as a drawing (chart.py): a bar for each row, with a part for each process.

Must not know: what costs, and how it was measured.
"""

from collections.abc import Iterator, Mapping
from xml.sax.saxutils import escape

from tests.benchmarks.chart import BLUE, GREEN, GREY, OCHRE, RED, TEAL, TICKS, VIOLET, drawing, nice
from tests.benchmarks.rig import us

WIDTH = 760
TOP, BAR_PX, GAP_PX = 40, 22, 10
TOTAL_PX = 50
"""To the right of the longest, for its total."""

CHARACTER_PX = 6.6
"""Of a label, on average and with room to spare."""

COLOURS = (RED, OCHRE, BLUE, VIOLET, GREEN, TEAL, GREY)

Row = Mapping[str, float]
"""What each part takes."""


def chart(rows: Mapping[str, Row], *, title: str, unit: str) -> str:
    """Bars at one scale, one below the other; what a part takes is written into it where there is room. Names of parts
    are no more than COLOURS."""
    names = dict.fromkeys(name for row in rows.values() for name in row)
    bars = _Bars(rows, dict(zip(names, COLOURS, strict=False)))
    heading = f'<text class="name" x="10" y="20">{escape(title)}</text>'
    parts = [heading, *bars.axis(unit), *bars.draw(), *bars.legend()]
    return drawing(WIDTH, bars.bottom + 70, title=title, words=_in_words(rows, unit), parts=parts)


def _in_words(rows: Mapping[str, Row], unit: str) -> str:
    said = (
        f"{name}: {us(sum(row.values()))} ({', '.join(f'{part} {us(value)}' for part, value in row.items())})."
        for name, row in rows.items()
    )
    return f"{unit}. {' '.join(said)}"


class _Bars:
    def __init__(self, rows: Mapping[str, Row], colours: Mapping[str, str]) -> None:
        self._rows = rows
        self._colours = colours
        self._left = round(20 + CHARACTER_PX * max(map(len, rows)))
        self._longest = max(sum(row.values()) for row in rows.values())
        self.bottom = TOP + len(rows) * (BAR_PX + GAP_PX)

    def _px(self, value: float) -> float:
        return (WIDTH - TOTAL_PX - self._left) * value / self._longest

    def axis(self, unit: str) -> Iterator[str]:
        step = nice(self._longest) / TICKS
        for n in range(int(self._longest / step) + 1):
            value = n * step
            x = self._left + self._px(value)
            yield f'<path class="{"grid" if n else "axis"}" d="M{x:.1f} {TOP - 6}V{self.bottom}"/>'
            yield f'<text x="{x:.1f}" y="{self.bottom + 16}" text-anchor="middle">{value:,g}</text>'
        yield f'<text x="{self._left}" y="{self.bottom + 34}">{escape(unit)}</text>'

    def draw(self) -> Iterator[str]:
        for at, (name, row) in enumerate(self._rows.items()):
            y = TOP + at * (BAR_PX + GAP_PX)
            yield f'<text x="{self._left - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>'
            x = float(self._left)
            for part, value in row.items():
                yield from self._part(part, value, x, y)
                x += self._px(value)
            yield f'<text class="total" x="{x + 6:.1f}" y="{y + 15}">{us(sum(row.values()))}</text>'

    def _part(self, name: str, value: float, x: float, y: float) -> Iterator[str]:
        width = self._px(value)
        said = f"{name} {us(value)}"
        look = f'height="{BAR_PX}" fill="{self._colours[name]}"'
        yield f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" {look}><title>{escape(said)}</title></rect>'
        fitting = [text for text in (said, us(value)) if len(text) * CHARACTER_PX + 6 <= width]
        if fitting:
            middle = x + width / 2
            yield f'<text class="inside" x="{middle:.1f}" y="{y + 15}" text-anchor="middle">{escape(fitting[0])}</text>'

    def legend(self) -> Iterator[str]:
        x, y = float(self._left), self.bottom + 48
        for name, colour in self._colours.items():
            yield f'<path d="M{x:.1f} {y}h12v12h-12z" fill="{colour}"/>'
            yield f'<text x="{x + 17:.1f}" y="{y + 10}">{escape(name)}</text>'
            x += 40 + CHARACTER_PX * len(name)
