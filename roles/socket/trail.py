"""The steps of followed messages on one connection: `deliver`, and `acknowledge` for as long as the device takes.

Owns: which deliveries wait for an acknowledgement, at most MAX_WAITING. Promises: a message that nobody follows costs a
look at an empty context. A delivery within FRESH_MS of the message's acceptance is a step of its trace; a later one, to
a device that was away, begins a trace of its own with a link to it: a backend has closed the old one long ago.
Must not know: frames, sockets.
"""

from collections.abc import Collection, Iterable
from contextlib import ExitStack
from typing import Final

from pushctl.traces import NOTHING, OFF, Span, Traces

MAX_WAITING: Final = 64
"""Past it the oldest is not followed to its end."""

FRESH_MS: Final = 60_000


class Trail:
    __slots__ = ("_protocol", "_traces", "_waiting")

    @classmethod
    def of(cls, traces: Traces, protocol: str) -> "Trail":
        """Of one connection; while nothing is followed at all, they share one."""
        return _NOBODYS if traces is OFF else cls(traces, protocol)

    def __init__(self, traces: Traces, protocol: str) -> None:
        """`protocol`: the subprotocol that the connection speaks."""
        self._traces = traces
        self._protocol = protocol
        self._waiting: dict[int, Span] = {}
        """Steps that end with an acknowledgement, by the message's number in the log."""

    def deliver(self, context: bytes | None, *, seq: int = 0, age_ms: float = 0) -> Span:
        """The step of one message, about to be written. `seq`: its number in the log, 0 if it needs no acknowledgement;
        `age_ms`: since it was accepted."""
        if not context:
            return NOTHING
        late = age_ms > FRESH_MS
        step = (self._traces.link if late else self._traces.follow)("deliver", context, "producer")
        if step:
            step.set(
                messaging__system="pushctl",
                messaging__operation__name="deliver",
                messaging__operation__type="send",
                messaging__destination__name="device",
                network__protocol__name=self._protocol,
                pushctl__delivery__late=late,
            )
            if seq:
                self._wait_for(seq, step)
        return step

    def deliver_all(self, contexts: Iterable[tuple[bytes, int, float]]) -> ExitStack:
        """The steps of messages that one frame holds: of each the context, `seq`, `age_ms`. Leave it once written."""
        steps = ExitStack()
        for context, seq, age_ms in contexts:
            steps.enter_context(self.deliver(context, seq=seq, age_ms=age_ms))
        return steps

    def _wait_for(self, seq: int, delivery: Span) -> None:
        """The step that ends when the device says that it has this message."""
        while len(self._waiting) >= MAX_WAITING:
            del self._waiting[next(iter(self._waiting))]
        step = delivery.child("acknowledge")
        step.set(
            messaging__system="pushctl",
            messaging__operation__name="acknowledge",
            messaging__operation__type="settle",
            messaging__destination__name="device",
        )
        self._waiting[seq] = step

    def acknowledged_up_to(self, seq: int) -> None:
        """The device has all up to here."""
        if self._waiting:
            self.acknowledged([each for each in self._waiting if each <= seq])

    def acknowledged(self, seqs: Collection[int]) -> None:
        """The device has these."""
        for seq in seqs:
            step = self._waiting.pop(seq, None)
            if step is not None:
                step.finish()


_NOBODYS: Final = Trail(OFF, "")
