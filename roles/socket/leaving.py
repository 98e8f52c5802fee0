"""When a draining server wants a device to leave, and whether it has said so: of one connection, without I/O.

Owns: the two moments. Must not know: the pace of a drain (draining.py), how a connection ends.
"""

import math


class Leaving:
    """`by`: when the device is closed if it did not go. All times are of one clock, in seconds."""

    __slots__ = ("_at", "_said", "by")

    def __init__(self) -> None:
        self._at = self.by = math.inf
        self._said = True

    def ask(self, at: float, by: float) -> None:
        self._at, self.by, self._said = at, by, False

    def take_back(self) -> None:
        """It may stay, unless it goes by itself: what was said cannot be taken back."""
        self._at, self.by, self._said = math.inf, math.inf, True

    @property
    def was_asked(self) -> bool:
        return self.by < math.inf

    def to_say(self, now: float) -> int | None:
        """After how many ms the device is to come back: once, when it has not been told yet."""
        if self._said:
            return None
        self._said = True
        return max(0, int((self._at - now) * 1000))
