"""Who sits where: which socket servers a client is told to try, from a picture of all of them.

Owns: the decision. Order is by decreasing free capacity, where what was handed out since a server's last heartbeat
counts as taken; equals come in random order; servers that are dead, draining or not ready are left out.
Promises: no I/O, time is a parameter; memory is bounded whatever clients ask. One client holds one seat however often
it asks, so nobody can make a server look full.
Must not know: Redis, HTTP, where a picture comes from.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nsmallest
from typing import Final

from pushctl.errors import NoCapacity, StoreUnavailable
from pushctl.ids import ServerId
from pushctl.registry.servers import ServerRow

SETTLE_SECONDS: Final = 3.0
"""A client needs a moment to connect. For so long its seat counts in the order of servers even if a heartbeat came
in between; whether a server has room is decided by its heartbeat and what was handed out after it alone."""

MAX_SEATS: Final = 100_000
"""Seats remembered; beyond, the oldest are forgotten (and the next heartbeat tells the truth)."""

RETRY_SECONDS: Final = (2, 5)
"""When to ask again after `no_capacity`: about a heartbeat later, spread."""


@dataclass(frozen=True, slots=True)
class _Seat:
    server: ServerId
    at: float
    unseen: bool
    """handed out after the server's last heartbeat that we know of"""


class Seating:
    """The latest picture and what was handed out from it. All times are seconds of one monotonic clock."""

    def __init__(self, *, max_servers: int, stale_seconds: float, chance: random.Random | None = None) -> None:
        self._max_servers = max_servers
        self._stale_seconds = stale_seconds
        self._chance = chance or random.SystemRandom()
        self._rows: list[ServerRow] = []
        self._looked_at: float | None = None
        self._seats: dict[str, _Seat] = {}
        self._seated: Counter[ServerId] = Counter()
        self._unseen: Counter[ServerId] = Counter()

    def look(self, picture: Sequence[ServerRow], asked_at: float) -> None:
        """Take a new picture. `asked_at`: when it was asked for, so that it is never taken for newer than it is."""
        self._rows = [row for row in picture if row.alive and row.state == "ready"]
        self._looked_at = asked_at
        heartbeats = {row.id: asked_at - row.seen_ms_ago / 1000 for row in self._rows}
        seats = self._seats
        self._seats = {}
        self._seated.clear()
        self._unseen.clear()
        for who, seat in seats.items():
            heartbeat = heartbeats.get(seat.server)
            if heartbeat is None:
                continue
            unseen = seat.at > heartbeat
            if unseen or seat.at > asked_at - SETTLE_SECONDS:
                self._sit(who, _Seat(seat.server, seat.at, unseen))

    def open_servers(self) -> frozenset[ServerId]:
        """The servers of the latest picture that take clients, full or not."""
        return frozenset(row.id for row in self._rows)

    def stale(self, now: float) -> bool:
        """True when there is no picture that may still be used."""
        return self._looked_at is None or now - self._looked_at > self._stale_seconds

    def servers_for(self, who: str, now: float) -> list[str]:
        """The URLs `who` is to try, best first; `who` is any stable name of a client.

        Raises StoreUnavailable if the picture is too old, NoCapacity if no server has room.
        """
        if self.stale(now):
            raise StoreUnavailable("the socket servers are not known at the moment", retry_after_seconds=2)
        self._stand_up(who)
        with_room = [row for row in self._rows if row.connections + self._unseen[row.id] < row.capacity]
        chosen = nsmallest(self._max_servers, with_room, key=self._rank)
        if not chosen:
            raise NoCapacity(
                "no socket server has room: connect to none until then and ask again",
                retry_after_seconds=self._chance.randint(*RETRY_SECONDS),
            )
        self._sit(who, _Seat(chosen[0].id, now, unseen=True))
        while len(self._seats) > MAX_SEATS:
            self._stand_up(next(iter(self._seats)))
        return [row.url for row in chosen]

    def _rank(self, row: ServerRow) -> tuple[int, float]:
        return row.connections + self._seated[row.id] - row.capacity, self._chance.random()

    def _sit(self, who: str, seat: _Seat) -> None:
        self._seats[who] = seat
        self._seated[seat.server] += 1
        self._unseen[seat.server] += seat.unseen

    def _stand_up(self, who: str) -> None:
        seat = self._seats.pop(who, None)
        if seat is not None:
            self._seated[seat.server] -= 1
            self._unseen[seat.server] -= seat.unseen
