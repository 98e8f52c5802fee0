"""A fleet of socket servers and sister Box Offices on a clock of its own: the real Seating, everything else pretended.

Owns: time, heartbeats, looks, and clients who connect a moment after they were told where. What offices tell each other
goes through its real encoding. Nothing is started: `run` plays until a moment.
"""

import random
from collections.abc import Callable, Sequence
from functools import partial
from heapq import heappop, heappush
from itertools import count

from pushctl.ids import ServerId
from pushctl.registry.offices import FRESH_MS, Sister, decoded, encoded
from pushctl.registry.servers import QUIET_MS, Row, ServerRow
from roles.boxoffice.seating import Rules, Seating

HEARTBEAT_SECONDS = (1.6, 2.4)
LOOK_SECONDS = (0.8, 1.2)
CONNECT_SECONDS = (0.02, 0.5)


class Server:
    def __init__(self, name: str, connections: int, capacity: int) -> None:
        self.name = name
        self.url = f"ws://{name}/"
        self.connections = connections
        self.capacity = capacity
        self.alive = True
        self.row = self._row()
        self.beaten_at = 0.0

    @property
    def fill(self) -> float:
        return self.connections / self.capacity

    def beat(self, now: float) -> None:
        self.row, self.beaten_at = self._row(), now

    def seen(self, now: float) -> ServerRow:
        """As a judge sees it who has been watching all the time."""
        silent_ms = round((now - self.beaten_at) * 1000)
        return ServerRow(ServerId(self.name), self.row, silent_ms <= QUIET_MS, silent_ms)

    def _row(self) -> Row:
        return Row("ready", self.url, self.connections, self.capacity, 1, "0", "")


class Fleet:
    def __init__(self, servers: Sequence[Server], *, offices: int, rules: Rules, seed: int = 7) -> None:
        self.now = 0.0
        self.servers = {server.url: server for server in servers}
        self.chance = random.Random(seed)
        self.offices = {f"office-{n}": Seating(rules, name=f"office-{n}", chance=self.chance) for n in range(offices)}
        self.sent_on = self.turned_away = self.unlucky = 0
        """clients who were given a list, were not, or found none of its servers with room"""
        self._told: dict[str, tuple[float, bytes]] = {}
        """what each office last told, and when"""
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        for server in servers:
            self.at(self.chance.uniform(0, HEARTBEAT_SECONDS[1]), partial(self._beat, server))
        for name in self.offices:
            self._look(name)

    def at(self, when: float, what: Callable[[], None]) -> None:
        heappush(self._agenda, (when, next(self._numbers), what))

    def soon(self, span: tuple[float, float], what: Callable[[], None]) -> None:
        self.at(self.now + self.chance.uniform(*span), what)

    def run(self, until: float) -> None:
        while self._agenda and self._agenda[0][0] <= until:
            self.now, _, what = heappop(self._agenda)
            what()
        self.now = until

    def client(self, who: str, office: str) -> None:
        """Asks, and tries the servers in the order it was told."""
        told = self.offices[office].servers_for(who, self.now)
        if told:
            self.sent_on += 1
            self.soon(CONNECT_SECONDS, partial(self._connect, told))
        else:
            self.turned_away += 1

    def arrivals(self, clients: int, seconds: float, offices: Sequence[str] | None = None) -> None:
        """So many from now on, evenly, each at an office by chance."""
        names = list(offices or self.offices)
        for n in range(clients):
            when = self.now + seconds * n / clients
            self.at(when, partial(self._arrive, f"client-{n}", names))

    def _arrive(self, who: str, offices: Sequence[str]) -> None:
        self.client(who, self.chance.choice(offices))

    def kill_office(self, name: str) -> None:
        """It looks no more; what it told stays where it is."""
        del self.offices[name]

    def spread_of_fill(self) -> float:
        """Between the fullest and the emptiest server, in points."""
        fills = [server.fill for server in self.servers.values()]
        return 100 * (max(fills) - min(fills))

    def _connect(self, told: Sequence[str]) -> None:
        for url in told:
            server = self.servers[url]
            if server.connections < server.capacity:
                server.connections += 1
                return
        self.unlucky += 1

    def _beat(self, server: Server) -> None:
        if not server.alive:
            return
        server.beat(self.now)
        self.soon(HEARTBEAT_SECONDS, partial(self._beat, server))

    def _look(self, name: str) -> None:
        if name not in self.offices:
            return
        office = self.offices[name]
        self._told[name] = self.now, encoded(office.handed_out(self.now))
        sisters = [
            Sister(sister, tuple(decoded(told, round((self.now - at) * 1000))))
            for sister, (at, told) in self._told.items()
            if sister != name and self.now - at <= FRESH_MS / 1000
        ]
        office.look([server.seen(self.now) for server in self.servers.values()], self.now, sisters)
        self.soon(LOOK_SECONDS, partial(self._look, name))
