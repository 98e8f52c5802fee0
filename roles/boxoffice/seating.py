"""Who sits where: which socket servers a client is told to try, from a picture of all of them.

Owns: the decision. Order is by decreasing free capacity, as a share of each server's own, where what this office and
its sisters handed out since a server's last heartbeat counts as taken; equals come in random order; servers that are
dead, draining or not ready are left out; those of the office's own zone come first while they have room.
Promises: no I/O, time is a parameter; memory is bounded whatever clients ask. One client holds one seat however often
it asks, so nobody can make a server look full. When the fleet's free capacity is under the floor, an office alone hands
out no more seats than there are, and sisters together hardly ever: by a few, when heartbeats come between their looks.
Must not know: Redis, HTTP, where a picture comes from.
"""

import random
from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from pushctl.ids import ServerId
from pushctl.registry.offices import Seats, Sister
from pushctl.registry.servers import ServerRow

SETTLE_SECONDS: Final = 0.5
"""A client needs a moment to connect: what was handed out so shortly before a heartbeat may not be counted in it, the
less likely the longer before. So it still counts in the order of servers, by that likelihood. Whether a server has room
is decided by its heartbeat and what was handed out after it alone; but when capacity is scarce, rather one client too
few than one too many."""

MAX_SEATS: Final = 100_000
"""Seats remembered; beyond, the oldest are forgotten (and the next heartbeat tells the truth)."""

STEP_MS: Final = 200
OLDEST_MS: Final = 10_000
"""Seats are told to sisters by age in such steps, never as older than they are: at most 51 numbers for each server."""


_Rank = tuple[bool, float, float, ServerId]
"""Of another zone, how full, chance among equals, which."""


@dataclass(frozen=True, slots=True)
class Rules:
    """`max_servers`: named in one answer; `floor`: the share of the fleet's capacity, 0 to 1, that makes it scarce when
    less is free; `zone`: this office's own, or empty."""

    max_servers: int
    stale_seconds: float
    floor: float = 0.0
    zone: str = ""


@dataclass(frozen=True, slots=True)
class _Seat:
    server: ServerId
    at: float
    unseen: bool
    """handed out after the server's last heartbeat that we know of"""
    weight: float
    """how likely that heartbeat did not count it"""


