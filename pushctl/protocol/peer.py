"""The client's side of staying connected: what to do next (docs/protocol.md, sections 3 and 4).

Owns: which socket server to try, when to ask the Box Office again, when to give up for good.
Promises: a server is tried at most once per answer of the Box Office, in the order given, and never before a
Retry-After it gave is over; waits grow exponentially with full jitter (base 1 s, cap 5 min); jitter only ever adds to
what a server asked for; the growth starts over only after a connection that lasted; after `Stop` nothing more is tried.
Must not know: sockets, HTTP, the host's clock or its randomness. It is told what happened and when (`now`: seconds of
any clock that only goes forward) and answers with one `Step`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

BASE_SECONDS: Final = 1.0
CAP_SECONDS: Final = 300.0

STABLE_SECONDS: Final = 30.0
"""A connection that lasted this long was a good one: the next wait is short again. A server that takes connections only
to drop them would otherwise be asked every second by everybody."""

REPLACED_SECONDS: Final = (30.0, 60.0)
"""After 4503 (another connection of this device took over) one more try, somewhere in between."""

REPLACED_AGAIN_SECONDS: Final = 600.0
"""A second 4503 within this time is final: two clients with one profile would displace each other for ever."""

LONGEST_RETRY_AFTER_SECONDS: Final = 86_400.0
"""More than this is taken for a mistake: a device must not go silent for good because of one header."""

LOGIN_NEEDED_CODES: Final = frozenset({4501, 4504})
REPLACED_CODE: Final = 4503

_WORTH_REPEATING: Final = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class AskBoxOffice:
    """Wait, then ask for a list of servers. Connect to nothing until then.

    `asked_seconds`: how much of the wait the service asked for; the rest is our own backoff.
    """

    after_seconds: float
    asked_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class TryServer:
    """Connect to this one now."""

    url: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Nothing will get better without a change: by a new login, or by whoever reads `reason`.

    `code`: the close code or HTTP status that said so.
    """

    code: int
    reason: str
    login_needed: bool = False


Step = AskBoxOffice | TryServer | Stop

_FINAL_REASONS: Final = {
    4502: "the server could not understand this client",
    4505: "this user or address has too many connections",
}


def full_jitter(failures: int, random: Callable[[], float]) -> float:
    """Seconds to wait after so many failures: anywhere between nothing and a ceiling that doubles with each of them."""
    return min(CAP_SECONDS, BASE_SECONDS * 2.0 ** min(failures, 16)) * random()


