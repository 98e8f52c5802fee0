"""Which one of a list is selected, while the list changes.

Owns: moving, and what becomes of the selection when its item goes.
Must not know: what the items are; they have ids.
"""

from collections.abc import Sequence


class Selection:
    """Of one list. `row` is where the selected one stands; 0 if none is."""

    def __init__(self) -> None:
        self.id: str | None = None
        self.row = 0

    def follow(self, ids: Sequence[str]) -> None:
        """The list is another now. The selection stays with its item; where that went away its neighbour takes over."""
        if self.id is not None and self.id not in ids:
            self.id = ids[min(self.row, len(ids) - 1)] if ids else None
        self.row = ids.index(self.id) if self.id is not None else 0

    def move(self, ids: Sequence[str], key: str, page: int) -> None:
        """By a key that moves. The first `up` or `down` only shows the selection, on the first item."""
        steps = {"up": -1, "down": 1, "page-up": -page, "page-down": page, "home": -len(ids), "end": len(ids)}
        if not ids or key not in steps:
            return
        step = 0 if self.id is None and key in ("up", "down") else steps[key]
        self.row = min(max(self.row + step, 0), len(ids) - 1)
        self.id = ids[self.row]


def window(row: int, length: int, room: int) -> range:
    """Which of so many rows are shown where there is room for some: around `row`."""
    first = min(max(row - room // 2, 0), max(length - room, 0))
    return range(first, min(first + room, length))
