"""The costs of the routing strategies as a drawing (chart.py).

Must not know: how anything was measured.
"""

from collections.abc import Iterable, Iterator, Mapping
from xml.sax.saxutils import escape

from tests.benchmarks.chart import BLUE, GREEN, RED, TICKS, drawing, labels, nice
from tests.benchmarks.routing_report import Curve

WIDTH, HEIGHT = 760, 340
TOP, BOTTOM = 50, 280
LEFT, PANEL, GAP = 60, 240, 130

LOOKS = {
    "rpc": (RED, "none", "circle"),
    "channel": (BLUE, "7 4", "square"),
    "broadcast": (GREEN, "2 4", "diamond"),
}
"""Of each line: colour, dashes, marks."""

PANELS = {
    "sparse": "sparse: each user on one server",
    "dense": "dense: each user on every server",
}


def chart(by_density: Mapping[str, Mapping[str, Curve]]) -> str:
    """Panels side by side with one scale: servers to the right (doubling evenly), µs of CPU per delivery upwards."""
    top = nice(max(y for curves in by_density.values() for curve in curves.values() for _, y in curve))
    panels = [
        line
        for at, (density, curves) in enumerate(by_density.items())
        for line in _Panel(density, LEFT + at * (PANEL + GAP), top, curves).draw()
    ]
    heading = f'<text x="{LEFT - 45}" y="20">µs of CPU per delivered message: router, socket servers and Redis</text>'
    return drawing(
        WIDTH,
        HEIGHT,
        title="CPU per delivered message of the routing strategies, by number of socket servers",
        words=_in_words(by_density),
        parts=[heading, *panels],
    )


def _in_words(by_density: Mapping[str, Mapping[str, Curve]]) -> str:
    return " ".join(
        f"{density}, {strategy}: {', '.join(f'{y:.0f} µs with {x}' for x, y in curve)}."
        for density, curves in by_density.items()
        for strategy, curve in curves.items()
    )


class _Panel:
    """One drawing area. `left`: where it begins; `top`: the value at its upper edge."""

    def __init__(self, density: str, left: int, top: float, curves: Mapping[str, Curve]) -> None:
        self._density = density
        self._left = left
        self._top = top
        self._curves = curves
        self._servers = sorted({x for curve in curves.values() for x, _ in curve})

    def draw(self) -> Iterator[str]:
        yield "<g>"
        yield f'<text class="name" x="{self._left}" y="{TOP - 8}">{escape(PANELS[self._density])}</text>'
        yield from self._axes()
        for strategy, curve in self._curves.items():
            yield from self._series(strategy, curve)
        yield from self._labels()
        yield "</g>"

    def _x(self, servers: int) -> float:
        return self._left + 15 + (PANEL - 30) * self._servers.index(servers) / max(1, len(self._servers) - 1)

    def _y(self, value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * value / self._top

    def _axes(self) -> Iterator[str]:
        right = self._left + PANEL
        for n in range(TICKS + 1):
            value = self._top * n / TICKS
            y = self._y(value)
            yield f'<path class="{"grid" if n else "axis"}" d="M{self._left} {y:.1f}H{right}"/>'
            yield f'<text x="{self._left - 6}" y="{y + 4:.1f}" text-anchor="end">{value:,g}</text>'
        for servers in self._servers:
            yield f'<text x="{self._x(servers):.1f}" y="{BOTTOM + 18}" text-anchor="middle">{servers}</text>'
        middle = self._left + PANEL / 2
        yield f'<text x="{middle:g}" y="{BOTTOM + 38}" text-anchor="middle">socket servers</text>'

    def _series(self, strategy: str, curve: Curve) -> Iterator[str]:
        colour, dashes, mark = LOOKS[strategy]
        places = [(self._x(x), self._y(y)) for x, y in curve]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        yield f'<g id="{self._density}-{strategy}" stroke="{colour}" fill="{colour}">'
        yield f'<polyline points="{line}" fill="none" stroke-width="2" stroke-dasharray="{dashes}"/>'
        yield from (_mark(mark, x, y) for x, y in places)
        yield "</g>"

    def _labels(self) -> Iterable[str]:
        ends = {strategy: self._y(curve[-1][1]) + 4 for strategy, curve in self._curves.items()}
        return labels(self._left + PANEL + 4, ends, {name: look[0] for name, look in LOOKS.items()}, BOTTOM)


def _mark(kind: str, x: float, y: float) -> str:
    if kind == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
    turn = f' transform="rotate(45 {x:.1f} {y:.1f})"' if kind == "diamond" else ""
    return f'<rect x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7"{turn}/>'
