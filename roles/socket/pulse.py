"""Whether a device still answers: pings and pongs of one connection, without I/O.

Owns: when a ping is due, and when a missing pong is believed. Promises: whoever is kept from answering or from being
heard by us is not taken for dead. Must not know: WebSockets, how a connection ends.
"""

import math
import random


class Pulse:
    """All times are of one clock, in seconds."""

    __slots__ = ("_missed", "_next_ping", "_ping_seconds", "_pong_by", "_pong_seconds", "ping_due")

    def __init__(self, now: float, *, ping_seconds: float, pong_seconds: float) -> None:
        self._ping_seconds = ping_seconds
        self._pong_seconds = pong_seconds
        self._next_ping = now + ping_seconds * random.random()  # noqa: S311 - spread
        self._pong_by = math.inf
        self._missed = False
        self.ping_due = False

    def is_lost(self, now: float, *, excused: bool) -> bool:
        """Asked about once a second. True when the pong was overdue at the last look, too: at the first it may have
        come, and wait to be read, as we may just have been kept from running. `excused`: we do not listen ourselves."""
        if now < self._pong_by:
            if self._next_ping <= now:
                self._next_ping = now + self._ping_seconds
                self.ping_due = True
            return False
        if excused:
            self._pong_by = now + self._pong_seconds
            return False
        missed, self._missed = self._missed, True
        return missed

    @property
    def look_at(self) -> float:
        """When `is_lost` has something to say next, or to see to."""
        return min(self._pong_by, self._next_ping)

    def pinged(self, now: float) -> None:
        """A ping is about to be written."""
        self.ping_due = False
        self._pong_by = min(self._pong_by, now + self._pong_seconds)

    def ponged(self) -> None:
        self._pong_by, self._missed = math.inf, False
