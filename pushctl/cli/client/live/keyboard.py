"""What a terminal sends us, as keys: bytes in, presses, pastes and the terminal's name out. No I/O.

Owns: the escape sequences of keys, bracketed paste, and the answer to XTVERSION.
Promises: whatever comes and however it is cut into pieces, nothing is raised, no answer of the terminal and nothing
pasted is taken for a key, and no more than LIMIT bytes are kept.
Must not know: what a key does.
"""

import re
from dataclasses import dataclass
from typing import Final

LIMIT: Final = 8192


@dataclass(frozen=True, slots=True)
class Press:
    """A character, or the name of a key such as `up` or `enter`."""

    key: str


@dataclass(frozen=True, slots=True)
class Paste:
    """Text that was pasted, not typed."""

    text: str


@dataclass(frozen=True, slots=True)
class Named:
    """What the terminal calls itself, such as `kitty(0.32.2)` or `tmux 3.4`."""

    name: str


Input = Press | Paste | Named

_NAMES: Final = {
    b"\r": "enter",
    b"\n": "enter",
    b"\t": "tab",
    b"\x7f": "backspace",
    b"\x08": "backspace",
    b"\x0c": "ctrl-l",
    b"\x15": "ctrl-u",
    b"\x17": "ctrl-w",
    b"\x1b[Z": "tab",
    **{start + end: name for start in (b"\x1b[", b"\x1bO") for end, name in ((b"A", "up"), (b"B", "down"))},
    **{start + end: name for start in (b"\x1b[", b"\x1bO") for end, name in ((b"C", "right"), (b"D", "left"))},
    **{start + end: name for start in (b"\x1b[", b"\x1bO") for end, name in ((b"H", "home"), (b"F", "end"))},
    b"\x1b[1~": "home",
    b"\x1b[4~": "end",
    b"\x1b[5~": "page-up",
    b"\x1b[6~": "page-down",
}
_SEQUENCE: Final = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1bO[A-Za-z]")
_BEGUN: Final = re.compile(rb"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}|O|P>?)?")
_PASTE: Final = (b"\x1b[200~", b"\x1b[201~")
_NAME: Final = (b"\x1bP>|", b"\x1b\\")


class Decoder:
    """Of one terminal."""

    def __init__(self) -> None:
        self._kept = b""

    @property
    def waits(self) -> bool:
        """Whether only silence can tell if what came last was the Escape key or the beginning of another one."""
        return self._kept == b"\x1b"

    def silence(self) -> list[Input]:
        """Nothing followed: it was the Escape key."""
        if not self.waits:
            return []
        self._kept = b""
        return [Press("escape")]

    def feed(self, data: bytes) -> list[Input]:
        """What is complete now, in order."""
        self._kept += data
        found: list[Input] = []
        while self._kept:
            length, what = self._first()
            if not length:
                break
            self._kept = self._kept[length:]
            if what is not None:
                found.append(what)
        return found

    def _first(self) -> tuple[int, Input | None]:
        """How many bytes make up the first of what is kept, and what it is; 0 if more must come."""
        kept = self._kept
        for (begin, end), kind in ((_PASTE, Paste), (_NAME, Named)):
            if kept.startswith(begin):
                return self._enclosed(begin, end, kind)
        if kept[0] != 0x1B:
            return self._character()
        sequence = _SEQUENCE.match(kept)
        if sequence is not None:
            name = _NAMES.get(sequence[0])
            return sequence.end(), Press(name) if name else None
        return (0, None) if _BEGUN.fullmatch(kept) else (1, Press("escape"))

    def _enclosed(self, begin: bytes, end: bytes, kind: type[Paste] | type[Named]) -> tuple[int, Input | None]:
        stop = self._kept.find(end, len(begin))
        if stop < 0:
            if len(self._kept) > LIMIT:
                # Its end may be half there.
                self._kept = self._kept[:LIMIT] + self._kept[-len(end) :]
            return 0, None
        return stop + len(end), kind(self._kept[len(begin) : stop][:LIMIT].decode(errors="replace"))

    def _character(self) -> tuple[int, Input | None]:
        lead = self._kept[0]
        if lead < 0x80:
            name = _NAMES.get(self._kept[:1])
            printable = lead >= 0x20
            return 1, Press(name) if name else Press(chr(lead)) if printable else None
        length = 2 if 0xC2 <= lead < 0xE0 else 3 if 0xE0 <= lead < 0xF0 else 4 if 0xF0 <= lead < 0xF5 else 1
        if len(self._kept) < length:
            return 0, None
        try:
            return length, Press(self._kept[:length].decode())
        except UnicodeDecodeError:
            return 1, None
