"""Whether a device still answers: pings and pongs of one connection, without I/O.

Owns: when a ping is due, and when a missing pong is believed. Promises: whoever is kept from answering or from being
heard by us is not taken for dead; nor need a peer take us for dead, however much it says that has no answer: a ping is
put off by that once. Must not know: WebSockets, how a connection ends.
"""

import math
import random


class Pulse:
    """All times are of one clock, in seconds."""

    __slots__ = ("_heard_at", "_missed", "_next_ping", "_pong_by", "_pong_seconds", "_put_off", "_silence", "ping_due")

    def __init__(self, now: float, *, ping_seconds: float, pong_seconds: float) -> None:
        # A little longer than a peer waits that pings by itself, which then has nothing to answer; and not all at once.
        self._silence = ping_seconds * random.uniform(1, 1.1)  # noqa: S311 - spread
        self._pong_seconds = pong_seconds
        self._heard_at = now
        self._next_ping = now + self._silence
        self._pong_by = math.inf
        self._missed = False
        self._put_off = False
        """The ping that is next was due before, since the peer last heard one, or a pong."""
        self.ping_due = False

    def heard(self, now: float) -> None:
        """The peer said something, whatever it is: nobody need ask it whether it is there."""
        self._heard_at = now

    def is_lost(self, now: float, *, excused: bool) -> bool:
        """Asked about once a second. True when the pong was overdue at the last look, too: at the first it may have
        come, and wait to be read, as we may just have been kept from running. `excused`: we do not listen ourselves."""
        if now < self._pong_by:
            if self._next_ping <= now:
                self._plan_ping(now)
            return False
        if excused:
            self._pong_by = now + self._pong_seconds
            return False
        missed, self._missed = self._missed, True
        return missed

    def _plan_ping(self, now: float) -> None:
        """Now, or when the peer will have said nothing for long enough."""
        since = self._heard_at + self._silence
        if since <= now or self._put_off:
            self._next_ping = now + self._silence
            self.ping_due = True
        else:
            self._next_ping = since
            self._put_off = True

    @property
    def look_at(self) -> float:
        """When `is_lost` has something to say next, or to see to."""
        return min(self._pong_by, self._next_ping)

    def pinged(self, now: float) -> None:
        """A ping is about to be written."""
        self.ping_due = self._put_off = False
        self._pong_by = min(self._pong_by, now + self._pong_seconds)

    def ponged(self) -> None:
        self._pong_by, self._missed = math.inf, False

    def answered(self) -> None:
        """A pong is about to be written: whoever pings by itself knows that we are here."""
        self._put_off = False
