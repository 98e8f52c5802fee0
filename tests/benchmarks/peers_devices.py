"""Devices of any peer, all in this process, and the ledger of what they were sent and got.

Owns: connections, and connecting again. Promises: the same program for every peer; an arrival counts when its frame was
read. Must not know: how a peer is built, what is measured.
"""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

import trio

from tests.benchmarks.bare import BINARY, CLOSE, PING, PONG, TEXT, frames, masked, request
from tests.benchmarks.peer import Dialect
from tests.benchmarks.unsound import Unsound

BODY = "#{:08d} " + 190 * "x"

CONNECTING_AT_ONCE = 32
CONNECT_SECONDS = 60
AGAIN_SECONDS = 0.5
UPGRADED = b"HTTP/1.1 101 "


# --- what was sent, and what came ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of some messages. `confirmed` ones must come, others may; `twice` and `disordered` are of all that came: one is
    out of order when it was confirmed before another was sent that came before it."""

    sent: int
    confirmed: int
    lost: int
    twice: int
    disordered: int


class Ledger:
    """Messages by number, and devices by number."""

    def __init__(self) -> None:
        self._device: list[int] = []
        self._sent_at: list[float] = []
        self._confirmed_at: dict[int, float] = {}
        self._came: dict[int, list[int]] = {}
        self._missing: set[int] = set()
        self._changed = trio.Event()
        self.latencies: dict[int, float] = {}
        """Seconds from the call that published it."""

    @property
    def next(self) -> int:
        """The number of the message that is sent next."""
        return len(self._device)

    @property
    def confirmed(self) -> int:
        """So far, of all messages."""
        return len(self._confirmed_at)

    def sends(self, device: int) -> int:
        self._device.append(device)
        self._sent_at.append(trio.current_time())
        return len(self._device) - 1

    def confirms(self, number: int) -> None:
        self._confirmed_at[number] = trio.current_time()
        if number not in self.latencies:
            self._missing.add(number)

    def arrives(self, number: int, device: int) -> None:
        if number not in self.latencies:
            self.latencies[number] = trio.current_time() - self._sent_at[number]
        self._missing.discard(number)
        self._came.setdefault(device, []).append(number)
        if not self._missing:
            self._changed.set()

    async def settled(self, seconds: float) -> None:
        """Returns once all that was confirmed is there, or after so long."""
        with trio.move_on_after(seconds):
            while self._missing:
                self._changed = trio.Event()
                await self._changed.wait()

    def outcome(self, numbers: range) -> Outcome:
        """Of these messages. What is lost is not waited for again."""
        lost = self._missing & set(numbers)
        self._missing -= lost
        twice = disordered = 0
        for device, came in self._came.items():
            seen: set[int] = set()
            last = 0.0
            for number in came:
                wrong = number >= len(self._device) or self._device[number] != device
                if wrong:
                    raise Unsound(f"message {number} came to device {device}, for which it was not")
                if number not in numbers:
                    continue
                if number in seen:
                    twice += 1
                    continue
                seen.add(number)
                disordered += self._confirmed_at.get(number, last) < last
                last = max(last, self._sent_at[number])
        confirmed = sum(number in self._confirmed_at for number in numbers)
        return Outcome(len(numbers), confirmed, len(lost), twice, disordered)


# --- devices ---------------------------------------------------------------------------------------------------------


class Device:
    """`number` as in the ledger. It comes and goes as told, and comes again when its connection ends."""

    def __init__(self, number: int, port: int, dialect: Dialect, ledger: Ledger) -> None:
        self._number = number
        self._port = port
        self._dialect = dialect
        self._ledger = ledger
        self._here: trio.CancelScope | None = None
        self.broken = 0
        """Connections that ended although nobody asked for it, or that were refused."""

    async def stay(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Connected until told to leave; started when it is for the first time."""
        with trio.CancelScope() as self._here:
            while True:
                with suppress(OSError, trio.BrokenResourceError, EOFError):
                    await self._connected(task_status)
                self.broken += 1
                await trio.sleep(AGAIN_SECONDS)

    def leave(self) -> None:
        assert self._here is not None
        self._here.cancel()

    async def _connected(self, task_status: trio.TaskStatus[None]) -> None:
        async with await trio.open_tcp_stream("127.0.0.1", self._port) as stream:
            dialect = self._dialect
            hello = [masked(dialect.opcode, each) for each in dialect.hello()]
            await stream.send_all(request(*dialect.request()))
            buffer = bytearray()
            while b"\r\n\r\n" not in buffer:
                buffer += await _more(stream)
            if not buffer.startswith(UPGRADED):
                raise EOFError
            del buffer[: buffer.index(b"\r\n\r\n") + 4]
            await stream.send_all(b"".join(hello))
            ready = not dialect.greets
            if ready:
                _say_once(task_status)
            while True:
                answers = []
                for opcode, payload in frames(buffer):
                    if opcode in (TEXT, BINARY):
                        heard = dialect.hears(payload)
                        for number in heard.messages:
                            self._ledger.arrives(number, self._number)
                        answers += [masked(dialect.opcode, each) for each in heard.answers]
                        if heard.ready and not ready:
                            ready = True
                            _say_once(task_status)
                    elif opcode == PING:
                        answers.append(masked(PONG, payload))
                    elif opcode == CLOSE:
                        raise EOFError
                if answers:
                    await stream.send_all(b"".join(answers))
                buffer += await _more(stream)


def _say_once(task_status: trio.TaskStatus[None]) -> None:
    """Only of the first connection somebody wants to hear."""
    with suppress(RuntimeError):
        task_status.started()


async def _more(stream: trio.SocketStream) -> bytes:
    chunk = await stream.receive_some(65_536)
    if not chunk:
        raise EOFError
    return bytes(chunk)


async def connect(devices: Collection[Device], nursery: trio.Nursery) -> None:
    """All of them, some at a time. Raises Unsound if one cannot."""
    turns = trio.CapacityLimiter(CONNECTING_AT_ONCE)

    async def one(device: Device) -> None:
        async with turns:
            await nursery.start(device.stay)

    with trio.move_on_after(CONNECT_SECONDS) as waiting:
        async with trio.open_nursery() as connecting:
            for device in devices:
                connecting.start_soon(one, device)
    if waiting.cancelled_caught:
        raise Unsound("some devices do not come to be connected")
