"""Where the time of a process goes, as a drawing (chart.py): a flame graph of what py-spy saw, without any script.

    python -m tests.benchmarks.flames before.raw [after.raw] --to FILE.svg --title TEXT [--names before after]
                                      [--units N M] [--least 0.3]

py-spy is no part of the project (`pip install py-spy`, somewhere else). While the process works:

    py-spy record --format raw --rate 200 --duration 20 --output before.raw --pid PID

Each line of such a file is a stack that was seen, and how often; a process that waits is not looked at. Here a box is a
function, as wide as the share of samples in which it ran or had called what ran; above it is what it called. Stacks
begin with the function of a task: what lies below Trio's loop is the same for all. What runs outside of tasks (epoll,
the loop itself) stands on its own. Hovering over a box tells its name and share, if the drawing is opened by itself.

Two files are drawn one above the other at one scale. With `--units`, which says how many messages there were in each,
widths are samples for a message: what has become cheaper is narrower. Boxes narrower than `--least` percent of the
drawing are left out.

Owns: the raw format, what is left out, the layout. Must not know: what was measured.
"""

import argparse
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

from tests.benchmarks.chart import BLUE, GREEN, OCHRE, drawing

WIDTH, MARGIN = 1000, 10
TOP, HEAD_PX, BOX_PX = 30, 30, 17
LEGEND_X = 720
CHARACTER_PX = 6.6
SPACE_PX = 6
"""Beside a label, within its box."""

SHORTEST_LABEL = 4
"""Characters; with room for fewer there is none."""

COLOURS = {"pushctl": GREEN, "Trio": BLUE, "other libraries": OCHRE}
"""By whose function it is."""

SAID_PERCENT = 2
"""A root of such a share is named in words."""

_FRAME = re.compile(r"(.*) \((.*?)(?::\d+)?\)")
_LOOP = {("run", "trio/_core/_run.py"), ("unrolled_run", "trio/_core/_run.py")}

Function = tuple[str, str]
"""Its name, and the file that it is in, or nothing."""


@dataclass(slots=True)
class Box:
    """`samples`: of each file, in which it was on the stack."""

    samples: list[int]
    above: dict[Function, "Box"] = field(default_factory=dict)

    def add(self, stack: Iterable[Function], file: int, samples: int) -> None:
        self.samples[file] += samples
        box = self
        for function in stack:
            box = box.above.setdefault(function, Box([0] * len(self.samples)))
            box.samples[file] += samples


def function(frame: str) -> Function:
    """Wherever in it the process was."""
    found = _FRAME.fullmatch(frame)
    return (found[1], found[2]) if found else (frame, "")


def of_task(stack: Sequence[Function]) -> Sequence[Function]:
    """Without what lies below Trio's loop, and without the loop unless it was itself what ran."""
    at = max((n for n, each in enumerate(stack) if each in _LOOP), default=-1)
    return stack[at + 1 :] or stack[at:]


def merged(files: Sequence[Iterable[str]]) -> Box:
    """What lies below all roots. Each file is lines of py-spy's raw format."""
    ground = Box([0] * len(files))
    for n, lines in enumerate(files):
        for line in lines:
            stack, _, samples = line.rstrip().rpartition(" ")
            ground.add(of_task([function(frame) for frame in stack.split(";")]), n, int(samples))
    return ground


def chart(
    ground: Box, *, title: str, names: Sequence[str], messages: Sequence[int] = (), least_percent: float = 0.3
) -> str:
    """A panel for each file, one below the other, at one scale: of samples for a message, or of shares of a file."""
    per = messages or ground.samples
    most = max(samples / each for samples, each in zip(ground.samples, per, strict=True))
    least_px = least_percent * WIDTH / 100
    parts = [f'<text class="name" x="{MARGIN}" y="20">{escape(title)}</text>', *_legend()]
    words = []
    y = TOP
    for n, name in enumerate(names):
        said = f"{name}: {ground.samples[n]:,} samples"
        if messages:
            said += f", {1000 * ground.samples[n] / messages[n]:,.0f} for 1,000 messages"
        panel = _Panel(ground, n, (WIDTH - 2 * MARGIN) / most / per[n], least_px)
        parts.append(f'<text class="name" x="{MARGIN}" y="{y + HEAD_PX - 8}">{escape(said)}</text>')
        parts += panel.draw(y + HEAD_PX)
        words.append(f"{said}; {panel.in_words()}.")
        y += HEAD_PX + panel.height + MARGIN
    return drawing(WIDTH, y, title=title, words=" ".join(words), parts=parts)


