"""Devices as independent as they can be: box office, hello with a cursor, follow, acknowledge, sometimes mark read.

Owns: what a device concludes from frames, and its manners. Everything it sees goes into its book (book.py).
Promises: a device obeys the protocol as a client has to (reconnect and close codes, Retry-After), but is quicker to
come back than the protocol's backoff, so that runs are short.
Must not know: what is done to the service meanwhile.
"""

import random
from dataclasses import dataclass, field
from typing import Any

import httpx
import trio

from tests.faults.book import Book
from tests.faults.ledger import Ledger
from tests.faults.wire import Frame, Line, Over, line_to
from tests.scenario.people import Person

HANDSHAKE_SECONDS = 3.0
BACKOFF_SECONDS = (0.1, 1.5)
"""The first upper bound of a pause and the last."""

LEFT = "left"
"""The device went by its own will."""

UNJUST = {4002, 4003, 4004, 4501, 4502, 4503, 4504, 4505}
"""Close codes that a device which keeps to the protocol, and is never quite still, is never given."""


@dataclass(frozen=True, slots=True)
class Manners:
    patience_seconds: float = 5
    """Of silence, pings included, until it takes the server for dead."""
    reads_after_seconds: float = 5
    """About: between two messages that it marks read, whatever happens meanwhile."""
    vanishes_after_seconds: float = 0
    """About; 0: never."""
    forgets: bool = False
    """After vanishing it goes on from what it last acknowledged, as if it had lost what came since."""
    frame_seconds: float = 0
    """It takes so long over each frame, with little room for more."""
    unruly: bool = False
    """It keeps to the protocol only when all is calm (unruly.py)."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A connection that a device lost."""

    at: float
    how: str
    """A close code (1006: none), or silence."""
    device: str
    server: str
    """Its URL."""


@dataclass(slots=True)
class World:
    """What all devices share."""

    boxoffice: str
    http: httpx.AsyncClient
    ledger: Ledger
    calm: bool = False
    """From now on nobody misbehaves or marks read."""
    losses: list[Loss] = field(default_factory=list)
    """Of devices that keep to the protocol."""


@dataclass(slots=True)
class _End:
    """How a connection ends."""

    pause: float
    """Seconds to wait before the next, if this server took the device at all."""
    reason: str = ""
    """A close code, LEFT, or silence."""
    welcomed: bool = False


