"""The whole terminal as a sheet of lines: what is new on it is written, nothing else.

Owns: the alternate screen, and what stands on it.
Promises: a frame costs the lines that differ from the one before (rich's Live writes all of them, which is slow over
ssh and makes pictures flicker); nothing wraps or scrolls, whatever width a terminal gives to a character; `close` gives
the terminal back as it was; both may be done twice.
Must not know: keys, what the lines say.
"""

import base64
import errno
import os
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.style import Style
from rich.text import Text

from pushctl.cli.client.live.graphics import ASK_NAME, Graphics, Placed, graphics_of
from pushctl.cli.client.live.icons import Picture

_OPEN: Final = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[?2004h\x1b[2J"
"""The other screen, no cursor, no wrapping, pastes told apart from typing."""
_CLOSE: Final = "\x1b[0m\x1b[?2004l\x1b[?7h\x1b[?25h\x1b[?1049l"
_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"
"""Shown at once, by terminals that know this; others ignore it."""

_PICTURE: Final = "picture"
ENOUGH_COLOURS: Final = ("256", "truecolor")

Shape = tuple[str, object, object]
"""What tells a line from another: text, style, spans."""


def place(picture: Picture, columns: int, rows: int) -> list[Text]:
    """Lines of blanks that a picture is to cover."""
    mark = Style(meta={_PICTURE: (columns, rows, picture.png)})
    return [Text(" " * columns, mark), *(Text(" " * columns) for _ in range(rows - 1))]


class Canvas:
    """Of one terminal. Lines that `draw` is given have to fit."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._graphics: Graphics | None = None
        self._shown: list[Shape] = []
        self._is_open = False

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        return self._console.size

    @property
    def pictures(self) -> bool:
        """Whether the terminal said to be one that shows them."""
        return self._graphics is not None

    @property
    def blocks(self) -> bool:
        """Whether it has colours enough for half blocks."""
        return not self._console.no_color and self._console.color_system in ENOUGH_COLOURS

    def named(self, name: str) -> None:
        """What the terminal calls itself."""
        if self._graphics is None and not self._console.no_color:
            self._graphics = graphics_of(name)

    def open(self) -> None:
        if not self._is_open:
            self._is_open = True
            # Before anything is drawn: a terminal that prints the question would have it covered at once.
            self._write(ASK_NAME + _OPEN)

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._shown = []
            self._write((self._graphics.clear() if self._graphics else "") + _CLOSE)

    def forget(self) -> None:
        """What is there may be anything: draw all of it again."""
        if self._is_open:
            self._shown = []
            self._write((self._graphics.clear() if self._graphics else "") + "\x1b[2J")

    def copy(self, text: str) -> None:
        """Into the clipboard of whoever sits at the terminal, if it takes that (OSC 52)."""
        self._write(f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\a")

    def draw(self, lines: Sequence[Text]) -> None:
        if not self._is_open:
            return
        shapes: list[Shape] = [(line.plain, line.style, tuple(line.spans)) for line in lines]
        before = dict(enumerate(self._shown))
        changed = [row for row, shape in enumerate(shapes) if shape != before.get(row)]
        # Erased first: afterwards the cursor may stand on the last character.
        said = "".join(f"\x1b[{row + 1};1H\x1b[0m\x1b[2K{self._coded(lines[row])}" for row in changed)
        if self._graphics is not None:
            said += self._graphics.show(_pictures(lines), set(changed))
        self._shown = shapes
        if said:
            self._write(_BEGIN + said + _END)

    def _coded(self, line: Text) -> str:
        with self._console.capture() as coded:
            self._console.print(line, soft_wrap=True, end="")
        return coded.get()

    def _write(self, said: str) -> None:
        try:
            self._console.file.write(said)
            self._console.file.flush()
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            # The terminal has gone, which whoever reads its keys finds out; what is left to write goes nowhere.
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), self._console.file.fileno())


def _pictures(lines: Sequence[Text]) -> list[Placed]:
    """Those that still have all of their cells."""
    found = []
    for row, line in enumerate(lines):
        for start, end, style in line.spans:
            if isinstance(style, Style) and _PICTURE in style.meta:
                columns, rows, png = style.meta[_PICTURE]
                if end - start == columns and row + rows <= len(lines):
                    found.append(Placed(row, Text(line.plain[:start]).cell_len, columns, rows, png))
    return found
