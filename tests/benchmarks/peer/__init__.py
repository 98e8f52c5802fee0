"""Others that bring messages to devices, and pushctl, each behind the same small interface, as real processes.

Owns: what a benchmark needs to know of each. Promises: what is built here is what its documentation advises for
messages that must not be lost, on one machine, with storage that is written to disk once a second where that can be
chosen; all of its processes are gone when the block ends. Must not know: what is measured.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from tests.benchmarks.bare import BINARY, TEXT

MARK = re.compile(rb"#(\d{8}) ")
"""How a body says which it is."""

KEPT_PER_DEVICE = 1000
KEPT_SECONDS = 3 * 86_400


@dataclass(slots=True)
class Heard:
    """In a frame: the messages in it, what to answer, and whether the connection is now one that brings all."""

    messages: list[int] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    ready: bool = False


class Dialect(Protocol):
    """One device: what it says, and what it understands. It keeps its place from one connection to the next."""

    opcode: int
    greets: bool
    """The server says something once the connection brings all (Heard.ready); otherwise it does from the beginning."""

    def request(self) -> tuple[str, str | None]:
        """Path and subprotocol of the connection to come."""

    def hello(self) -> list[bytes]:
        """What to say first, before anything is heard."""

    def hears(self, payload: bytes) -> Heard: ...


class Running(Protocol):
    """A peer that is ready."""

    version: str
    port: int
    """Where devices find it."""

    def servers(self) -> Mapping[str, int]:
        """The pid of each of its processes, without its storage's."""

    def storage(self) -> Mapping[str, int]:
        """The same of its storage; empty: it writes to disk itself."""

    def storage_bytes(self) -> int:
        """Memory that the storage says it uses."""

    def dialect(self, device: int) -> Dialect: ...

    async def publish(self, device: int, body: bytes) -> bool:
        """Whether it was confirmed; sent once."""

    async def kill_servers(self) -> None:
        """kill -9, all of them, and a start; returns when it answers again."""

    async def kill_storage(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Peer:
    """`needs`: a command or file without which it cannot run, and the package that has it. `words`: what it does for
    what it costs."""

    name: str
    needs: Mapping[str, str]
    words: Mapping[str, str]
    running: Callable[[int], AbstractAsyncContextManager[Running]]
    """With so many devices known to it."""


class TextDialect:
    opcode = TEXT


class StreamDialect:
    """A protocol of packets that do not care for the WebSocket's frames."""

    opcode = BINARY

    def __init__(self) -> None:
        self._buffer = bytearray()