class Device:
    """One device with one connection at a time."""

    def __init__(self, person: Person, label: str, world: World, manners: Manners, chance: random.Random) -> None:
        self.person = person
        self.world = world
        self.manners = manners
        self.chance = chance
        self.book = Book(world.ledger, person.user, label, punctual=not (manners.frame_seconds or manners.unruly))
        self.live = trio.Event()
        """Set when the first sync of the connection is complete; another one after each loss."""
        self.cursor: str | None = None
        self._kept: str | None = None
        """The cursor it last acknowledged."""
        self._to_read: set[str] = set()
        """Ids it wants marked read and has not seen confirmed."""
        self._pages: list[tuple[str, str]] = []
        self._backoff = BACKOFF_SECONDS[0]

    # --- finding a server --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Be connected, again and again, until cancelled."""
        while True:
            for url in await self._servers():
                pause = await self._connection(url)
                if pause is not None:
                    break
            else:
                pause = self.chance.uniform(0, self._backoff)
                self._backoff = min(2 * self._backoff, BACKOFF_SECONDS[1])
            await trio.sleep(pause)

    async def _servers(self) -> list[str]:
        """URLs to try; none when there are none now. Waits as long as it is told to."""
        try:
            answer = await self.world.http.get(
                f"{self.world.boxoffice}/v1/servers", headers={"Authorization": f"Bearer {self.person.token}"}
            )
        except httpx.TransportError:
            return []
        if answer.status_code == 200:
            servers: list[str] = answer.json()["servers"]
            return servers
        if answer.status_code != 503:
            text = f"{self.book.label} was answered {answer.status_code} by the Box Office: {answer.text}"
            self.world.ledger.note("answer", text, trio.current_time())
        await trio.sleep(float(answer.headers.get("Retry-After", 0)))
        return []

    async def _connection(self, url: str) -> float | None:
        """One connection until it is over. How long to wait before the next; None: this server does not take it."""
        end = _End(pause=self.chance.uniform(0, BACKOFF_SECONDS[0]))
        self._pages = []
        try:
            small = bool(self.manners.frame_seconds)
            async with line_to(url, seconds=HANDSHAKE_SECONDS, small=small) as line, trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, line, nursery.cancel_scope, end)
                nursery.start_soon(self._leave_some_day, line, nursery.cancel_scope, end)
                nursery.start_soon(self._read_now_and_then, line)
                await self._talk(line, end)
        except Over as over:
            end.reason = end.reason or str(over.code)
            if over.code in UNJUST:
                self.world.ledger.note("closed", f"{self.book.label} was closed with {over.code}", trio.current_time())
        self.live = trio.Event()
        self.book.went(trio.current_time())
        if end.reason == LEFT:
            return await self._stay_away()
        if not end.welcomed:
            return None
        self.world.losses.append(Loss(trio.current_time(), end.reason, self.book.label, url))
        self._backoff = BACKOFF_SECONDS[0]
        return end.pause

    async def _talk(self, line: Line, end: _End) -> None:
        await line.send({"type": "hello", "token": self.person.token, "cursor": self.cursor})
        while True:
            frame = await line.receive()
            if frame["type"] == "welcome":
                end.welcomed = True
            elif frame["type"] == "reconnect":
                end.pause = frame["after_ms"] / 1000
            await self._follow(line, frame)

    async def _watch(self, line: Line, connection: trio.CancelScope, end: _End) -> None:
        """Silence is death."""
        while line.silent_seconds < self.manners.patience_seconds:  # noqa: ASYNC110 - it is a clock
            await trio.sleep(self.manners.patience_seconds - line.silent_seconds)
        end.reason = end.reason or "silence"
        connection.cancel()

    # --- manners -----------------------------------------------------------------------------------------------------

    async def _leave_some_day(self, line: Line, connection: trio.CancelScope, end: _End) -> None:
        if self.manners.vanishes_after_seconds:
            await trio.sleep(self.chance.uniform(0.5, 1.5) * self.manners.vanishes_after_seconds)
            if not self.world.calm:
                end.reason = end.reason or LEFT
                await line.vanish(by_reset=self.chance.random() < 0.5)
                connection.cancel()

    async def _stay_away(self) -> float:
        """It vanished: for how long."""
        pause = self.chance.choice([0.0, self.chance.uniform(0, 4)])
        now = trio.current_time()
        self.book.away.append((now, now + pause))
        if self.manners.forgets:
            self.cursor = self._kept
            self.book.rewind()
        return pause

    # --- following the log -------------------------------------------------------------------------------------------

    async def _follow(self, line: Line, frame: Frame) -> None:
        self._apply(frame)
        if frame["type"] == "sync" and frame["done"]:
            self.live.set()
            self.book.came(trio.current_time())
            if self._to_read:
                await line.send({"type": "read", "ids": sorted(self._to_read)})
        if self.cursor and self.chance.random() < 0.5:
            await line.send({"type": "ack", "cursor": self.cursor})
            self._kept = self.cursor
            self.book.save()
        if self.manners.frame_seconds and not self.world.calm:
            await trio.sleep(self.manners.frame_seconds)

    def _apply(self, frame: Frame) -> None:
        now = trio.current_time()
        match frame["type"]:
            case "message":
                message = frame["message"]
                self.book.message(message["id"], name_of(message), now, logged=frame["cursor"] is not None)
            case "read":
                self.book.gone(frame["ids"], now)
                self._to_read.difference_update(frame["ids"])
            case "dropped":
                self.world.ledger.note("lost", f"{self.book.label} was told of drops: {frame}", now)
            case "sync" if frame["mode"] == "delta":
                for event in frame["events"]:
                    self._apply(event)
            case "sync":
                if self.cursor is not None and not self._pages:
                    # Nothing was ever lost here, so every cursor is provably of the log.
                    self.world.ledger.note("snapshot", f"{self.book.label} has a cursor and was given a snapshot", now)
                self._pages += [(message["id"], name_of(message)) for message in frame["messages"]]
                if frame["done"]:
                    self.book.snapshot(self._pages, now)
                    self._to_read.intersection_update(id_ for id_, _ in self._pages)
                    self._pages = []
        self.cursor = frame.get("cursor") or self.cursor

    async def _read_now_and_then(self, line: Line) -> None:
        """The oldest that it shows or, more rarely, everything."""
        while True:
            await trio.sleep(self.chance.uniform(0, 2 * self.manners.reads_after_seconds))
            ids = [id_ for id_ in self.book.unread().values() if id_ not in self._to_read]
            if not ids or not self.live.is_set() or self.world.calm:
                continue
            wish: Frame = {"type": "read", "upto": self.cursor}
            if self.chance.random() < 0.9:
                del ids[1:]
                wish = {"type": "read", "ids": ids}
            for id_ in ids:
                self.world.ledger.asked_to_read(id_, trio.current_time())
            self._to_read.update(ids)
            await line.send(wish)

    @property
    def settled(self) -> bool:
        """Connected, in sync, and every read mark of its own confirmed."""
        return self.live.is_set() and not self._to_read

    def state(self) -> str:
        return f"{'in sync' if self.live.is_set() else 'not connected'}, {len(self._to_read)} read marks not confirmed"


def name_of(message: dict[str, Any]) -> str:
    return str((message["notification"] or {}).get("body"))
