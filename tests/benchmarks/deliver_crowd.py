"""Devices of many users, each with one, in this process, and what of a load has come to them.

Owns: making users and connecting them, acknowledging as our client does, the ledger of what came. Promises: what comes
twice, out of order or not at all is noticed; a latency runs from the moment at which a message was due, by the clock
that its sender has, too (pushctl/client/schedule.py). A device is a bare TCP stream (bare.py).
Must not know: who sends, CPU, what is made of latencies.
"""

import json
import os
import re
import time
from collections import deque
from collections.abc import Sequence

import trio

from pushctl.client.connection import ACK_FRAMES, ACK_SECONDS
from pushctl.clock import system_clock
from pushctl.identity.sealing import PushAddress, Sealer, hash_session_token, new_session_token
from pushctl.ids import Cursor, UserId, new_id
from pushctl.registry import Registry
from tests.benchmarks.bare import CLOSE, PING, PONG, TEXT, frames, masked, more, upgrade
from tests.benchmarks.rig import DAY_MS, allow, for_each
from tests.benchmarks.unsound import Unsound

ARRIVAL_SECONDS = 30
"""How long after the last was accepted a message may still come before it counts as lost."""

_MARK = re.compile(rb'"body":"([wm])([0-9a-f]+)\.([0-9a-f]+)\.')
_CURSOR = re.compile(rb'"cursor":"([^"]+)"')


class Ledger:
    """What has come of one load after the other."""

    def __init__(self) -> None:
        self._mistakes: list[str] = []
        self.begin()

    def begin(self) -> None:
        """Of another load from now on."""
        self._numbers: set[int] = set()
        self.latencies: list[float] = []
        """Seconds, of those that were not its warm-up."""
        self.last_at = 0.0
        """When the latest came, by trio.current_time."""
        self._one_more = trio.Event()

    def arrives(self, number: int, due_us: int, *, warm: bool) -> None:
        if number in self._numbers:
            self._mistakes.append(f"message {number} came again")
        self._numbers.add(number)
        if not warm:
            self.latencies.append(time.monotonic_ns() / 1e9 - due_us / 1e6)
        self.last_at = trio.current_time()
        self._one_more.set()

    def mistake(self, what: str) -> None:
        self._mistakes.append(what)

    async def settled(self, expected: int) -> None:
        """Returns once so many are there. Raises Unsound when they do not come, or anything went wrong."""
        with trio.move_on_after(ARRIVAL_SECONDS):
            while len(self._numbers) < expected:
                self._one_more = trio.Event()
                await self._one_more.wait()
        if len(self._numbers) != expected:
            self._mistakes.append(f"{expected} messages were accepted, {len(self._numbers)} came")
        if self._mistakes:
            raise Unsound("; ".join(self._mistakes[:5]))


class Devices:
    """Connected for as long as `nursery` is open."""

    def __init__(self, registry: Registry, sealer: Sealer, port: int, api: str, nursery: trio.Nursery) -> None:
        self.ledger = Ledger()
        self.push_urls: list[str] = []
        self._registry = registry
        self._sealer = sealer
        self._port = port
        self._api = api
        self._nursery = nursery
        self._owed: deque[tuple[float, _Device]] = deque()
        self._somebody_owes = trio.Event()

    async def join(self, users: int) -> None:
        """So many users come, with a push URL and a device each. Returns when all are up to date."""
        self._nursery.start_soon(self._acknowledge)
        await for_each(range(users), self._join)

    async def _join(self, number: int) -> None:
        registry = self._registry
        user, identity, token = UserId(new_id(16)), new_id(32), new_session_token()
        session = hash_session_token(token)
        registered = await registry.users.register(user, device=None, name="laptop", session=session, identity=identity)
        expires_at_ms = system_clock() + DAY_MS
        await registry.sessions.begin(
            session, user, registered.device, provider="browserid-dev", expires_at_ms=expires_at_ms, lasts_ms=DAY_MS
        )
        push_url, count = await allow(registry, user, key_id=self._sealer.key_id)
        sealed = self._sealer.seal_push_url(PushAddress(user, push_url, count), self._sealer.key_id)
        self.push_urls.append(f"{self._api}/push/{sealed}")
        await self._nursery.start(_Device(number, self).run, self._port, token)

    def owes(self, device: "_Device") -> None:
        """It has something to acknowledge, soon."""
        self._owed.append((trio.current_time() + ACK_SECONDS, device))
        self._somebody_owes.set()

    async def _acknowledge(self) -> None:
        while True:
            while self._owed:
                at, device = self._owed[0]
                await trio.sleep_until(at)
                self._owed.popleft()
                device.acknowledge()
            self._somebody_owes = trio.Event()
            await self._somebody_owes.wait()


class _Device:
    def __init__(self, number: int, all_of_them: Devices) -> None:
        self._number = number
        self._all = all_of_them
        self._cursor = b""
        self._seq = 0
        self._unacknowledged = 0

    async def run(self, port: int, token: str, *, task_status: trio.TaskStatus[None]) -> None:
        """Started once it is up to date. Raises Unsound when its connection ends."""
        async with await trio.open_tcp_stream("127.0.0.1", port) as self._stream:
            buffer = await upgrade(self._stream, self._number)
            self._say(TEXT, json.dumps({"type": "hello", "token": token}).encode())
            in_sync = False
            while True:
                for opcode, payload in frames(buffer):
                    if opcode == CLOSE:
                        raise Unsound(f"device {self._number} was closed: {payload!r}")
                    if opcode == PING:
                        self._say(PONG, payload)
                    if opcode == TEXT:
                        self._hear(payload)
                    if not in_sync and b'"type":"sync"' in payload and b'"done":true' in payload:
                        in_sync = True
                        task_status.started()
                if self._unacknowledged >= ACK_FRAMES:
                    self.acknowledge()
                buffer += await more(self._stream, self._number)

    def _hear(self, payload: bytes) -> None:
        found = _CURSOR.search(payload)
        if found is None:
            return
        self._cursor = found[1]
        seq = Cursor.parse(self._cursor.decode()).position.seq
        marks: Sequence[tuple[bytes, bytes, bytes]] = _MARK.findall(payload)
        if marks and seq <= self._seq:
            self._all.ledger.mistake(f"event {seq} came to device {self._number} after {self._seq}")
        self._seq = seq
        for kind, due_us, number in marks:
            self._all.ledger.arrives(int(number, 16), int(due_us, 16), warm=kind == b"w")
        self._unacknowledged += 1
        if self._unacknowledged == 1:
            self._all.owes(self)

    def acknowledge(self) -> None:
        """What it has, if it has anything new."""
        if self._unacknowledged:
            self._unacknowledged = 0
            self._say(TEXT, b'{"type":"ack","cursor":"' + self._cursor + b'"}')

    def _say(self, opcode: int, payload: bytes) -> None:
        """At once: there is always room for so little."""
        frame = masked(opcode, payload)
        if os.write(self._stream.socket.fileno(), frame) < len(frame):
            self._all.ledger.mistake(f"nobody takes what device {self._number} says")
