"""How long Python's collector stops a process.

Owns: the measuring. Promises: a look at the clock before and after each collection. Must not know: roles.
"""

import gc
import time
from collections.abc import Mapping
from typing import Final

from pushctl.tally import Tally

PAUSE_BOUNDS: Final = (0.0001, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Pauses:
    """How long Python's collector stops this process: the same for all roles in it."""

    def __init__(self) -> None:
        self.tallies = tuple(Tally(PAUSE_BOUNDS) for _ in range(3))
        """By generation."""
        self._began = 0.0

    def note(self, phase: str, info: Mapping[str, int]) -> None:
        """Python calls this before and after each collection."""
        now = time.perf_counter()
        if phase == "start":
            self._began = now
        elif self._began:
            self.tallies[info["generation"]].add(now - self._began)


_pauses = Pauses()


def collector_pauses() -> Pauses:
    """Of this process, measured from the first call on."""
    if _pauses.note not in gc.callbacks:
        gc.callbacks.insert(0, _pauses.note)
    return _pauses
