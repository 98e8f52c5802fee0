"""Devices to whom nothing happens while others lose their server: how long do their messages take meanwhile?

Owns: their accounts, connections and messages. Promises: each message came once, to a connection that held, or Unsound
is raised. Must not know: what happens to the others.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from urllib.parse import urlsplit

import trio

from pushctl.identity.keys import Keys
from pushctl.identity.sealing import Sealer
from tests.benchmarks.fleet_site import PREFIX, Site
from tests.benchmarks.peer.parts import HttpPublisher
from tests.benchmarks.peer.pushctl import HEADERS, Dialect, accounts
from tests.benchmarks.peers_devices import BODY, Device, Ledger, Outcome, connect
from tests.benchmarks.rig import registry_on
from tests.benchmarks.unsound import Unsound
from tests.faults.processes import RoleProcess

ARRIVAL_SECONDS = 30


class Bystanders:
    """Of one socket server."""

    def __init__(self, site: Site, server: RoleProcess, people: list[tuple[str, str]]) -> None:
        port = int(server.settings["socket.listen"].rpartition(":")[2])
        self._paths = [path for _, path in people]
        self._ledger = Ledger()
        self._devices = [Device(n, port, Dialect(token), self._ledger) for n, (token, _) in enumerate(people)]
        self._publisher = HttpPublisher(urlsplit(site.api).port or 0, HEADERS)

    @property
    def next(self) -> int:
        """The number of the message that is sent next."""
        return self._ledger.next

    async def come(self, nursery: trio.Nursery) -> None:
        """Returns when all are connected."""
        await connect(self._devices, nursery)
        for device in self._devices:
            device.broken = 0  # a server may have put them off

    async def hear(self, per_second: float, over: trio.Event) -> None:
        """Messages come to one after the other, until it is over."""
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            for number in count():
                await trio.sleep_until(start + number / per_second)
                if over.is_set():
                    return
                nursery.start_soon(self._send, number % len(self._devices))

    async def _send(self, device: int) -> None:
        number = self._ledger.sends(device)
        if await self._publisher.post(self._paths[device], BODY.format(number).encode()):
            self._ledger.confirms(number)

    async def latencies_ms(self, begin: int, end: int) -> list[float]:
        """From POST to frame, of the messages with these numbers, in order of size."""
        await self._ledger.settled(ARRIVAL_SECONDS)
        outcome = self._ledger.outcome(range(begin, end))
        broken = sum(device.broken for device in self._devices)
        if broken or outcome != Outcome(end - begin, end - begin, 0, 0, 0):
            raise Unsound(f"to whom nothing should have happened: {broken} connections broke; {outcome}")
        return sorted(self._ledger.latencies[number] * 1000 for number in range(begin, end))


@asynccontextmanager
async def bystanders_at(site: Site, server: RoleProcess, count: int) -> AsyncIterator[Bystanders]:
    """They have accounts, and come when told."""
    sealer = Sealer(Keys.load(site.here / "keys.toml"))
    async with registry_on(site.redis.url, prefix=PREFIX) as registry:
        people = await accounts(registry, sealer, count)
    yield Bystanders(site, server, people)
