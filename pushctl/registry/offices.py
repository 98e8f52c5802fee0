"""Box Offices among themselves: what each hands out, told to its sisters with every look at the servers.

Owns: script exchange_seats, and how seats travel. Promises: a look is one round trip, exchange included; what an office
said is forgotten FRESH_MS after it last said anything, so one that died is soon not counted any more.
Must not know: how seats are counted or who gets one.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from pushctl.ids import ServerId
from pushctl.registry.connection import Argument
from pushctl.registry.script import Script
from pushctl.registry.servers import ServerRow, judging, rows_in
from pushctl.registry.store import Store

EXCHANGE_SEATS = Script.load("exchange_seats")

FRESH_MS: Final = 5000
"""An office that has not looked for so long is gone."""

_Told = dict[ServerId, dict[int, int]]
"""Seats by server and by how many ms ago."""


class Seats(msgspec.Struct, frozen=True):
    """So many clients were told to try this server first, so long ago."""

    server: ServerId
    ms_ago: int
    count: int


class Sister(msgspec.Struct, frozen=True):
    """Another Box Office, and what it handed out up to its last look."""

    name: str
    seats: tuple[Seats, ...]


class Offices:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def look(self, office: str, seats: Iterable[Seats]) -> tuple[list[ServerRow], list[Sister]]:
        """The servers, as the judge of this office's name sees them, and the sisters; `seats`: what it tells them."""
        exchange: dict[str, Argument] = {"office": office, "seats": encoded(seats), "fresh_ms": FRESH_MS}
        picture, sisters = await self._store.run_together(
            judging(self._store, office), (EXCHANGE_SEATS, [self._store.keys.servers("seats")], exchange)
        )
        flat = iter(sisters)
        return rows_in(picture), [
            Sister(name.decode(), tuple(decoded(told, int(age))))
            for name, age, told in zip(flat, flat, flat, strict=True)
        ]


def encoded(seats: Iterable[Seats]) -> bytes:
    """As an office tells them."""
    told: _Told = {}
    for each in seats:
        by_age = told.setdefault(each.server, {})
        by_age[each.ms_ago] = by_age.get(each.ms_ago, 0) + each.count
    return msgspec.msgpack.encode(told)


def decoded(told: bytes, ms_ago: int) -> Iterable[Seats]:
    """As they are so long after they were told."""
    by_server = msgspec.msgpack.decode(told, type=_Told)
    for server, by_age in by_server.items():
        for age, count in by_age.items():
            yield Seats(server, age + ms_ago, count)
