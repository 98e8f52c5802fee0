"""What is counted on the way of every message: plain numbers, without locks.

Owns: a histogram that costs a third of a microsecond, and what a link to Redis counts of itself. Promises: one thread
writes; nothing here waits, allocates per observation or grows with what is observed.
Must not know: who reads them (pushctl/metrics), what a lane or a message is.

The histogram of prometheus-client takes a lock twice and walks through its buckets: 2 µs, where a command to Redis
costs 4 µs altogether.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

QUICK_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds for what should be over at once, and is worth a look after a second."""


class Tally:
    """How often something took how long. `counts[n]`: observations above `bounds[n - 1]`, up to `bounds[n]`; the last:
    above all of them."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float] = QUICK_SECONDS) -> None:
        """`bounds`: rising."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, seconds: float, times: int = 1) -> None:
        """So many observations of the same value. A clock that stepped back gives 0, never less."""
        if seconds < 0.0:
            seconds = 0.0
        self.counts[bisect_left(self.bounds, seconds)] += times
        self.sum += seconds * times

    @property
    def count(self) -> int:
        return sum(self.counts)


# --- a link to Redis -------------------------------------------------------------------------------------------------

FAILURES: Final = ("away", "lost", "timeout", "overloaded", "refused", "not_confirmed")
"""Why questions failed: no connection, it broke meanwhile, the deadline passed, the queue is full, Redis answered
with an error, too few replicas confirmed."""

ERROR_WORDS: Final = frozenset(
    {"ASK", "BUSY", "CLUSTERDOWN", "CROSSSLOT", "ERR", "EXECABORT", "LOADING", "MASTERDOWN", "MISCONF", "MOVED"}
    | {"NOAUTH", "NOGROUP", "NOPERM", "NOREPLICAS", "NOSCRIPT", "NOTBUSY", "OOM", "READONLY", "TRYAGAIN", "UNBLOCKED"}
    | {"WRONGPASS", "WRONGTYPE"}
)
"""What error replies begin with. Whatever else comes is `other`: no metric is named by what a peer says."""


class LaneState(msgspec.Struct, frozen=True):
    """Of one lane to one master, right now: what waits to be sent, and what was sent and is not answered."""

    lane: str
    master: str
    connected: bool
    waiting: int
    waiting_bytes: int
    in_flight: int


class LaneTally(msgspec.Struct):
    """Of all lanes of a kind, to whichever master. `seconds`: from a command's sending to its reply; `confirm_seconds`:
    the same of WAIT, which follows a batch that replicas have to confirm."""

    commands: int = 0
    batches: int = 0
    reconnects: int = 0
    seconds: Tally = msgspec.field(default_factory=Tally)
    confirm_seconds: Tally = msgspec.field(default_factory=Tally)


class LinkTally:
    """Of one link. `state`: how its lanes stand right now; set by the link. `abandoned`: commands whose caller gave up;
    `hints_dropped`: hints that were not sent, as there was no room or no Redis."""

    def __init__(self) -> None:
        self.lanes: dict[str, LaneTally] = {}
        self.failures: Counter[str] = Counter(dict.fromkeys(FAILURES, 0))
        self.error_replies: Counter[str] = Counter()
        self.abandoned = 0
        self.hints_dropped = 0
        self.state: Callable[[], Iterable[LaneState]] = tuple

    @property
    def commands(self) -> int:
        return sum(lane.commands for lane in self.lanes.values())

    @property
    def batches(self) -> int:
        return sum(lane.batches for lane in self.lanes.values())

    @property
    def reconnects(self) -> int:
        return sum(lane.reconnects for lane in self.lanes.values())

    def lane(self, kind: str) -> LaneTally:
        return self.lanes.setdefault(kind, LaneTally())

    def error_reply(self, text: str) -> None:
        word = text.partition(" ")[0]
        self.error_replies[word if word in ERROR_WORDS else "other"] += 1
