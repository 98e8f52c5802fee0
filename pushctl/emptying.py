"""Emptying a running socket server, from anywhere that reaches the registry: ask it, and watch how far it is.

Owns: asking, who is asked, and when it is over. Promises: Redis is all that is asked; the way is reported, a step a
second; a server that was restarted, left, died or was taken back meanwhile is told apart from one that is empty.
Must not know: terminals; how a server sends its clients away (roles/socket/draining.py).
"""

from collections.abc import AsyncIterator, Sequence
from typing import Final, Literal

import msgspec
import trio

from pushctl.clock import rfc3339
from pushctl.errors import ConfigError, Failed
from pushctl.ids import ServerId
from pushctl.registry import Registry
from pushctl.registry.servers import ServerRow
from pushctl.registry.wishes import MAX_BY, Wish

LOOK_SECONDS: Final = 1.0

Outcome = Literal["waiting", "draining", "drained", "left"]


class Progress(msgspec.Struct, frozen=True):
    """What one look showed."""

    at: str
    server: str
    state: Outcome
    """waiting: it has not heard of it yet; left: its process has ended, and said goodbye"""
    connections: int
    began_with: int
    """Connections when it began to drain."""
    over_seconds: float

    @property
    def is_over(self) -> bool:
        return self.state in ("drained", "left")


async def find(registry: Registry, server: str) -> ServerRow:
    """The running server of this id. Raises ConfigError, which names those there are; Failed for a dead one."""
    picture = await registry.servers.picture("")
    for row in picture:
        if row.id == server:
            if not row.alive:
                raise Failed(f"{server} has been silent for {row.seen_ms_ago // 1000} s: nobody is there to ask")
            return row
    raise ConfigError([f"no socket server {server} runs here; known: {_known(picture)}"])


def _known(picture: Sequence[ServerRow]) -> str:
    return ", ".join(row.id for row in picture) or "none"


async def ask_to_drain(registry: Registry, row: ServerRow, *, by: str, over_seconds: float) -> Wish:
    """Returns what it was asked."""
    wish = Wish(True, by[:MAX_BY], await registry.now_ms(), int(over_seconds * 1000))
    await registry.wishes.wish(row.id, row.generation, wish)
    return wish


async def ask_to_be_ready(registry: Registry, row: ServerRow, *, by: str) -> None:
    await registry.wishes.wish(row.id, row.generation, Wish(False, by[:MAX_BY], await registry.now_ms()))


async def watch_drain(registry: Registry, asked: ServerRow, wish: Wish) -> AsyncIterator[Progress]:
    """Looks about every second until it is over. Raises Failed if it will not come to that."""
    began_with, was_draining = asked.connections, False
    while True:
        now_ms = await registry.now_ms()
        row = await _present(registry, asked.id)
        if row is not None and row.generation != asked.generation:
            raise Failed(f"{asked.id} was restarted meanwhile: it takes clients again")
        if row is not None and not row.alive:
            raise _died(row)
        drain = None if row is None else row.row.drain
        if row is not None and drain is None and was_draining:
            raise Failed(f"the drain of {asked.id} was taken back")
        state: Outcome = "waiting"
        if row is None:
            state = "left"
        elif drain is not None and drain.at_ms >= wish.at_ms:
            was_draining, began_with = True, drain.connections
            state = "draining" if row.connections else "drained"
        connections = row.connections if row is not None else 0
        progress = Progress(rfc3339(now_ms), asked.id, state, connections, began_with, wish.over_ms / 1000)
        yield progress
        if progress.is_over:
            return
        await trio.sleep(LOOK_SECONDS)


async def wait_until_ready(registry: Registry, asked: ServerRow) -> None:
    """Returns once the server takes clients again. Raises Failed if it has left or died."""
    while True:
        row = await _present(registry, asked.id)
        if row is None:
            raise Failed(f"{asked.id} has left")
        if not row.alive:
            raise _died(row)
        if row.row.drain is None:
            return
        await trio.sleep(LOOK_SECONDS / 2)


def _died(row: ServerRow) -> Failed:
    return Failed(f"{row.id} has died: it has been silent for {row.seen_ms_ago // 1000} s")


async def _present(registry: Registry, server: ServerId) -> ServerRow | None:
    rows = await registry.servers.picture("")
    return next((row for row in rows if row.id == server), None)
