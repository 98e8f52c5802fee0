"""A storm: socket servers die at once, and all who were connected there look for another place.

Owns: the world of the simulation: queues at Box Offices and servers, deadlines, what is counted. Box Offices are the
real Desk and Seating, told of servers and sisters as in life; devices are storm_devices.py's. Time is simulated: an
event at a time, no sleeping. Must not know: how results are shown.

Each question to a Box Office and each handshake is work that waits its turn, and is done even if the device has given
up meanwhile: that is what makes storms dangerous.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from pushctl.errors import NoCapacity, StoreUnavailable
from pushctl.http.address_rates import AddressRates
from pushctl.protocol.peer import AskBoxOffice, Step, TryServer
from pushctl.rates import Rate
from roles.boxoffice.desk import Desk
from roles.boxoffice.seating import Rules
from tests.benchmarks.storm_devices import Device, Policy
from tests.unit.boxoffice.fleet import Fleet, Server

TRIP_SECONDS = (0.02, 0.2)
"""There and back, between a device and us."""

OFFICE_SECONDS = 0.0004
"""Of a Box Office for a question, refusals included: 2,500 a second."""

OFFICE_QUEUE = 10_000
"""Questions that wait at a Box Office (http.max_connections); more are 503 at once."""
OVERLOADED_SECONDS = 2

HANDSHAKE_SECONDS = 0.0025
"""Of a socket server for a connection: TLS, upgrade, hello, sync. While many wait, so do those who are
connected there."""

HELLO_SECONDS = 0.0001
"""Of Redis for a hello: session, lease, log. It is one for all servers, and for messages, too."""

REDIS_PATIENCE_SECONDS = 2.0
"""A hello that Redis cannot answer within this time fails (redis.timeout_seconds)."""

PATIENCE_SECONDS = 10.0
"""Of a device, for an answer or a welcome."""

FULL_SECONDS = (30, 60)
"""Retry-After of a socket server that is full."""

TRIED_AT_RANDOM = 5

RULES = Rules(max_servers=5, stale_seconds=30, floor=0.05)


@dataclass(frozen=True, slots=True)
class Setting:
    """`fill`: of every server before the storm. `restart_seconds`: after so long those that died are there again; None:
    never. `arrivals_...`: as configured, of each Box Office."""

    clients: int = 1_000_000
    servers: int = 100
    die: int = 10
    offices: int = 3
    fill: float = 0.85
    restart_seconds: float | None = None
    arrivals_per_second: float = 1000
    arrivals_burst: int = 5000
    most_seconds: float = 900

    def fleet(self) -> list[Server]:
        """A quarter small, half middling, a quarter large, all equally full, in an order in which the first to die are
        some of each."""
        sizes = (1, 2, 2, 3)
        whole = sum(sizes[n % 4] for n in range(self.servers))
        return [self._server(f"s{n}", self.clients * sizes[n % 4] // whole) for n in range(self.servers)]

    def _server(self, name: str, connections: int) -> Server:
        return Server(name, connections, round(connections / self.fill))


@dataclass(slots=True)
class Counts:
    """By second: `asked`: questions to all Box Offices; `knocked`: attempts at each server; `back`: devices welcomed.
    Waits: the longest, in seconds."""

    asked: Counter[int] = field(default_factory=Counter)
    knocked: Counter[tuple[str, int]] = field(default_factory=Counter)
    back: Counter[int] = field(default_factory=Counter)
    turned_away: int = 0
    """by servers that were full"""
    given_up: int = 0
    """by devices that waited too long for an answer or a welcome"""
    failed: int = 0
    """hellos that Redis could not answer in time"""
    office_wait: float = 0.0
    server_wait: float = 0.0
    redis_wait: float = 0.0


class Line:
    """Work that is done one piece after another."""

    def __init__(self, seconds_each: float) -> None:
        self._seconds_each = seconds_each
        self._busy_until = 0.0

    def wait(self, now: float) -> float:
        """Seconds until it would be begun."""
        return max(0.0, self._busy_until - now)

    def enter(self, now: float) -> float:
        """When it is done."""
        self._busy_until = max(self._busy_until, now) + self._seconds_each
        return self._busy_until


@dataclass(slots=True)
class _Lost:
    """A device without a connection. `waits`: for which of its questions; an answer to an older one comes too late."""

    name: str
    device: Device
    waits: int = 0


class Storm(Fleet):
    def __init__(self, setting: Setting, policy: Policy, *, seed: int = 7) -> None:
        servers = setting.fleet()
        super().__init__(servers, offices=setting.offices, rules=RULES, seed=seed)
        self.setting = setting
        self.policy = policy
        self.counts = Counts()
        self.lost = 0
        self.returned = 0
        self._urls = [server.url for server in servers]
        arrivals = Rate(setting.arrivals_per_second, setting.arrivals_burst)
        self._desks = [
            Desk(
                office,
                addresses=AddressRates(None, []),
                arrivals=arrivals if policy.spread else None,
                now=0.0,
                chance=self.chance,
            )
            for office in self.offices.values()
        ]
        self._redis = Line(HELLO_SECONDS)
        self._queues = [Line(OFFICE_SECONDS) for _ in self._desks]
        self._accepting = {url: Line(HANDSHAKE_SECONDS) for url in self._urls}

    def play(self, share: float = 0.99) -> float | None:
        """Break out, and go on until such a share of the lost are back: after how many seconds. None: they were not in
        the time that the setting gives them."""
        self.run(10.0)  # heartbeats and looks are under way
        self._began = self.now
        for server in list(self.servers.values())[: self.setting.die]:
            self._die(server)
        wanted = share * self.lost
        while self.returned < wanted and self.now - self._began < self.setting.most_seconds:
            self.run(self.now + 0.1)
        return self.now - self._began if self.returned >= wanted else None

    @property
    def second(self) -> int:
        """Of the storm."""
        return int(self.now - self._began)

    def _die(self, server: Server) -> None:
        """Killed: its connections break at once, and nobody listens there any more."""
        server.alive = False
        for n in range(server.connections):
            lost = _Lost(f"{server.name}-{n}", self.policy.device(self.chance.random))
            self.soon(TRIP_SECONDS, partial(self._cut_off, lost))
        self.lost += server.connections
        server.connections = 0
        if self.setting.restart_seconds is not None:
            self.at(self.now + self.setting.restart_seconds, partial(self._restart, server))

    def _restart(self, server: Server) -> None:
        server.alive = True
        self._beat(server)

    def _cut_off(self, lost: _Lost) -> None:
        lost.device.welcomed(self.now - 3600)  # it had been a good connection
        self._next(lost, lost.device.closed(1006, self.now))

    def _next(self, lost: _Lost, step: Step) -> None:
        if isinstance(step, AskBoxOffice):
            self.at(self.now + step.after_seconds, partial(self._ask if self.policy.asks else self._look_around, lost))
        elif isinstance(step, TryServer):
            self.soon(TRIP_SECONDS, partial(self._knock, lost, self.servers[step.url]))

    # --- Box Offices -------------------------------------------------------------------------------------------------

    def _look_around(self, lost: _Lost) -> None:
        """Without a Box Office."""
        self._next(lost, lost.device.offered(self.chance.sample(self._urls, TRIED_AT_RANDOM), 30, self.now))

    def _ask(self, lost: _Lost) -> None:
        self.counts.asked[self.second] += 1
        office = self.chance.randrange(len(self._desks))
        queue = self._queues[office]
        wait = queue.wait(self.now)
        self.counts.office_wait = max(self.counts.office_wait, wait)
        if wait >= OFFICE_QUEUE * OFFICE_SECONDS:
            self._next(lost, lost.device.box_office_refused(503, OVERLOADED_SECONDS))
            return
        done = queue.enter(self.now)
        self.at(done, partial(self._answer, lost, self._desks[office], self._patience(lost, done, self._no_answer)))

    def _answer(self, lost: _Lost, desk: Desk, question: int) -> None:
        seconds = None
        servers: Sequence[str] = ()
        try:
            servers = desk.servers_for(lost.name, self.now)
        except (NoCapacity, StoreUnavailable) as refused:
            seconds = refused.retry_after_seconds
        if lost.waits != question:
            return  # nobody reads it
        lost.waits += 1
        if servers:
            self._next(lost, lost.device.offered(servers, 30, self.now))
        else:
            self._next(lost, lost.device.box_office_refused(503, seconds))

    def _no_answer(self, lost: _Lost) -> None:
        self._next(lost, lost.device.box_office_unreachable())

    # --- socket servers ----------------------------------------------------------------------------------------------

    def _knock(self, lost: _Lost, server: Server) -> None:
        self.counts.knocked[server.name, self.second] += 1
        if not server.alive:
            self._next(lost, lost.device.server_failed(self.now))
        elif server.connections >= server.capacity:
            self._turn_away(lost)
        else:
            accepting = self._accepting[server.url]
            self.counts.server_wait = max(self.counts.server_wait, accepting.wait(self.now))
            done = accepting.enter(self.now)
            question = self._patience(lost, done + REDIS_PATIENCE_SECONDS, self._no_welcome)
            self.at(done, partial(self._hello, lost, server, question))

    def _hello(self, lost: _Lost, server: Server, question: int) -> None:
        wait = self._redis.wait(self.now)
        self.counts.redis_wait = max(self.counts.redis_wait, wait)
        if wait > REDIS_PATIENCE_SECONDS:
            self.counts.failed += 1
            self.at(self.now + REDIS_PATIENCE_SECONDS, partial(self._fail, lost, question))
        else:
            self.at(self._redis.enter(self.now), partial(self._welcome, lost, server, question))

    def _fail(self, lost: _Lost, question: int) -> None:
        if lost.waits == question:
            lost.waits += 1
            self._next(lost, lost.device.server_failed(self.now))

    def _welcome(self, lost: _Lost, server: Server, question: int) -> None:
        if lost.waits != question:
            return
        lost.waits += 1
        if server.connections >= server.capacity:
            self._turn_away(lost)
            return
        server.connections += 1
        lost.device.welcomed(self.now)
        self.returned += 1
        self.counts.back[self.second] += 1

    def _turn_away(self, lost: _Lost) -> None:
        self.counts.turned_away += 1
        self._next(lost, lost.device.server_failed(self.now, self.chance.uniform(*FULL_SECONDS)))

    def _no_welcome(self, lost: _Lost) -> None:
        self._next(lost, lost.device.server_failed(self.now))

    # --- patience ----------------------------------------------------------------------------------------------------

    def _patience(self, lost: _Lost, done: float, give_up: Callable[[_Lost], None]) -> int:
        """A device waits for what is done then; if that is too long it gives up. The number of its question."""
        lost.waits += 1
        question = lost.waits
        if done > self.now + PATIENCE_SECONDS:
            self.at(self.now + PATIENCE_SECONDS, partial(self._lose_patience, lost, question, give_up))
        return question

    def _lose_patience(self, lost: _Lost, question: int, give_up: Callable[[_Lost], None]) -> None:
        if lost.waits == question:
            self.counts.given_up += 1
            lost.waits += 1
            give_up(lost)
