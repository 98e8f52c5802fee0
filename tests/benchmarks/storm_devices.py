"""How devices come back after their server died: our client, and others that know no better.

Owns: the policies. A device is told what happened and says what it does next, as pushctl.protocol.peer does; ours is
that very class. Must not know: time, queues, servers.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pushctl.protocol.peer import AskBoxOffice, Peer, Step, TryServer

RETRY_SECONDS = 5.0
"""Of those who try again after a fixed time."""

ALMOST_ONE = 1 - 2**-53


class Device(Protocol):
    """What of Peer is used."""

    def offered(self, servers: Sequence[str], expires_in_seconds: float, now: float) -> Step: ...
    def box_office_refused(self, status: int, retry_after_seconds: float | None) -> Step: ...
    def box_office_unreachable(self) -> Step: ...
    def server_failed(self, now: float, retry_after_seconds: float | None = None) -> Step: ...
    def welcomed(self, now: float) -> None: ...
    def closed(self, code: int, now: float) -> Step: ...


class FixedRetry:
    """Asks at once, and again after RETRY_SECONDS whatever it is told."""

    def __init__(self) -> None:
        self._untried: deque[str] = deque()

    def offered(self, servers: Sequence[str], expires_in_seconds: float, now: float) -> Step:
        self._untried = deque(servers)
        return self.server_failed(now)

    def box_office_refused(self, status: int, retry_after_seconds: float | None) -> Step:
        return self.box_office_unreachable()

    def box_office_unreachable(self) -> Step:
        return AskBoxOffice(RETRY_SECONDS)

    def server_failed(self, now: float, retry_after_seconds: float | None = None) -> Step:
        return TryServer(self._untried.popleft()) if self._untried else AskBoxOffice(RETRY_SECONDS)

    def welcomed(self, now: float) -> None:
        pass

    def closed(self, code: int, now: float) -> Step:
        return AskBoxOffice(0.0)


@dataclass(frozen=True, slots=True)
class Policy:
    """`device`: makes one, from a source of chance in [0, 1). `asks`: it asks the Box Office; else it knows all servers
    and tries some by chance. `spread`: the Box Office keeps to its rate of arrivals; else it lets everybody in."""

    name: str
    device: Callable[[Callable[[], float]], Device]
    asks: bool = True
    spread: bool = True


def _ours(chance: Callable[[], float]) -> Device:
    return Peer(chance)


def _without_jitter(_: Callable[[], float]) -> Device:
    """Backs off as ours, and always by the whole."""
    return Peer(lambda: ALMOST_ONE)


def _fixed(_: Callable[[], float]) -> Device:
    return FixedRetry()


POLICIES: Mapping[str, Policy] = {
    policy.name: policy
    for policy in (
        Policy("ours", _ours),
        Policy("ours, no rate", _ours, spread=False),
        Policy("fixed retry", _fixed),
        Policy("no jitter", _without_jitter),
        Policy("random server", _ours, asks=False),
    )
}
