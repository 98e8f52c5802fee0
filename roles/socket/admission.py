"""Who may come in: connections counted by number, by address and by time.

Owns: the counts of who is inside, the order of the questions, and the reason of each refusal.
Promises: whoever was accepted is counted from before its first byte on, so before TLS or a WebSocket cost anything; a
refusal is a Problem that says when to come again, and those who were refused together come apart; few of them are told
so at a time, more are dropped without a word. No I/O, time is a parameter; memory for those inside and for a bounded
number of addresses.
Must not know: sockets, frames, users.
"""

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from math import ceil
from typing import Final, Literal

from pushctl.config.model import Config
from pushctl.errors import Forbidden, Overloaded, Problem, RateLimited
from pushctl.http.address_rates import AddressRates
from pushctl.http.addresses import Networks, TrustedProxies, neighbourhood
from pushctl.protocol import frames, mozilla
from pushctl.protocol.frames import FrameInvalid
from pushctl.rates import TokenBucket, rate_of

Reason = Literal[
    "full", "address", "address_rate", "accept_rate", "draining", "not_ready", "origin", "handshake", "too_slow"
]
"""Why somebody was not let in, as the metric says it."""

MAX_TOLD: Final = 64
"""Refusals under way at a time."""

TOLD_SECONDS: Final = 2.0
"""For the upgrade request of somebody who is only to be refused."""

FULL_SECONDS: Final = 30
"""Whoever found no room comes back after so long, at random up to twice as long."""

LONGEST_SECONDS: Final = 300
"""However many come too fast."""


class Refused(Exception):
    def __init__(self, reason: Reason, problem: Problem) -> None:
        super().__init__(reason)
        self.reason = reason
        self.problem = problem


class Guest:
    """One connection, from its acceptance on."""

    __slots__ = ("neighbours", "peer", "refused")

    def __init__(self, peer: str, refused: Refused | None, neighbours: str | None) -> None:
        self.peer = peer
        self.refused = refused
        """It is only to be told so."""
        self.neighbours = neighbours
        """Whose connections it is counted with; None: not known yet, or nobody counts them."""


class Admission:
    def __init__(
        self, config: Config, now: float, *, count: Callable[[Reason], None], chance: random.Random | None = None
    ) -> None:
        """`count`: told of every refusal. Raises ConfigError."""
        self._most = config.socket.max_connections
        self._most_per_address = config.limits.connections_per_address
        self._origins = config.socket.origins
        self._proxies = TrustedProxies(config.socket.trusted_proxies)
        self._exempt = Networks(config.limits.exempt_networks, "limits.exempt_networks")
        rate = rate_of(config.socket.accept_rate, config.socket.accept_burst)
        self._bucket = TokenBucket(rate, now) if rate else None
        self._per_second = config.socket.accept_rate
        self._too_many = 0
        """About how many came too fast and have not come again."""
        self._address_rates = AddressRates(
            rate_of(config.limits.arrivals_per_second_per_address, config.limits.arrivals_burst_per_address),
            config.limits.exempt_networks,
        )
        self._count = count
        self._chance = chance or random.SystemRandom()
        self._by_address: Counter[str] = Counter()
        self.inside = 0
        self._being_told = 0

    # --- at the door -------------------------------------------------------------------------------------------------

    def arrive(self, peer: str, now: float) -> Guest | None:
        """The kernel has accepted a connection from the address `peer`: it is counted until it has gone (`leave`).
        None: refused, and too many are being told so already."""
        guest = Guest(peer, None, None)
        try:
            self._decide(guest, now)
        except Refused as refused:
            guest.refused = refused
            self._forget_address(guest)
        if guest.refused is None:
            self.inside += 1
        elif self._being_told < MAX_TOLD:
            self._being_told += 1
        else:
            return None
        return guest

    def _decide(self, guest: Guest, now: float) -> None:
        if self.inside >= self._most:
            raise self.later("full", "this server is full; ask the Box Office")
        # Of a proxy's connections the address is known with the upgrade's headers.
        if not self._proxies.trusts(guest.peer):
            self._check_address(guest, guest.peer, now)
        if self._bucket is not None and self._bucket.take(now):
            self._too_many += 1
            raise self._in_turn()
        self._too_many = max(0, self._too_many - 1)

    def _check_address(self, guest: Guest, host: str, now: float) -> None:
        if host in self._exempt:
            return
        neighbours = neighbourhood(host)
        if self._by_address[neighbours] >= self._most_per_address:
            raise self.later("address", "this address has too many connections")
        try:
            self._address_rates.admit(host, now)
        except RateLimited as error:
            seconds = (error.retry_after_seconds or 1) + self._chance.randrange(5)
            raise self.refusal("address_rate", Overloaded(error.detail, retry_after_seconds=seconds)) from None
        self._by_address[neighbours] += 1
        guest.neighbours = neighbours

    def _forget_address(self, guest: Guest) -> None:
        if guest.neighbours is not None:
            self._by_address[guest.neighbours] -= 1
            if not self._by_address[guest.neighbours]:
                del self._by_address[guest.neighbours]
            guest.neighbours = None

    def leave(self, guest: Guest) -> None:
        """It has gone."""
        self._forget_address(guest)
        if guest.refused is None:
            self.inside -= 1
        else:
            self._being_told -= 1

    # --- with the upgrade request ------------------------------------------------------------------------------------

    def introduce(self, guest: Guest, headers: Iterable[tuple[bytes, bytes]], now: float) -> None:
        """The headers of its upgrade request have come. Raises Refused."""
        if guest.refused is not None:
            raise guest.refused
        if self._proxies.trusts(guest.peer):
            (host, _), _ = self._proxies.client_of((guest.peer, 0), "http", headers)
            self._check_address(guest, host, now)

    def examine(
        self, *, origin: str | None, own_origin: str, key_is_valid: bool, subprotocols: Collection[str]
    ) -> str | None:
        """What it asks for: the subprotocol that it is given. Raises Refused."""
        # Firefox puts a slash behind the server's own.
        if self._origins and origin is not None and origin not in (*self._origins, own_origin, f"{own_origin}/"):
            raise self.refusal("origin", Forbidden("pages of this origin may not connect here", field="Origin"))
        if not key_is_valid:
            raise self.refusal("handshake", FrameInvalid("expected 16 bytes in base64", field="Sec-WebSocket-Key"))
        for ours in (frames.SUBPROTOCOL, mozilla.SUBPROTOCOL):
            if ours in subprotocols:
                return ours
        if subprotocols:
            problem = FrameInvalid(f"offer the subprotocol {frames.SUBPROTOCOL}", field="Sec-WebSocket-Protocol")
            raise self.refusal("handshake", problem)
        return None  # as browsers may

    # --- refusals ----------------------------------------------------------------------------------------------------

    def refusal(self, reason: Reason, problem: Problem) -> Refused:
        """Counted."""
        self._count(reason)
        return Refused(reason, problem)

    def later(self, reason: Reason, detail: str) -> Refused:
        """There is no room here, and will be none soon. Counted."""
        seconds = self._chance.randrange(FULL_SECONDS, 2 * FULL_SECONDS)
        return self.refusal(reason, Overloaded(detail, retry_after_seconds=seconds))

    def _in_turn(self) -> Refused:
        """Too many come at once. The more of them, the longer is the time over which they are spread."""
        spread = min(LONGEST_SECONDS, max(5, ceil(2 * self._too_many / self._per_second)))
        seconds = 1 + self._chance.randrange(spread)
        return self.refusal("accept_rate", Overloaded("more come than may at once", retry_after_seconds=seconds))
