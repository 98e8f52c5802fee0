"""A load on a running peer: its devices come and go, messages are sent, and the CPU of each process is known.

Owns: the pace of sending. Promises: `calm` is sound: all came, once, in order, and no connection broke, or Unsound is
raised. Must not know: what is measured, and how figures are told.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, cycle, islice

import trio

from tests.benchmarks.peer import Running
from tests.benchmarks.peers_devices import BODY, Device, Ledger, Outcome, connect
from tests.benchmarks.routing_site import cpu_seconds
from tests.benchmarks.unsound import Unsound

CALLERS = 64
"""Messages being published at once, when as many as possible are; never two for one device."""

ARRIVAL_SECONDS = 30
QUIET_SECONDS = 1.0
"""Before something is measured: what came before is done then."""


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU seconds of each process, while they did so many."""

    seconds: float
    cpu: Mapping[str, float]
    count: int

    @property
    def all(self) -> float:
        return sum(self.cpu.values())


class Load:
    """`name`: whose, in what is raised."""

    def __init__(self, name: str, running: Running, devices: int, nursery: trio.Nursery) -> None:
        self._name = name
        self._running = running
        self._nursery = nursery
        self.ledger = Ledger()
        self.devices = [Device(n, running.port, running.dialect(n), self.ledger) for n in range(devices)]

    # --- devices -----------------------------------------------------------------------------------------------------

    async def come(self, some: Sequence[Device]) -> None:
        """Returns when they are connected and brought what they missed."""
        await connect(some, self._nursery)

    async def leave(self, some: Sequence[Device]) -> None:
        """Returns when the server has seen it."""
        for device in some:
            device.leave()
        await trio.sleep(QUIET_SECONDS)

    # --- what it costs -----------------------------------------------------------------------------------------------

    async def spent(self, work: Callable[[], Awaitable[object]], done: int) -> Spent:
        pids = {**self._running.servers(), **self._running.storage()}
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        start = trio.current_time()
        await work()
        seconds = trio.current_time() - start
        return Spent(seconds, {name: cpu_seconds(pid) - before[name] for name, pid in pids.items()}, done)

    async def calm(self, send: Callable[[int], Awaitable[None]], messages: int) -> Spent:
        """What so many cost, until all are there. Raises Unsound."""
        begin = self.ledger.next

        async def work() -> None:
            await send(messages)
            await self.ledger.settled(ARRIVAL_SECONDS)

        spent = await self.spent(work, messages)
        self.check("while nothing was wrong", self.ledger.outcome(range(begin, self.ledger.next)))
        if any(device.broken for device in self.devices):
            raise Unsound(f"{self._name}: connections broke while nothing was wrong")
        await trio.sleep(QUIET_SECONDS)
        return spent

    def check(self, when: str, outcome: Outcome) -> None:
        """Raises Unsound."""
        if outcome.sent != outcome.confirmed or outcome.lost or outcome.twice or outcome.disordered:
            raise Unsound(f"{self._name}, {when}: {outcome}")

    # --- sending -----------------------------------------------------------------------------------------------------

    async def send(self, device: int) -> None:
        number = self.ledger.sends(device)
        if await self._running.publish(device, BODY.format(number).encode()):
            self.ledger.confirms(number)

    async def burst(self, messages: int) -> None:
        """To one device after the other, as fast as they are taken."""
        left = islice(count(), messages)

        async def caller() -> None:
            for number in left:
                await self.send(number % len(self.devices))

        async with trio.open_nursery() as nursery:
            for _ in range(min(CALLERS, len(self.devices) // 2)):
                nursery.start_soon(caller)

    async def paced(self, devices: Sequence[int], per_second: float, messages: int | None = None) -> None:
        """To one of these after the other, each at its moment; so many, or until cancelled."""
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            for number, device in enumerate(islice(cycle(devices), messages)):
                await trio.sleep_until(start + number / per_second)
                nursery.start_soon(self.send, device)
