"""Senders and devices for measuring routing, in this process: cheap enough to leave the cores to what is measured.

Owns: who is connected where, the ledger of what is under way. Promises: a message counts when each device it was for
has it; one that does not come, comes twice or comes to somebody else is noticed. A device here is a bare TCP stream
(bare.py). Must not know: strategies, CPU.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, cycle, islice
from typing import NamedTuple

import trio

from pushctl.clock import system_clock
from pushctl.identity.sealing import PushAddress, Sealer, hash_session_token, new_session_token
from pushctl.ids import UserId, new_id
from pushctl.inbox import Inbox
from pushctl.protocol.frames import Notification
from pushctl.registry import Registry
from pushctl.webpush.request import Push
from tests.benchmarks.bare import CLOSE, PING, PONG, TEXT, frames, masked, more, upgrade
from tests.benchmarks.rig import DAY_MS, allow
from tests.benchmarks.routing_site import PUBLIC_URL
from tests.benchmarks.unsound import Unsound

ARRIVAL_SECONDS = 30
"""How long after the last was sent a message may still come before it counts as lost."""

CALLERS = 64
"""Messages being published at once, when as many as possible are."""

BODY = "#{:08d} ".ljust(200, "x")
_MARK = re.compile(rb'"body":"#(\d{8}) ')


# --- what is under way -----------------------------------------------------------------------------------------------


class Arrival(NamedTuple):
    """Of one message on one device: when, and how many seconds after the call that published it."""

    at: float
    seconds: float


class Ledger:
    """Messages by number: sent when, and to which devices (by number, too) they still have to come."""

    def __init__(self) -> None:
        self._due: dict[int, set[int]] = {}
        self._sent_at: dict[int, float] = {}
        self._all_there = trio.Event()
        self._mistakes: list[str] = []
        self.arrivals: list[Arrival] = []

    def sends(self, number: int, devices: Sequence[int]) -> None:
        if devices:
            self._due[number] = set(devices)
            self._sent_at[number] = trio.current_time()

    def arrives(self, number: int, device: int) -> None:
        due = self._due.get(number, set())
        if device not in due:
            self._mistakes.append(f"message {number} came to device {device} unasked or again")
            return
        due.remove(device)
        now = trio.current_time()
        self.arrivals.append(Arrival(now, now - self._sent_at[number]))
        if not due:
            del self._due[number], self._sent_at[number]
            if not self._due:
                self._all_there.set()

    async def settled(self) -> None:
        """Returns once all that was sent is there. Raises Unsound when something is lost or went wrong."""
        with trio.move_on_after(ARRIVAL_SECONDS):
            while self._due:
                self._all_there = trio.Event()
                await self._all_there.wait()
        if self._due:
            self._mistakes.append(f"{len(self._due)} messages did not come to all of their devices")
        if self._mistakes:
            raise Unsound("; ".join(self._mistakes[:5]))


# --- people ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Addressee:
    """A user as a sender knows them, and the numbers of their devices."""

    token: str
    devices: Sequence[int]


class Crowd:
    """Makes users and connects their devices, for as long as `nursery` is open."""

    def __init__(self, registry: Registry, sealer: Sealer, ports: Sequence[int], nursery: trio.Nursery) -> None:
        self.ledger = Ledger()
        self._registry = registry
        self._sealer = sealer
        self._ports = ports
        self._nursery = nursery
        self._devices = count()

    async def join(self, users: int, *, everywhere: bool) -> list[Addressee]:
        """So many users, each with a device on one server, in turn, or with one on each."""
        turns = cycle(self._ports)
        return [await self._one(self._ports if everywhere else [next(turns)]) for _ in range(users)]

    async def absent(self, users: int) -> list[Addressee]:
        """So many users who are connected nowhere."""
        return [await self._one([]) for _ in range(users)]

    async def _one(self, ports: Sequence[int]) -> Addressee:
        user, identity = UserId(new_id(16)), new_id(32)
        sessions = [await self._session(user, identity) for _ in ports or [0]]
        push_url, number = await allow(self._registry, user, key_id=self._sealer.key_id)
        token = self._sealer.seal_push_url(PushAddress(user, push_url, number), self._sealer.key_id)
        devices = list(islice(self._devices, len(ports)))
        for port, device, session in zip(ports, devices, sessions, strict=False):
            await self._nursery.start(_listen, port, session, device, self.ledger)
        return Addressee(token, devices)

    async def _session(self, user: UserId, identity: str) -> str:
        """Of a new device."""
        token = new_session_token()
        session = hash_session_token(token)
        registered = await self._registry.users.register(
            user, device=None, name="laptop", session=session, identity=identity
        )
        expires_at_ms = system_clock() + DAY_MS
        await self._registry.sessions.begin(
            session, user, registered.device, provider="browserid-dev", expires_at_ms=expires_at_ms, lasts_ms=DAY_MS
        )
        return token


async def _listen(port: int, session: str, device: int, ledger: Ledger, *, task_status: trio.TaskStatus[None]) -> None:
    """One device: started once it is in sync. Raises Unsound when its connection ends."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        buffer = await upgrade(stream, device)
        await stream.send_all(masked(TEXT, json.dumps({"type": "hello", "token": session}).encode()))
        in_sync = False
        while True:
            for opcode, payload in frames(buffer):
                if opcode == CLOSE:
                    raise Unsound(f"device {device} was closed: {payload!r}")
                if opcode == PING:
                    await stream.send_all(masked(PONG, payload))
                for number in _MARK.findall(payload):
                    ledger.arrives(int(number), device)
                if not in_sync and b'"type":"sync"' in payload and b'"done":true' in payload:
                    in_sync = True
                    task_status.started()
            buffer += await more(stream, device)


# --- senders ---------------------------------------------------------------------------------------------------------


class Sender:
    """Publishes as the api does, without HTTP in front of it."""

    def __init__(self, registry: Registry, sealer: Sealer, ledger: Ledger) -> None:
        self._inbox = Inbox(registry, sealer, PUBLIC_URL, count=lambda *_: None)
        self._ledger = ledger
        self._numbers = count()

    async def paced(self, addressees: Sequence[Addressee], messages: int, per_second: float) -> None:
        """So many messages in turn, each at its moment, however long the one before takes."""
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            for n, addressee in enumerate(islice(cycle(addressees), messages)):
                await trio.sleep_until(start + n / per_second)
                nursery.start_soon(self._send, addressee)

    async def at_once(self, addressees: Sequence[Addressee], messages: int) -> None:
        """So many messages in turn, as fast as it goes."""
        left = islice(cycle(addressees), messages)

        async def caller() -> None:
            for addressee in left:
                await self._send(addressee)

        async with trio.open_nursery() as nursery:
            for _ in range(CALLERS):
                nursery.start_soon(caller)

    async def _send(self, addressee: Addressee) -> None:
        number = next(self._numbers)
        text = BODY.format(number)
        push = Push(
            body=text.encode(),
            notification=Notification(body=text),
            data=None,
            encoding=None,
            headers=None,
            ttl_seconds=3600,
            topic=None,
            urgency="normal",
            idempotency_key=None,
        )
        self._ledger.sends(number, addressee.devices)
        await self._inbox.publish(addressee.token, push)
