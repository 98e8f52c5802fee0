"""Those who were refused and are to come again: when, so that they do not come together.

Owns: the appointments. Promises: no more of them fall into one second than clients may arrive in it, so that the more
wait the longer is the wait, up to LONGEST_SECONDS; whoever asks before its time keeps its appointment and moves nobody
else's. Memory is bounded. No I/O, time is a parameter.
Must not know: why somebody was refused.
"""

import random
from math import ceil
from typing import Final

SHORTEST_SECONDS: Final = 2.0
"""About a heartbeat: before that nothing new is known."""

SPREAD_SECONDS: Final = 3.0
"""Of each appointment, at random: a few who were refused together come apart, too."""

LONGEST_SECONDS: Final = 300.0
"""When more wait than fit into this time, they come at any time in the second half of it."""

MAX_APPOINTMENTS: Final = 100_000
"""Remembered; the oldest are forgotten, and who asks too early then gets another."""


class Waiting:
    def __init__(self, per_second: float, chance: random.Random | None = None) -> None:
        self._seconds_each = 1 / per_second
        self._chance = chance or random.SystemRandom()
        self._last = 0.0
        """how far appointments are given"""
        self._due: dict[str, float] = {}
        """by client, in the order in which they were made"""

    def __len__(self) -> int:
        """Appointments remembered."""
        return len(self._due)

    def seconds(self, who: str, now: float) -> int:
        """`who` was refused: how many seconds it is to wait, as Retry-After says it."""
        due = self._due.get(who, now)
        if due <= now:
            due = self._appointment(now)
            self._due.pop(who, None)
            self._due[who] = due
            self._forget(now)
        return max(1, ceil(due - now))

    def _appointment(self, now: float) -> float:
        self._last = max(self._last + self._seconds_each, now + SHORTEST_SECONDS)
        if self._last > now + LONGEST_SECONDS:
            self._last = now + LONGEST_SECONDS
            return now + LONGEST_SECONDS * self._chance.uniform(0.5, 1)
        return min(self._last + SPREAD_SECONDS * self._chance.random(), now + LONGEST_SECONDS)

    def _forget(self, now: float) -> None:
        """What is over, as far as it is at hand, and what is too much."""
        for _ in range(2):
            who, due = next(iter(self._due.items()))
            if due > now and len(self._due) <= MAX_APPOINTMENTS:
                return
            del self._due[who]
