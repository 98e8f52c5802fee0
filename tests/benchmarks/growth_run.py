"""Measuring what accepting, delivering and connecting cost with few and with many users, small and large inboxes.

Owns: the order of what is measured, its amounts. Promises: all came, once, in order, or Unsound is raised.
Must not know: what should grow.
"""

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import trio

from tests.benchmarks.peer import Running
from tests.benchmarks.peer.pushctl import running
from tests.benchmarks.peers_load import QUIET_SECONDS, Load, Spent
from tests.benchmarks.rig import machine
from tests.benchmarks.unsound import Unsound

TIMES = 10
"""So many more."""


@dataclass(frozen=True, slots=True)
class Size:
    """`users`, each with a device, and `stored` unread messages of each; then ten times as many of either."""

    users: int = 200
    stored: int = 5
    messages: int = 1500
    """Of a stretch, as fast as they are taken."""
    idle_seconds: float = 3
    rounds: int = 3


@dataclass(frozen=True, slots=True)
class Life:
    """One service: CPU in µs of each process, for one of what was done, by what that was."""

    users: int
    stored: int
    version: str
    costs: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Measured:
    """All there is to tell. `machine`: what it was, and how busy, when measuring began."""

    machine: str
    size: Size
    lives: Sequence[Life]


class Bench:
    """One running service, and its devices."""

    def __init__(self, service: Running, users: int, size: Size, nursery: trio.Nursery) -> None:
        self._size = size
        self._load = Load("pushctl", service, users, nursery)

    async def costs(self) -> dict[str, dict[str, float]]:
        """All that is measured, in order. Raises Unsound."""
        load, size = self._load, self._size
        come, users = partial(load.come, load.devices), len(load.devices)
        found = {"connect, with a snapshot": await self._spent(come, users)}
        await load.leave(load.devices)
        found["connect, nothing missed"] = await self._spent(come, users)
        idle = await self._spent(partial(trio.sleep, size.idle_seconds), 1)
        await load.calm(load.burst, users)  # scripts are loaded, connections open
        found["deliver"] = await load.calm(load.burst, size.messages)
        await load.leave(load.devices)
        begin = load.ledger.next
        accept = await self._spent(partial(load.burst, size.messages), size.messages)
        confirmed = load.ledger.outcome(range(begin, load.ledger.next)).confirmed
        if confirmed != size.messages:
            raise Unsound(f"{confirmed} of {size.messages} messages were accepted")
        costs = {what: _each(spent, idle) for what, spent in found.items()}
        return costs | {"accept": _each(accept, Spent(1, dict.fromkeys(accept.cpu, 0), 1))}

    async def _spent(self, work: Callable[[], Awaitable[object]], done: int) -> Spent:
        await trio.sleep(QUIET_SECONDS)
        return await self._load.spent(work, done)


def _each(spent: Spent, idle: Spent) -> dict[str, float]:
    """µs of each process for one, without what idling costs."""
    return {
        name: max(cpu - idle.cpu[name] / idle.seconds * spent.seconds, 0) * 1e6 / spent.count
        for name, cpu in spent.cpu.items()
    }


async def measure(users: int, stored: int, size: Size) -> Life:
    """One life. Raises Unsound."""
    async with running(users, stored=stored) as service, trio.open_nursery() as nursery:
        costs = await Bench(service, users, size, nursery).costs()
        nursery.cancel_scope.cancel()
    return Life(users, stored, service.version, costs)


async def measure_all(size: Size) -> Measured:
    """In each round once as it is, with more users, and with more messages. Raises Unsound."""
    lives: list[Life] = []
    busy = machine()
    for _ in range(size.rounds):
        for users, stored in (
            (size.users, size.stored),
            (size.users * TIMES, size.stored),
            (size.users, size.stored * TIMES),
        ):
            lives.append(await measure(users, stored, size))
            print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return Measured(busy, size, lives)
