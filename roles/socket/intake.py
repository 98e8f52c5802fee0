"""What a peer's frames may cost: the frames and bytes of a second.

Owns: the pace at which a peer is read. Promises: a peer that sends more than FRAMES_PER_SECOND, after FRAMES_AT_ONCE,
is read later: it fills its own buffers and nobody's time, and if it goes on for FLOOD_SECONDS it is to be closed. No
I/O, time is a parameter.
Must not know: WebSockets, what a message says.
"""

import math
from typing import Final

FRAMES_PER_SECOND: Final = 100
FRAMES_AT_ONCE: Final = 300
"""A device acknowledges in batches, five times a second at most, and marks many messages as read in one frame."""

BYTES_PER_FRAME: Final = 1024
"""A larger one counts as several: a frame of a thousand message ids costs the time of thousands of small frames."""

FLOOD_SECONDS: Final = 5
"""A peer that is ahead of its pace for so long means no good, or is broken."""


class TooFast(Exception):
    pass


class Pace:
    """When a peer may be read again."""

    __slots__ = ("_ahead_since", "_even_at")

    def __init__(self) -> None:
        self._ahead_since = math.inf
        self._even_at = 0.0
        """When all its frames so far are paid for."""

    def wait_seconds(self, frames: int, octets: int, now: float) -> float:
        """So much has come since the last look: how long to leave what else has come. Raises TooFast."""
        earliest = now - FRAMES_AT_ONCE / FRAMES_PER_SECOND
        counted = max(frames, octets / BYTES_PER_FRAME)
        self._even_at = max(self._even_at, earliest) + counted / FRAMES_PER_SECOND
        if self._even_at <= now:
            self._ahead_since = math.inf
            return 0.0
        self._ahead_since = min(self._ahead_since, now)
        if now - self._ahead_since > FLOOD_SECONDS:
            raise TooFast
        return min(self._even_at - now, FLOOD_SECONDS)
