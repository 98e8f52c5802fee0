"""Whether a process comes to its work: how late its event loop is, how long Python's collector stops it.

Owns: the measuring of both. Promises: a sample twice a second, and a look at the clock before and after each
collection; an instrument of Trio's would look at each step of each task. Must not know: roles.
"""

import gc
import random
import time
from collections.abc import Mapping
from typing import Final

import trio

from pushctl.tally import Tally

SAMPLE_SECONDS: Final = 0.5

PAUSE_BOUNDS: Final = (0.0001, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


async def sample_lag(lag: Tally) -> None:
    """Until cancelled: how much later than asked for this task is woken, as everybody else is at that moment."""
    while True:
        # Not in step with loops that come every second: they would always, or never, be what is waited for.
        due = trio.current_time() + SAMPLE_SECONDS * random.uniform(0.8, 1.2)  # noqa: S311 - spread
        await trio.sleep_until(due)
        lag.add(trio.current_time() - due)


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