def _legend() -> Iterator[str]:
    """At the right, beside the name of the first panel."""
    x, y = float(LEGEND_X), TOP + HEAD_PX - 8
    for name, colour in COLOURS.items():
        yield f'<path d="M{x:g} {y - 10}h12v12h-12z" fill="{colour}"/><text x="{x + 17:g}" y="{y}">{name}</text>'
        x += 40 + CHARACTER_PX * len(name)


def _whose(file: str) -> str:
    if file.startswith(("pushctl", "roles/")):
        return "pushctl"
    return "Trio" if file.startswith("trio/") else "other libraries"


class _Panel:
    """One of the files."""

    def __init__(self, ground: Box, file: int, scale: float, least_px: float) -> None:
        self._ground = ground
        self._file = file
        self._scale = scale
        self._least_px = least_px
        self._boxes = list(self._above(ground, MARGIN, 0))
        self.height = BOX_PX * (1 + max((depth for *_, depth in self._boxes), default=0))

    def in_words(self) -> str:
        shares = {name: self._percent(box) for (name, _), box in self._sorted(self._ground)}
        return ", ".join(f"{name} {share:.0f} %" for name, share in shares.items() if share >= SAID_PERCENT)

    def draw(self, top: int) -> Iterator[str]:
        yield '<g font-size="11">'
        for (name, file), box, x, depth in self._boxes:
            width, y = self._width(box), top + self.height - BOX_PX * (depth + 1)
            whole = f"{name} {file}".rstrip()
            # A hair of ground is left between two.
            look = f'width="{width - 1:.1f}" height="{BOX_PX - 1}" fill="{COLOURS[_whose(file)]}"'
            tip = f"<title>{escape(whole)}: {self._percent(box):.1f} %</title>"
            yield f'<rect x="{x:.1f}" y="{y}" {look}>{tip}</rect>'
            room = int((width - SPACE_PX) / CHARACTER_PX)
            if room >= SHORTEST_LABEL:
                label = next((text for text in (whole, name) if len(text) <= room), f"{name[: room - 1]}…")
                yield f'<text class="inside" x="{x + SPACE_PX / 2:.1f}" y="{y + 12}">{escape(label)}</text>'
        yield "</g>"

    def _above(self, box: Box, x: float, depth: int) -> Iterator[tuple[Function, Box, float, int]]:
        for what, each in self._sorted(box):
            if self._width(each) >= self._least_px:
                yield what, each, x, depth
                yield from self._above(each, x, depth + 1)
                x += self._width(each)

    def _sorted(self, box: Box) -> list[tuple[Function, Box]]:
        """The largest first, in the same order in all panels."""
        return sorted(box.above.items(), key=lambda item: sum(item[1].samples), reverse=True)

    def _width(self, box: Box) -> float:
        return box.samples[self._file] * self._scale

    def _percent(self, box: Box) -> float:
        return 100 * box.samples[self._file] / self._ground.samples[self._file]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="one, or two to compare")
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--title", required=True)
    parser.add_argument("--names", nargs="+", help="of the files; default: as they are called")
    parser.add_argument("--units", nargs="+", type=int, default=[], help="messages that each file's process took")
    parser.add_argument("--least", type=float, default=0.3, help="percent of the width; default: 0.3")
    options = parser.parse_args()
    names = options.names or [file.stem for file in options.files]
    if not len(names) == len(options.files) == len(options.units or names):
        parser.error("expected a name and a number of units for each file")
    ground = merged([file.read_text().splitlines() for file in options.files])
    if not all(ground.samples):
        parser.error("a file without samples: was the process busy?")
    options.to.write_text(
        chart(ground, title=options.title, names=names, messages=options.units, least_percent=options.least)
    )


if __name__ == "__main__":
    main()
