"""What the drawings of benchmarks share: SVG, written by hand.

Owns: looks, scales, labels that keep clear of each other. Promises: well-formed; readable on light and on dark ground,
in colour and without; what a drawing shows is also said in words (title, desc). Must not know: what is drawn.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import ceil, log10
from xml.sax.saxutils import escape

LABEL_PX = 14
"""Between two labels of lines, at least."""

TICKS = 5

# Neither is drawn for one ground only: each has a contrast of 3 or more on white and on near black.
RED, BLUE, GREEN, OCHRE, VIOLET = "#d1603d", "#3d85c6", "#5a9a57", "#a8802a", "#9a6fc4"
TEAL, GREY = "#2f9696", "#7f8891"

_STYLE = """
  svg { color: #59636e; font: 12px system-ui, sans-serif }
  @media (prefers-color-scheme: dark) { svg { color: #9da7b1 } }
  text { fill: currentColor } .name { font-size: 14px; font-weight: 600 }
  .inside { fill: #000; pointer-events: none }
  .axis { stroke: currentColor } .grid { stroke: currentColor; stroke-opacity: .2 }
"""


def drawing(width: int, height: int, *, title: str, words: str, parts: Iterable[str]) -> str:
    """A whole document. `words`: what it shows, for whoever does not see it."""
    size = f'viewBox="0 0 {width} {height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title desc">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="desc">{escape(words)}</desc>',
        f"<style>{_STYLE}</style>",
        *parts,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def nice(largest: float) -> float:
    """The end of a scale that has room for this: TICKS round steps."""
    step = largest / TICKS
    unit = 10.0 ** (ceil(log10(step)) - 1)
    return TICKS * unit * next(n for n in (1, 2, 2.5, 5, 10) if n * unit >= step * (1 - 1e-9))


def apart(places: Sequence[float], lowest: float) -> list[float]:
    """Rising places, moved as little as needed to be LABEL_PX apart, and none below the lowest."""
    found = list(places)
    for n in range(1, len(found)):
        found[n] = max(found[n], found[n - 1] + LABEL_PX)
    limit = lowest
    for n in reversed(range(len(found))):
        found[n] = min(found[n], limit)
        limit = found[n] - LABEL_PX
    return found


def labels(x: float, ends: Mapping[str, float], colours: Mapping[str, str], lowest: float) -> Iterable[str]:
    """The names of lines, each beside the end of its line (`ends`: where that is), and clear of the others."""
    for name, y in zip(sorted(ends, key=ends.__getitem__), apart(sorted(ends.values()), lowest), strict=True):
        yield f'<text x="{x:g}" y="{y:.1f}" style="fill: {colours[name]}">{escape(name)}</text>'
