"""Who sits where: which socket servers a client is told to try, from a picture of all of them.

Owns: the decision. Order is by decreasing free capacity, as a share of each server's own, where what this office and
its sisters handed out since a server's last heartbeat counts as taken; equals come in random order; servers that are
dead, draining or not ready are left out; those of the office's own zone come first while they have room.
Promises: no I/O, time is a parameter; memory is bounded whatever clients ask. One client holds one seat however often
it asks, so nobody can make a server look full. When the fleet's free capacity is under the floor, the offices together
hand out no more seats than there are.
Must not know: Redis, HTTP, where a picture comes from.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from typing import Final

from pushctl.ids import ServerId
from pushctl.registry.offices import Seats, Sister
from pushctl.registry.servers import ServerRow

SETTLE_SECONDS: Final = 1.0
"""A client needs a moment to connect: what was handed out so shortly before a heartbeat still counts in the order of
servers, as the heartbeat may not have counted it. Whether a server has room is decided by its heartbeat and what was
handed out after it alone, unless capacity is scarce: then rather one client too few than one too many."""

MAX_SEATS: Final = 100_000
"""Seats remembered; beyond, the oldest are forgotten (and the next heartbeat tells the truth)."""

STEP_MS: Final = 200
OLDEST_MS: Final = 10_000
"""Seats are told to sisters by age in such steps, as younger than they are; at most so many are 50 for each server."""


@dataclass(frozen=True, slots=True)
class _Seat:
    server: ServerId
    at: float
    unseen: bool
    """handed out after the server's last heartbeat that we know of"""


@dataclass(frozen=True, slots=True)
class Rules:
    """`max_servers`: named in one answer; `floor`: the share of the fleet's capacity, 0 to 1, that makes it scarce when
    less is free; `zone`: this office's own, or empty."""

    max_servers: int
    stale_seconds: float
    floor: float = 0.0
    zone: str = ""


class Seating:
    """The latest picture and what was handed out from it. All times are seconds of one monotonic clock."""

    def __init__(self, rules: Rules, *, name: str = "", chance: random.Random | None = None) -> None:
        """`name`: of this office among its sisters."""
        self._rules = rules
        self._name = name
        self._chance = chance or random.SystemRandom()
        self._rows: list[ServerRow] = []
        self._looked_at: float | None = None
        self._seats: dict[str, _Seat] = {}
        """by client: those that a heartbeat may not have counted yet"""
        self._settling: Counter[ServerId] = Counter()
        """seats of all offices that count in the order of servers"""
        self._room: dict[ServerId, int] = {}
        """what is free of each server; less than nothing if too many were sent there"""
        self._free = 0
        """what is free of all"""
        self._scarce_under = 0.0
        self._share = 0
        """of what is free by heartbeats alone: this office's part, when it is scarce"""

    # --- the picture -------------------------------------------------------------------------------------------------

    def look(self, picture: Sequence[ServerRow], asked_at: float, sisters: Sequence[Sister] = ()) -> None:
        """Take a new picture. `asked_at`: when it was asked for, so that it is never taken for newer than it is."""
        self._rows = [row for row in picture if row.is_open]
        self._looked_at = asked_at
        self._room = {row.id: row.capacity - row.connections for row in self._rows}
        self._free = sum(max(0, room) for room in self._room.values())
        self._scarce_under = self._rules.floor * sum(row.capacity for row in self._rows)
        self._share = _part(self._free, self._name, [sister.name for sister in sisters])
        self._settling.clear()
        heartbeats = {row.id: asked_at - row.seen_ms_ago / 1000 for row in self._rows}
        for sister in sisters:
            for seats in sister.seats:
                self._count_in(seats, asked_at, heartbeats)
        before, self._seats = self._seats, {}
        for who, seat in before.items():
            heartbeat = heartbeats.get(seat.server)
            if heartbeat is not None and seat.at > heartbeat - SETTLE_SECONDS:
                self._sit(who, _Seat(seat.server, seat.at, seat.at > heartbeat))

    def _count_in(self, seats: Seats, asked_at: float, heartbeats: dict[ServerId, float]) -> None:
        """What a sister handed out, as if it were ours."""
        heartbeat, at = heartbeats.get(seats.server), asked_at - seats.ms_ago / 1000
        if heartbeat is None or at <= heartbeat - SETTLE_SECONDS:
            return
        self._settling[seats.server] += seats.count
        if at > heartbeat:
            self._take(seats.server, seats.count)

    def handed_out(self, now: float) -> Iterator[Seats]:
        """What sisters should count in."""
        ages = Counter((seat.server, int((now - seat.at) * 1000) // STEP_MS) for seat in self._seats.values())
        for (server, steps), count in ages.items():
            yield Seats(server, min(steps * STEP_MS, OLDEST_MS), count)

    def open_servers(self) -> frozenset[ServerId]:
        """The servers of the latest picture that take clients, full or not."""
        return frozenset(row.id for row in self._rows)

    def stale(self, now: float) -> bool:
        """True when there is no picture that may still be used."""
        return self._looked_at is None or now - self._looked_at > self._rules.stale_seconds

    # --- a client ----------------------------------------------------------------------------------------------------

    @property
    def scarce(self) -> bool:
        """Less is free than the floor."""
        return self._free < self._scarce_under

    def servers_for(self, who: str, now: float) -> list[str]:
        """The URLs `who` is to try, best first; `who` is any stable name of a client. Empty: nobody has room for it."""
        self._stand_up(who)
        chosen = nsmallest(self._rules.max_servers, self._with_room(), key=self._rank)
        if not chosen:
            return []
        self._sit(who, _Seat(chosen[0].id, now, unseen=True))
        while len(self._seats) > MAX_SEATS:
            self._stand_up(next(iter(self._seats)))
        return [row.url for row in chosen]

    def _with_room(self) -> list[ServerRow]:
        if not self.scarce:
            return [row for row in self._rows if self._room[row.id] > 0]
        if len(self._seats) >= self._share:
            return []
        return [row for row in self._rows if row.connections + self._settling[row.id] < row.capacity]

    def _rank(self, row: ServerRow) -> tuple[bool, float, float]:
        away = bool(self._rules.zone) and row.zone != self._rules.zone
        return away, row.fill(self._settling[row.id]), self._chance.random()

    def _sit(self, who: str, seat: _Seat) -> None:
        self._seats[who] = seat
        self._settling[seat.server] += 1
        if seat.unseen:
            self._take(seat.server, 1)

    def _stand_up(self, who: str) -> None:
        seat = self._seats.pop(who, None)
        if seat is not None:
            self._settling[seat.server] -= 1
            if seat.unseen:
                self._take(seat.server, -1)

    def _take(self, server: ServerId, count: int) -> None:
        """So many more of a server's seats are taken, or fewer."""
        before = self._room[server]
        self._room[server] = after = before - count
        self._free += max(0, after) - max(0, before)


def _part(whole: int, name: str, others: Sequence[str]) -> int:
    """What is left over after a fair division goes to those whose names come first: all parts make the whole."""
    each, rest = divmod(whole, len(others) + 1)
    return each + (sum(other < name for other in others) < rest)
