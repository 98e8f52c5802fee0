"""How a connection ends: for each way the close code, the words, and the last frame.

Owns: these. Must not know: who ends a connection, or when.
"""

from dataclasses import dataclass

from pushctl.errors import Problem, RateLimited
from pushctl.protocol import frames
from roles.socket.wire import Disconnected, Flooded, Stalled

DRAINING = 4001


@dataclass(frozen=True, slots=True)
class Ending:
    code: int
    detail: str
    last: bytes | None = None
    """A frame to send before the close."""
    by_peer: bool = False
    """It chose the code."""

    @property
    def label(self) -> str:
        """For counting. A peer may close with any of thousands of codes: no label for each."""
        return "peer" if self.by_peer and self.code >= 3000 else str(self.code)


class SlowConsumer(Problem):
    status, code, title, close_code = 408, "too_slow", "The device takes no data", 4002


def of_problem(problem: Problem) -> Ending:
    """The peer is told the code and whether to come back."""
    return _telling(problem.close_code, frames.ErrorFrame(problem.code, problem.detail, problem.close_code < 4500))


def of_peer(gone: Disconnected) -> Ending:
    """The peer went away, or had to be given up."""
    if isinstance(gone, Stalled):
        return of_problem(SlowConsumer("this device did not take data for too long"))
    if isinstance(gone, Flooded):
        return of_problem(RateLimited("this device sends frames too fast"))
    return Ending(1000 if gone.code == 1006 else gone.code, "", by_peer=True)


def sent_away(reconnect: bytes | None) -> Ending:
    """By a draining server; `reconnect`: the frame that says when to come back, unless it was sent before."""
    return Ending(DRAINING, "draining", reconnect)


def reconnect(after_ms: int) -> bytes:
    return frames.encode(frames.Reconnect(after_ms, "draining"))


def _telling(code: int, error: frames.ErrorFrame) -> Ending:
    return Ending(code, error.detail, frames.encode(error))


REPLACED = _telling(4503, frames.ErrorFrame("replaced", "a newer connection of this device took over", retry=False))
SIGNED_OUT = _telling(
    4504,
    frames.ErrorFrame(
        "session_ended", "this session expired, was signed out or its device removed; log in again", retry=False
    ),
)
NO_PONG = Ending(4004, "no pong")
STOPPED = Ending(DRAINING, "this server stops")
