"""Whether the loops that a role cannot do without still make steps, and how late the event loop is.

Owns: what each loop last did, and the one sample of how late the event loop comes, for all who ask: health, the role's
load, its metrics. Promises: two samples a second, whoever asks; an instrument of Trio's would look at each step of each
task. A loop counts as stuck only after the event loop turned for `patience_seconds`
without a step of it; time in which the whole process did not run (stopped, or its machine asleep) counts as one tick,
so nobody is restarted for having been frozen. Waiting for what may be long away, Redis above all, is no standstill: a
loop says so (`idle`).
Must not know: what loops do; who asks.
"""

import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import trio

from pushctl.reasons import Code, Reason

TICK_SECONDS: Final = 0.5
"""Between two samples, as a rule."""

KEPT_SECONDS: Final = 10
"""How far back `latest_seconds` looks."""

PATIENCE_SECONDS: Final = 30.0
"""Longer than any step may take whose questions all run into their deadlines."""

LATE_SECONDS: Final = 1.0
"""Twice in a row the event loop came so much too late: it has more to do than it can."""


class Loop:
    """One loop, told of by itself: `turn` at every step. One that has ended makes no step, either."""

    __slots__ = ("_now", "_since", "name")

    def __init__(self, name: str) -> None:
        """`name`: as an operator should read it, with its article."""
        self.name = name
        self._now = 0.0
        """Seconds that the event loop turned, as it was told last."""
        self._since: float | None = None

    def turn(self) -> None:
        """A step was made, or begins."""
        self._since = self._now

    @contextmanager
    def idle(self) -> Iterator[None]:
        """Inside, nothing is to be done, or cannot be done, and nobody knows for how long."""
        self._since = None
        try:
            yield
        finally:
            self.turn()

    def tick(self, now: float) -> None:
        self._now = now

    @property
    def still_for(self) -> float:
        """Seconds since its last step; 0 while it is idle."""
        return 0.0 if self._since is None else self._now - self._since


class Liveness:
    """Of one role. `run` it in a nursery."""

    def __init__(self, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self.patience_seconds = patience_seconds
        self._turned_seconds = 0.0
        self._loops: list[Loop] = []
        self._late: deque[float] = deque(maxlen=round(KEPT_SECONDS / TICK_SECONDS))
        """In seconds, the newest last."""
        self._told: list[Callable[[float], None]] = []

    def watch(self, *loops: Loop) -> None:
        """From now on they have to make steps."""
        for loop in loops:
            loop.tick(self._turned_seconds)
            loop.turn()
        self._loops += loops

    def forget(self, loop: Loop) -> None:
        """It is needed no more."""
        self._loops.remove(loop)

    def tell(self, late: Callable[[float], None]) -> None:
        """Have it called with every sample: seconds."""
        self._told.append(late)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            # Not in step with loops that come every second: they would always, or never, be what is waited for.
            pause = TICK_SECONDS * random.uniform(0.8, 1.2)  # noqa: S311 - spread
            due = trio.current_time() + pause
            await trio.sleep_until(due)
            self._turned_seconds += pause
            self._late.append(trio.current_time() - due)
            for late in self._told:
                late(self._late[-1])
            for loop in self._loops:
                loop.tick(self._turned_seconds)

    @property
    def late_seconds(self) -> float:
        """How much too late the event loop came, the last two times: the smaller one, for anything may freeze once."""
        return min(self._late[-1], self._late[-2]) if len(self._late) > 1 else 0.0

    def latest_seconds(self) -> float:
        """The most that it was late in the last KEPT_SECONDS."""
        return max(self._late, default=0.0)

    def stuck(self) -> list[Reason]:
        """Loops that make no steps any more. A restart helps; nothing else does."""
        return [
            Reason(
                Code.TASK_STUCK,
                f"{loop.name} has made no step for {loop.still_for:.0f} s, or has ended: restart this role, and report "
                "what its log said",
            )
            for loop in self._loops
            if loop.still_for > self.patience_seconds
        ]

    def late(self) -> list[Reason]:
        """Whether the process keeps up."""
        if self.late_seconds <= LATE_SECONDS:
            return []
        return [
            Reason(
                Code.LOOP_LATE,
                f"the event loop is {self.late_seconds:.1f} s late: this process has more to do than one core can; "
                "start another of its role, or take something else off this machine",
            )
        ]