class Peer:
    """One device looking for its place. Feed it what happens; do what it says."""

    # There may be ten thousand of them in one process (client/fleet.py).
    __slots__ = (
        "_failures",
        "_held_until",
        "_offer",
        "_offer_ends",
        "_random",
        "_replaced_at",
        "_return_at",
        "_trying",
        "_untried",
        "_welcomed_at",
    )

    def __init__(self, random: Callable[[], float]) -> None:
        """`random`: a number in [0, 1), new at each call."""
        self._random = random
        self._failures = 0
        self._offer: tuple[str, ...] = ()
        self._untried: list[str] = []
        self._trying: str | None = None
        self._offer_ends = 0.0
        self._held_until: dict[str, float] = {}
        self._welcomed_at: float | None = None
        self._return_at: float | None = None
        self._replaced_at: float | None = None

    def start(self) -> Step:
        """The first step, the first after a new login, and after somebody who does not want to wait. What servers
        asked for in their Retry-After is kept."""
        self._failures = 0
        self._forget_offer()
        self._welcomed_at = self._return_at = self._replaced_at = None
        return AskBoxOffice(0.0)

    @property
    def offer(self) -> tuple[str, ...]:
        """The servers that the Box Office named, while they are being tried."""
        return self._offer

    def offered(self, servers: Sequence[str], expires_in_seconds: float, now: float) -> Step:
        """The Box Office named these servers, in this order, good for so long."""
        self._held_until = {url: until for url, until in self._held_until.items() if until > now}
        self._offer = tuple(dict.fromkeys(servers))
        self._untried = list(self._offer)
        self._offer_ends = now + expires_in_seconds
        return self._next_server(now)

    def box_office_refused(self, status: int, retry_after_seconds: float | None) -> Step:
        """The Box Office answered with something that is no list (503 without capacity, 429, 401, ...)."""
        self._forget_offer()
        if status == 401:
            return Stop(status, "the session is not valid any more", login_needed=True)
        if 300 <= status < 500 and status not in _WORTH_REPEATING:
            return Stop(status, f"the Box Office answered {status}: is its URL right?")
        asked = self._obeyed(retry_after_seconds)
        return AskBoxOffice(asked + self._backoff(), asked)

    def box_office_unreachable(self) -> Step:
        """No connection to the Box Office, no answer in time, or one that made no sense."""
        self._forget_offer()
        return AskBoxOffice(self._backoff())

    def server_failed(self, now: float, retry_after_seconds: float | None = None) -> Step:
        """The server last tried did not say welcome: unreachable, full (503 and Retry-After), or silent."""
        self._return_at = None
        if retry_after_seconds is not None and self._trying is not None:
            self._held_until[self._trying] = now + self._obeyed(retry_after_seconds)
        return self._next_server(now)

    def welcomed(self, now: float) -> None:
        """The server said welcome."""
        self._forget_offer()
        self._welcomed_at = now

    def reconnect_asked(self, after_seconds: float, now: float) -> None:
        """A `reconnect` frame: the connection may be used until `after_seconds` have passed, then it is to be left."""
        self._return_at = now + min(max(after_seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)

    def closed(self, code: int, now: float) -> Step:
        """The connection is over, with this close code (1006: without one), whether or not it was welcomed."""
        welcomed_at, self._welcomed_at = self._welcomed_at, None
        return_at, self._return_at = self._return_at, None
        lasted = welcomed_at is not None and now - welcomed_at >= STABLE_SECONDS
        if lasted:
            self._failures = 0
        if code in LOGIN_NEEDED_CODES:
            return self._stop(code, "the session ended or is not known", login_needed=True)
        if code == REPLACED_CODE:
            return self._replaced(now)
        if 4500 <= code <= 4999:
            return self._stop(code, _FINAL_REASONS.get(code, "the server asks not to come back without a change"))
        if return_at is None:
            return self._next_server(now) if welcomed_at is None else AskBoxOffice(self._backoff())
        # The server chose the moment, spread over its devices, so a good connection needs no jitter of our own; one
        # that had hardly begun does, or a server that sends everybody away at once would keep us in a tight circle.
        asked = max(0.0, return_at - now)
        return AskBoxOffice(asked + (0.0 if lasted else self._backoff()), asked)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _next_server(self, now: float) -> Step:
        while self._untried and now < self._offer_ends:
            url = self._untried.pop(0)
            if self._held_until.get(url, now) <= now:
                self._trying = url
                return TryServer(url)
        held = [self._held_until[url] - now for url in self._offer if self._held_until.get(url, now) > now]
        everyone_is_full = bool(held) and len(held) == len(self._offer)
        self._forget_offer()
        return AskBoxOffice((min(held) if everyone_is_full else 0.0) + self._backoff())

    def _replaced(self, now: float) -> Step:
        before, self._replaced_at = self._replaced_at, now
        if before is not None and now - before < REPLACED_AGAIN_SECONDS:
            return self._stop(REPLACED_CODE, "another connection of this device took over, twice")
        self._forget_offer()
        least, most = REPLACED_SECONDS
        return AskBoxOffice(least + (most - least) * self._random())

    def _stop(self, code: int, reason: str, *, login_needed: bool = False) -> Step:
        self._forget_offer()
        return Stop(code, reason, login_needed)

    def _forget_offer(self) -> None:
        self._offer = ()
        self._untried.clear()
        self._trying = None

    def _backoff(self) -> float:
        self._failures += 1
        return full_jitter(self._failures - 1, self._random)

    @staticmethod
    def _obeyed(retry_after_seconds: float | None) -> float:
        return min(max(retry_after_seconds or 0.0, 0.0), LONGEST_RETRY_AFTER_SECONDS)
