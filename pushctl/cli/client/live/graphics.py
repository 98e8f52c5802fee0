"""Real pictures in terminals that can show them: kitty's graphics protocol, and iTerm2's inline images.

Owns: which terminal can what, by the name that it gives itself (XTVERSION), and the escape sequences.
Promises: nothing of this is sent to a terminal that did not say one of these names, since others print it or take it
for a title. tmux and screen answer for themselves, so inside of them there are half blocks. Sixel is left out: no
well-kept library encodes it, and terminals that have it show half blocks.
Must not know: what else is on the screen, where pictures come from.

Sources: https://sw.kovidgoyal.net/kitty/graphics-protocol/, https://iterm2.com/documentation-images.html,
https://invisible-island.net/xterm/ctlseqs/ctlseqs.html (XTVERSION).
"""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import randrange
from typing import Final, Protocol

ASK_NAME: Final = "\x1b[>0q"
CHUNK: Final = 4096
MOST_IMAGES: Final = 128
"""In the terminal's memory at a time."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A picture at a place: row and column of its upper left cell from 0, its size in cells, its PNG."""

    row: int
    column: int
    columns: int
    rows: int
    png: bytes


class Graphics(Protocol):
    """How one kind of terminal shows pictures. Each call returns what to write to it."""

    def show(self, placed: Sequence[Placed], rewritten: set[int]) -> str:
        """These and no others. `rewritten`: the rows whose text was written just now."""
        ...

    def clear(self) -> str:
        """None any more, and nothing left in the terminal's memory."""
        ...


def graphics_of(name: str) -> Graphics | None:
    """By what the terminal calls itself; None if it is not known to show pictures."""
    if name.startswith(("kitty", "ghostty", "WezTerm")):
        return Kitty()
    return ITerm() if name.startswith("iTerm2") else None


class Kitty:
    """Each image is sent once; it lies above the text until its placement is deleted."""

    def __init__(self) -> None:
        # Ids are shared with whatever else ran in this window.
        self._next_id = randrange(2**16, 2**31)  # noqa: S311
        self._ids: dict[bytes, int] = {}
        self._placed: list[Placed] = []

    def show(self, placed: Sequence[Placed], rewritten: set[int]) -> str:
        if list(placed) == self._placed:
            return ""
        said = self.clear() if len(self._ids) > MOST_IMAGES else "".join(self._delete("i"))
        for each in placed:
            if each.png not in self._ids:
                self._ids[each.png] = self._next_id
                self._next_id += 1
                said += "".join(_transmit(self._ids[each.png], each.png))
            size = f"c={each.columns},r={each.rows}"
            said += f"{_at(each)}\x1b_Ga=p,q=2,C=1,i={self._ids[each.png]},{size}\x1b\\"
        self._placed = list(placed)
        return said

    def clear(self) -> str:
        said = "".join(self._delete("I"))
        self._ids.clear()
        self._placed = []
        return said

    def _delete(self, what: str) -> Iterable[str]:
        """`i`: the placements, `I`: the images too."""
        return (f"\x1b_Ga=d,q=2,d={what},i={number}\x1b\\" for number in self._ids.values())


class ITerm:
    """A picture is part of the cells: text written there takes it away."""

    def __init__(self) -> None:
        self._placed: frozenset[Placed] = frozenset()

    def show(self, placed: Sequence[Placed], rewritten: set[int]) -> str:
        new = [p for p in placed if p not in self._placed or rewritten & set(range(p.row, p.row + p.rows))]
        self._placed = frozenset(placed)
        return "".join(
            f"{_at(each)}\x1b]1337;File=inline=1;width={each.columns};height={each.rows};size={len(each.png)}:"
            f"{base64.b64encode(each.png).decode()}\a"
            for each in new
        )

    def clear(self) -> str:
        self._placed = frozenset()
        return ""


def _at(placed: Placed) -> str:
    return f"\x1b[{placed.row + 1};{placed.column + 1}H"


def _transmit(number: int, png: bytes) -> Iterable[str]:
    data = base64.b64encode(png).decode()
    for start in range(0, len(data), CHUNK):
        first = f"a=t,f=100,i={number}," if start == 0 else ""
        more = int(start + CHUNK < len(data))
        yield f"\x1b_G{first}q=2,m={more};{data[start : start + CHUNK]}\x1b\\"
