"""The desk: what one client is told, a list of servers or when to come again.

Owns: the order of the questions: does this address ask too often, do too many clients come, is there a seat.
Promises: no I/O, time is a parameter; every refusal is counted and says when to come again; those who were refused are
spread over time.
Must not know: HTTP, Redis, what a session is.
"""

import random
from collections.abc import Callable
from typing import Final, Literal

from pushctl.errors import NoCapacity, RateLimited, StoreUnavailable
from pushctl.http.address_rates import AddressRates
from pushctl.rates import Rate, TokenBucket
from roles.boxoffice.seating import Seating
from roles.boxoffice.waiting import Waiting

Refusal = Literal["rate_limited", "arrivals", "no_capacity", "store_unavailable"]

UNHURRIED_PER_SECOND: Final = 1000.0
"""Appointments where arrivals have no limit."""

STALE_SECONDS: Final = (2, 5)
"""Nothing is known of the servers: when to ask again."""


class Desk:
    def __init__(
        self,
        seating: Seating,
        *,
        addresses: AddressRates,
        arrivals: Rate | None,
        now: float,
        count: Callable[[Refusal], None] = lambda _: None,
        chance: random.Random | None = None,
    ) -> None:
        """`arrivals`: of all clients together; None: any."""
        self._seating = seating
        self._addresses = addresses
        self._arrivals = TokenBucket(arrivals, now) if arrivals else None
        self._count = count
        self._chance = chance or random.SystemRandom()
        self._waiting = Waiting(arrivals.per_second if arrivals else UNHURRIED_PER_SECOND, self._chance)

    def knock(self, host: str, now: float) -> None:
        """Somebody asks from this address. Raises RateLimited."""
        try:
            self._addresses.admit(host, now)
        except RateLimited:
            self._count("rate_limited")
            raise

    def servers_for(self, who: str, now: float) -> list[str]:
        """What Seating.servers_for says to a client that may ask. Raises StoreUnavailable, NoCapacity."""
        if self._seating.stale(now):
            self._count("store_unavailable")
            raise StoreUnavailable(
                "the socket servers are not known at the moment",
                retry_after_seconds=self._chance.randint(*STALE_SECONDS),
            )
        if self._arrivals is not None and self._arrivals.take(now):
            raise self._no_capacity("arrivals", who, now, "more clients come than may at once")
        servers = self._seating.servers_for(who, now)
        if not servers:
            raise self._no_capacity("no_capacity", who, now, "no socket server has room")
        return servers

    def _no_capacity(self, reason: Refusal, who: str, now: float, detail: str) -> NoCapacity:
        self._count(reason)
        seconds = self._waiting.seconds(who, now)
        return NoCapacity(f"{detail}: connect to none until then and ask again", retry_after_seconds=seconds)
