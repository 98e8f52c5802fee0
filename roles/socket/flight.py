"""Messages that were written to a device and that it has not acknowledged: how many, and since when. No I/O.

Owns: these. Promises: bounded memory, whatever a device acknowledges; each message is counted once. Must not know: what
the messages are, clocks.
"""

MAX_RUNS = 64
"""Moments remembered apart; beyond it, what is written counts as written with the last of them."""


class Flight:
    __slots__ = ("_runs",)

    def __init__(self) -> None:
        self._runs: list[tuple[int, int, float]] = []
        """(up to which sequence number, how many messages, written when), oldest first."""

    def written(self, seq: int, messages: int, now: float) -> None:
        """So many messages, up to this place in the log, are being written."""
        runs = self._runs
        if not messages:
            return
        if runs and seq < runs[-1][0]:  # a log that began anew: nobody acknowledges the old one any more
            runs.clear()
        if len(runs) < MAX_RUNS:
            runs.append((seq, messages, now))
        else:
            _, before, since = runs[-1]
            runs[-1] = (seq, before + messages, since)

    def acknowledged(self, seq: int) -> list[tuple[int, float]]:
        """All up to there are safe: (how many messages, written when)."""
        done = 0
        for upto, _, _ in self._runs:
            if upto > seq:
                break
            done += 1
        gone = [(messages, at) for _, messages, at in self._runs[:done]]
        del self._runs[:done]
        return gone
