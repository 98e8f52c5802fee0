"""Measuring one peer after the other: what it costs, and what it loses.

Owns: the order of what is measured, its amounts. Promises: while nothing is killed, nothing was lost and no connection
broke, or Unsound is raised; of pushctl nothing may ever be lost. Must not know: how a peer is built, how figures are
told.
"""

import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import uniform

import trio

from tests.benchmarks.peer import Peer, Running
from tests.benchmarks.peer.mosquitto import PEER as MOSQUITTO
from tests.benchmarks.peer.nats import PEER as NATS
from tests.benchmarks.peer.nchan import PEER as NCHAN
from tests.benchmarks.peer.pushctl import PEER as PUSHCTL
from tests.benchmarks.peer.socketio import PEER as SOCKETIO
from tests.benchmarks.peers_devices import Outcome
from tests.benchmarks.peers_load import ARRIVAL_SECONDS, QUIET_SECONDS, Load, Spent
from tests.benchmarks.rig import machine
from tests.benchmarks.unsound import Unsound

PEERS: dict[str, Peer] = {peer.name: peer for peer in (PUSHCTL, NCHAN, MOSQUITTO, NATS, SOCKETIO)}

WARM_MESSAGES_PER_DEVICE = 1
KILLED_PER_SECOND = 200
BEFORE_KILL_SECONDS = 3.0, 5.0
"""A kill is at any moment of these: what is written to disk each second or two must not always be just written."""

BACK_SECONDS = 15


@dataclass(frozen=True, slots=True)
class Size:
    devices: int = 1000
    rounds: int = 1
    idle_seconds: float = 5
    per_second: float = 200
    seconds: float = 5
    at_most: int = 4000
    """Messages, as fast as they are taken."""
    away: int = 100
    """Devices that are away, and `missed`: messages for each."""
    missed: int = 20


@dataclass(frozen=True, slots=True)
class Bytes:
    """Of memory. `servers`: what their processes have for themselves, and their share of what they share."""

    servers: int
    storage: int


@dataclass(frozen=True, slots=True)
class Killed:
    """`seconds`: until half a second's messages were confirmed again."""

    seconds: float
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Life:
    """One peer in one round."""

    peer: str
    version: str
    empty: Bytes
    full: Bytes
    connect: Spent
    idle: Spent
    paced: Spent
    latencies_ms: Sequence[float]
    at_most: Spent
    stored: Spent
    """For those who are away, and `returned`: they come and get it."""
    returned: Spent
    away: Outcome
    again: int
    """Of those messages that came once more, when they had been away for a second time."""
    servers_killed: Killed
    storage_killed: Killed | None


@dataclass(frozen=True, slots=True)
class Measured:
    """All there is to tell. `machine`: what it was, and how busy, when measuring began."""

    machine: str
    size: Size
    lives: Sequence[Life]


