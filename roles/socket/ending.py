"""How a connection ends: for each way the close code, the words, and the last frame, as its protocol has them.

Owns: these. Must not know: who ends a connection, or when.
"""

from dataclasses import dataclass
from typing import Protocol

from pushctl.errors import Problem, RateLimited, TooSlow
from pushctl.protocol import frames, mozilla
from roles.socket.wire import Disconnected, Flooded, Stalled


@dataclass(frozen=True, slots=True)
class Ending:
    code: int
    detail: str
    last: bytes | None = None
    """A frame to send before the close."""
    by_peer: bool = False
    """It chose the code."""
    is_draining: bool = False
    """What is left may still be written: the peer has done nothing wrong."""

    @property
    def label(self) -> str:
        """For counting. A peer may close with any of thousands of codes: no label for each."""
        return "peer" if self.by_peer and self.code >= 3000 else str(self.code)


class SlowConsumer(Problem):
    status, code, title, close_code = 408, "too_slow", "The device takes no data", 4002


class Endings(Protocol):
    """Of one protocol."""

    replaced: Ending
    signed_out: Ending
    no_pong: Ending
    stopped: Ending

    def of_problem(self, problem: Problem) -> Ending:
        """The peer is told the code and whether to come back."""

    def of_peer(self, gone: Disconnected) -> Ending:
        """The peer went away, or had to be given up."""
        if isinstance(gone, Stalled):
            return self.of_problem(SlowConsumer("this device did not take data for too long"))
        if isinstance(gone, Flooded):
            return self.of_problem(RateLimited("this device sends frames too fast"))
        return Ending(1000 if gone.code == 1006 else gone.code, "", by_peer=True)

    def sent_away(self, after_ms: int | None) -> Ending:
        """By a draining server; `after_ms`: when to come back, unless it was told before."""


# --- pushctl.v1 ------------------------------------------------------------------------------------------------------


def reconnect(after_ms: int) -> bytes:
    return frames.encode(frames.Reconnect(after_ms, "draining"))


def _telling(code: int, error: frames.ErrorFrame) -> Ending:
    return Ending(code, error.detail, frames.encode(error))


class OfDevices(Endings):
    replaced = _telling(4503, frames.ErrorFrame("replaced", "a newer connection of this device took over", retry=False))
    signed_out = _telling(
        4504,
        frames.ErrorFrame(
            "session_ended", "this session expired, was signed out or its device removed; log in again", retry=False
        ),
    )
    no_pong = Ending(4004, "no pong")
    stopped = Ending(4001, "this server stops")

    def of_problem(self, problem: Problem) -> Ending:
        error = frames.ErrorFrame(problem.code, problem.detail, problem.close_code < 4500)
        return _telling(problem.close_code, error)

    def sent_away(self, after_ms: int | None) -> Ending:
        return Ending(4001, "draining", None if after_ms is None else reconnect(after_ms), is_draining=True)


# --- push-notification -----------------------------------------------------------------------------------------------

_GOING_AWAY = 1001
_POLICY = 1008
_TRY_AGAIN = 1013


class OfBrowsers(Endings):
    """Firefox comes back after whatever code but 4774, which is never sent; the words are autopush's, if it has any."""

    replaced = Ending(mozilla.UNEXPECTED, "SM")
    signed_out = Ending(mozilla.UNEXPECTED, "SM")
    no_pong = Ending(mozilla.UNEXPECTED, "PongTimeout")
    stopped = Ending(_GOING_AWAY, "stopping")

    def of_problem(self, problem: Problem) -> Ending:
        if isinstance(problem, mozilla.Violation):
            return Ending(problem.close_with, problem.reason)
        if isinstance(problem, TooSlow):
            return Ending(mozilla.UNEXPECTED, "HandshakeTimeout")
        if isinstance(problem, SlowConsumer | RateLimited):
            return Ending(_POLICY, problem.code)
        return Ending(_TRY_AGAIN, problem.code)

    def sent_away(self, after_ms: int | None) -> Ending:
        return Ending(_GOING_AWAY, "draining", is_draining=True)


OF_DEVICES: Endings = OfDevices()
OF_BROWSERS: Endings = OfBrowsers()
