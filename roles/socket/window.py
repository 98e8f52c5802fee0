"""Messages that a browser was sent and has not acknowledged: of one connection, without I/O.

Owns: how many there may be, and when that they stay means that nobody is at home. Must not know: whose they are.
"""

from collections.abc import Iterable

from pushctl.ids import MessageRef


class Window:
    def __init__(self, limit: int, *, stall_seconds: float) -> None:
        self._limit = limit
        self._stall_seconds = stall_seconds
        self._outstanding: dict[tuple[int, int], float] = {}
        """Since when."""
        self._full_since = 0.0

    @property
    def room(self) -> int:
        """How many more may be sent."""
        return self._limit - len(self._outstanding)

    def holds(self, ref: MessageRef) -> bool:
        return (ref.seq, ref.tag) in self._outstanding

    def sent(self, ref: MessageRef, now: float) -> None:
        self._outstanding[ref.seq, ref.tag] = now
        self._full_since = now

    def done(self, refs: Iterable[MessageRef], now: float) -> list[float]:
        """Acknowledged, with whatever code; what this connection was not sent, too. When those were sent that it was
        sent."""
        self._full_since = now
        sent = (self._outstanding.pop((ref.seq, ref.tag), None) for ref in refs)
        return [at for at in sent if at is not None]

    def wait_for(self, now: float) -> None:
        """It is no fault of the browser's that nothing happens."""
        self._full_since = now

    def is_stalled(self, now: float) -> bool:
        """Nothing more may be sent, and nothing was acknowledged for too long."""
        return self.room <= 0 and now - self._full_since > self._stall_seconds