class Seating:
    """The latest picture and what was handed out from it. All times are seconds of one monotonic clock."""

    def __init__(self, rules: Rules, *, name: str = "", chance: random.Random | None = None) -> None:
        """`name`: of this office among its sisters."""
        self._rules = rules
        self._name = name
        self._chance = chance or random.SystemRandom()
        self._rows: dict[ServerId, ServerRow] = {}
        """those that take clients"""
        self._ranks: dict[ServerId, _Rank] = {}
        self._order: list[_Rank] = []
        """the best first"""
        self._looked_at: float | None = None
        self._seats: dict[str, _Seat] = {}
        """by client: those that a heartbeat may not have counted yet"""
        self._taken: defaultdict[ServerId, float] = defaultdict(float)
        """seats of all offices that heartbeats did not count, probably"""
        self._untold: Counter[ServerId] = Counter()
        """handed out here since the last look, so that sisters do not know of them ..."""
        self._others = 0.0
        """... as this office does not know of theirs: so many for each of ours, to the same servers"""
        self._room: dict[ServerId, int] = {}
        """what is free of each server; less than nothing if too many were sent there"""
        self._free = 0
        """what is free of all"""
        self._scarce_under = 0.0
        self._most = self._more = 0
        """when capacity is scarce: how many of this office's seats heartbeats may not have counted, and how many it may
        hand out until its next look"""

    # --- the picture -------------------------------------------------------------------------------------------------

    def look(self, picture: Sequence[ServerRow], asked_at: float, sisters: Sequence[Sister] = ()) -> None:
        """Take a new picture. `asked_at`: when it was asked for, so that it is never taken for newer than it is."""
        self._rows = {row.id: row for row in picture if row.is_open}
        self._ranks.clear()
        self._order.clear()
        self._looked_at = asked_at
        self._room = {row.id: row.capacity - row.connections for row in self._rows.values()}
        self._free = sum(max(0, room) for room in self._room.values())
        self._scarce_under = self._rules.floor * sum(row.capacity for row in self._rows.values())
        free = self._free
        theirs = self._seat_anew(asked_at, [seats for sister in sisters for seats in sister.seats], len(sisters))
        # Of what is free by heartbeats each office uses its part and no more, whatever it knows of the others; and of
        # what is free by all that it knows, no more than its part before it knows more.
        names = [sister.name for sister in sisters]
        self._most = _part(free, self._name, names)
        self._more = _part(max(0, free - theirs - len(self._seats)), self._name, names)
        for server in self._rows:
            self._rank(server)

    def _seat_anew(self, asked_at: float, theirs: Sequence[Seats], sisters: int) -> int:
        """Count what was handed out, without what the picture's heartbeats have counted. How many are the sisters'."""
        counted = 0
        ours, self._seats = self._seats, {}
        self._taken.clear()
        self._untold.clear()
        self._others = sum(seats.count for seats in theirs) / len(ours) if ours else sisters
        heartbeats = {row.id: asked_at - row.seen_ms_ago / 1000 for row in self._rows.values()}
        for seats in theirs:
            seat = _seat(seats.server, asked_at - seats.ms_ago / 1000, heartbeats)
            if seat is not None:
                self._count(seat, seats.count)
                counted += seats.count
        for who, old in ours.items():
            seat = _seat(old.server, old.at, heartbeats)
            if seat is not None:
                self._sit(who, seat)
        return counted

    def handed_out(self, now: float) -> Iterator[Seats]:
        """What sisters should count in."""
        ages = Counter((seat.server, int((now - seat.at) * 1000) // STEP_MS) for seat in self._seats.values())
        for (server, steps), count in ages.items():
            yield Seats(server, min(steps * STEP_MS, OLDEST_MS), count)

    def open_servers(self) -> frozenset[ServerId]:
        """The servers of the latest picture that take clients, full or not."""
        return frozenset(self._rows)

    def age_seconds(self, now: float) -> float | None:
        """Of the picture; None: there is none yet."""
        return None if self._looked_at is None else now - self._looked_at

    def stale(self, now: float) -> bool:
        """True when there is no picture that may still be used."""
        return self._looked_at is None or now - self._looked_at > self._rules.stale_seconds

    @property
    def scarce(self) -> bool:
        """Less is free than the floor."""
        return self._free < self._scarce_under

    # --- a client ----------------------------------------------------------------------------------------------------

    def servers_for(self, who: str, now: float) -> list[str]:
        """The URLs `who` is to try, best first; `who` is any stable name of a client. Empty: nobody has room for it."""
        self._stand_up(who)
        chosen = list(islice(self._with_room(), self._rules.max_servers))
        if not chosen:
            return []
        self._sit(who, _Seat(chosen[0], now, unseen=True, weight=1.0))
        self._rank(chosen[0])
        while len(self._seats) > MAX_SEATS:
            self._stand_up(next(iter(self._seats)))
        return [self._rows[server].url for server in chosen]

    def _with_room(self) -> Iterator[ServerId]:
        """The best first."""
        if not self.scarce:
            return (server for *_, server in self._order if self._room[server] > 0)
        if len(self._seats) >= self._most or self._untold.total() >= self._more:
            return iter(())
        return (server for *_, server in self._order if self._surely_has_room(self._rows[server]))

    def _surely_has_room(self, row: ServerRow) -> bool:
        return row.connections + self._taken[row.id] + 1 <= row.capacity

    def _rank(self, server: ServerId) -> None:
        """Put it where it belongs now."""
        before = self._ranks.get(server)
        if before is not None:
            del self._order[bisect_left(self._order, before)]
        row = self._rows[server]
        away = bool(self._rules.zone) and row.zone != self._rules.zone
        taken = self._taken[server] + self._others * self._untold[server]
        self._ranks[server] = rank = (away, row.fill(taken), self._chance.random(), server)
        insort(self._order, rank)

    def _sit(self, who: str, seat: _Seat) -> None:
        self._seats[who] = seat
        self._count(seat, 1)
        self._untold[seat.server] += self._is_untold(seat)

    def _stand_up(self, who: str) -> None:
        seat = self._seats.pop(who, None)
        if seat is not None:
            self._count(seat, -1)
            self._untold[seat.server] -= self._is_untold(seat)
            self._rank(seat.server)

    def _is_untold(self, seat: _Seat) -> bool:
        return self._looked_at is None or seat.at > self._looked_at

    def _count(self, seat: _Seat, seats: int) -> None:
        """So many more seats like this one are taken, or fewer."""
        self._taken[seat.server] += seat.weight * seats
        if seat.unseen:
            before = self._room[seat.server]
            self._room[seat.server] = after = before - seats
            self._free += max(0, after) - max(0, before)


def _seat(server: ServerId, at: float, heartbeats: Mapping[ServerId, float]) -> _Seat | None:
    """A seat handed out at this time; None if it need not be counted: the server's heartbeat has, or it is not open."""
    heartbeat = heartbeats.get(server)
    if heartbeat is None or at <= heartbeat - SETTLE_SECONDS:
        return None
    return _Seat(server, at, at > heartbeat, min(1.0, 1 - (heartbeat - at) / SETTLE_SECONDS))


def _part(whole: int, name: str, others: Sequence[str]) -> int:
    """What is left over after a fair division goes to those whose names come first: all parts make the whole."""
    each, rest = divmod(whole, len(others) + 1)
    return each + (sum(other < name for other in others) < rest)
