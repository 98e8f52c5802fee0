"""Socket servers: their rows, heartbeats, and who counts as alive.

Owns: scripts heartbeat, goodbye, judge, bury_servers and the row's shape. Promises: a frozen Redis or a stepped clock
declares nobody dead; only a newer generation of the same id fences an older one. Must not know: who asks, or why.
"""

from typing import Literal

import msgspec

from pushctl.ids import ServerId
from pushctl.load import Load
from pushctl.registry.connection import Argument, Reply
from pushctl.registry.processes import FORGOTTEN_MS
from pushctl.registry.script import Script
from pushctl.registry.store import DAY_MS, Store
from pushctl.registry.wishes import Wish, decode_wish

HEARTBEAT = Script.load("heartbeat")
GOODBYE = Script.load("goodbye")
JUDGE = Script.load("judge")
BURY_SERVERS = Script.load("bury_servers")

HEARTBEAT_SECONDS = 2.0
"""Between heartbeats, ±20 %."""

QUIET_MS = 7000
"""Silence longer than this is death."""

JUDGE_GAP_MS = 4000
"""A judge that did not ask for longer than this saw nothing, and gives everybody a fresh QUIET_MS."""

ServerState = Literal["ready", "draining", "not_ready"]


class Drain(msgspec.Struct, frozen=True):
    """A server sends its clients away. `by`: who asked; `at_ms`: when, by the registry's time; `over_ms`: how long it
    may take; `connections`: as many as it had when it began."""

    by: str
    at_ms: int
    over_ms: int
    connections: int


class Row(msgspec.Struct, frozen=True):
    """What a socket server says of itself with every heartbeat. Older and newer versions read it, too, while they are
    replaced: what is unknown is skipped, what is missing defaulted."""

    state: ServerState
    url: str
    connections: int
    capacity: int
    generation: int
    version: str
    started_at: str
    rss_bytes: int = 0
    users: int = 0
    drain: Drain | None = None
    """While it drains."""
    written: int = 0
    """Frames written since the start."""
    rpc_url: str = ""
    """Where it takes hints from routers; empty: by its channels only."""
    zone: str = ""
    """Where it stands, in the operator's words; Box Offices of the same zone prefer it."""
    load: Load | None = None
    """None: a version that does not say."""
    clock_ms: int = 0
    """Its host's clock as it beat; 0: a version that does not say."""


class ServerRow(msgspec.Struct, frozen=True):
    id: ServerId
    row: Row
    alive: bool
    seen_ms_ago: int
    clock_ahead_ms: int | None = None
    """Of its host's clock before Redis', by its last heartbeat; None where it does not say."""

    def may_hold(self, generation: int) -> bool:
        """Whether a lease of this generation may be one still: False only on evidence, that the server is silent or was
        replaced. A row of an older start says nothing of a newer."""
        return generation > self.generation or (self.alive and generation == self.generation)

    @property
    def state(self) -> ServerState:
        return self.row.state

    @property
    def url(self) -> str:
        return self.row.url

    @property
    def rpc_url(self) -> str:
        return self.row.rpc_url

    @property
    def connections(self) -> int:
        return self.row.connections

    @property
    def capacity(self) -> int:
        return self.row.capacity

    @property
    def generation(self) -> int:
        return self.row.generation

    @property
    def zone(self) -> str:
        return self.row.zone

    @property
    def is_open(self) -> bool:
        """It takes clients, or would if it had room."""
        return self.alive and self.row.state == "ready"

    def fill(self, more: float = 0) -> float:
        """How much of its capacity is taken, 1: all, if so many come to those that its last heartbeat counted."""
        return (self.row.connections + more) / self.row.capacity if self.row.capacity else 1.0


def judging(store: Store, judge: str) -> tuple[Script, list[str], dict[str, Argument]]:
    """The call that answers what `rows_in` reads."""
    keys = [store.keys.servers(noun) for noun in JUDGE.keys]
    return JUDGE, keys, {"judge": judge, "quiet_ms": QUIET_MS, "gap_ms": JUDGE_GAP_MS}


def rows_in(reply: Reply) -> list[ServerRow]:
    """All servers that a judge's reply shows, by id."""
    now_ms, flat = int(reply[0]), iter(reply[1:])
    return sorted(
        (
            _server(id_, msgspec.msgpack.decode(row, type=Row), alive == 1, int(age), now_ms)
            for id_, row, age, alive in zip(flat, flat, flat, flat, strict=True)
        ),
        key=lambda server: server.id,
    )


def _server(id_: bytes, row: Row, alive: bool, age_ms: int, now_ms: int) -> ServerRow:
    ahead_ms = row.clock_ms - (now_ms - age_ms) if row.clock_ms else None
    return ServerRow(ServerId(id_.decode()), row, alive, age_ms, ahead_ms)


class Beat(msgspec.Struct, frozen=True):
    """A heartbeat that counted: the registry's time, for how long there had been none of this server id (0: there never
    was one, or the clock stepped back), what is wished of this start of the server, and how often broadcasts have
    changed."""

    now_ms: int
    silent_ms: int
    wish: Wish | None = None
    broadcasts: int = 0


class Servers:
    def __init__(self, store: Store) -> None:
        self._store = store

    def _keys(self, *nouns: str) -> list[str]:
        return [self._store.keys.servers(noun) for noun in nouns]

    async def new_generation(self, server: ServerId) -> int:
        """A number higher than every earlier start of this id had."""
        return int(await self._store.link.ask("HINCRBY", self._store.keys.servers("generations"), server, 1))

    async def heartbeat(self, server: ServerId, row: Row) -> Beat | None:
        """Say that the server lives. None: a newer generation of this id has started, this one must stop."""
        reply = await self._store.run_on(
            HEARTBEAT,
            self._keys(*HEARTBEAT.keys),
            server=server,
            generation=row.generation,
            row=msgspec.msgpack.encode(row),
        )
        if reply[0] != b"done":
            return None
        wish = decode_wish(reply[3]) if reply[3] else None
        return Beat(int(reply[1]), max(0, int(reply[2])), wish, int(reply[4]))

    async def goodbye(self, server: ServerId, generation: int) -> None:
        await self._store.run_on(GOODBYE, self._keys(*GOODBYE.keys), server=server, generation=generation)

    async def picture(self, judge: str) -> list[ServerRow]:
        """All servers as this judge sees them; '' for a screen that wants the plain truth."""
        (reply,) = await self._store.run_together(judging(self._store, judge))
        return rows_in(reply)

    async def bury(self) -> int:
        """Forget servers silent for a day, and other processes that nobody asks for any more. Returns how many servers
        went."""
        keys = self._keys(*BURY_SERVERS.keys)
        reply = await self._store.run_on(BURY_SERVERS, keys, silent_ms=DAY_MS, forgotten_ms=FORGOTTEN_MS)
        return int(reply)