class Bench:
    """One running peer, and its devices."""

    def __init__(self, peer: Peer, running: Running, size: Size, nursery: trio.Nursery) -> None:
        self._peer = peer
        self._running = running
        self._size = size
        self._load = Load(peer.name, running, size.devices, nursery)
        self._ledger, self._devices = self._load.ledger, self._load.devices

    async def life(self) -> Life:
        """All that is measured, in order. Raises Unsound."""
        size = self._size
        await trio.sleep(QUIET_SECONDS)
        empty = self._bytes()
        connected = await self._load.spent(partial(self._load.come, self._devices), size.devices)
        idle = await self._load.spent(self._rest, size.devices)
        full = self._bytes()
        await self._load.calm(self._load.burst, WARM_MESSAGES_PER_DEVICE * size.devices)
        begin = self._ledger.next
        paced = await self._load.calm(self._flow, int(size.per_second * size.seconds))
        latencies = [self._ledger.latencies[number] * 1000 for number in range(begin, self._ledger.next)]
        at_most = await self._load.calm(self._load.burst, size.at_most)
        stored, returned, away, again = await self._away()
        await self._load.leave(self._devices[2 * size.away :])
        servers_killed = await self._killed(self._running.kill_servers)
        storage_killed = await self._killed(self._running.kill_storage) if self._running.storage() else None
        return Life(
            self._peer.name,
            self._running.version,
            empty,
            full,
            connected,
            idle,
            paced,
            latencies,
            at_most,
            stored,
            returned,
            away,
            again,
            servers_killed,
            storage_killed,
        )

    # --- what it costs -----------------------------------------------------------------------------------------------

    def _bytes(self) -> Bytes:
        return Bytes(
            sum(proportional_bytes(pid) for pid in self._running.servers().values()), self._running.storage_bytes()
        )

    async def _flow(self, messages: int) -> None:
        await self._load.paced(range(len(self._devices)), self._size.per_second, messages)

    async def _rest(self) -> None:
        await trio.sleep(self._size.idle_seconds)

    # --- those who are away ------------------------------------------------------------------------------------------

    async def _away(self) -> tuple[Spent, Spent, Outcome, int]:
        some, messages = self._devices[: self._size.away], self._size.away * self._size.missed
        await self._load.leave(some)
        begin = self._ledger.next
        stored = await self._load.spent(self._miss, messages)
        numbers = range(begin, self._ledger.next)

        async def come() -> None:
            await self._load.come(some)
            await self._ledger.settled(ARRIVAL_SECONDS)

        returned = await self._load.spent(come, messages)
        away = self._ledger.outcome(numbers)
        if self._peer is PUSHCTL:
            self._load.check("for those who were away", away)
        await trio.sleep(QUIET_SECONDS)
        await self._load.leave(some)
        await self._load.come(some)
        await trio.sleep(QUIET_SECONDS)
        return stored, returned, away, self._ledger.outcome(numbers).twice - away.twice

    async def _miss(self) -> None:
        """Each gets its messages one after the other, all of them at once."""

        async def caller(device: int) -> None:
            for _ in range(self._size.missed):
                await self._load.send(device)

        async with trio.open_nursery() as nursery:
            for device in range(self._size.away):
                nursery.start_soon(caller, device)

    # --- kill -9 -----------------------------------------------------------------------------------------------------

    async def _killed(self, kill: Callable[[], Awaitable[None]]) -> Killed:
        """While messages flow to devices of whom half are away, who come when it is over."""
        away = self._devices[: self._size.away]
        await self._load.leave(away)
        begin = self._ledger.next
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._load.paced, range(2 * self._size.away), KILLED_PER_SECOND)
            await trio.sleep(uniform(*BEFORE_KILL_SECONDS))
            killed_at, confirmed = trio.current_time(), self._ledger.confirmed
            await kill()
            with trio.move_on_after(BACK_SECONDS):
                while self._ledger.confirmed < confirmed + KILLED_PER_SECOND // 2:  # noqa: ASYNC110 - nobody tells
                    await trio.sleep(0.05)
            seconds = trio.current_time() - killed_at
            nursery.cancel_scope.cancel()
        await self._load.come(away)
        await self._ledger.settled(ARRIVAL_SECONDS)
        outcome = self._ledger.outcome(range(begin, self._ledger.next))
        if self._peer is PUSHCTL and outcome.lost:
            raise Unsound(f"pushctl lost what it had confirmed: {outcome}")
        await trio.sleep(QUIET_SECONDS)
        return Killed(seconds, outcome)


def proportional_bytes(pid: int) -> int:
    """Memory of a process: its own, and its share of what others have in common with it."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise Unsound(f"the kernel does not tell the memory of {pid}")


async def measure(peer: Peer, size: Size) -> Life:
    """One life. Raises Unsound."""
    async with peer.running(size.devices) as running, trio.open_nursery() as nursery:
        life = await Bench(peer, running, size, nursery).life()
        nursery.cancel_scope.cancel()
    return life


async def measure_all(names: Sequence[str], size: Size) -> Measured:
    """Each peer in each round, in changing order. Raises Unsound."""
    lives: list[Life] = []
    busy = machine()
    for number in range(size.rounds):
        for name in list(names)[:: -1 if number % 2 else 1]:
            lives.append(await measure(PEERS[name], size))
            print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return Measured(busy, size, lives)
