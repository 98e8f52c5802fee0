"""Log lines of a busy process, written together: one for each message, each by itself, is a fifth of the api's CPU.

Owns: the lines that wait, and the task that writes them. Promises: they keep their order; a line of info or debug is
written within GATHER_SECONDS, a warning and what came before it at once, all of them however the block ends; at most
GATHER_BYTES wait. Only a process that is killed, or that hangs, keeps lines to itself, those of its last moment.
On a terminal nothing is gathered: somebody watches.
Must not know: what a line says.
"""

import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from pushctl import log

GATHER_SECONDS = 0.1
GATHER_BYTES = 65_536


@asynccontextmanager
async def gathered() -> AsyncIterator[None]:
    """While the block lasts."""
    if sys.stderr.isatty():
        yield
        return
    lines = _Lines()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lines.keep_writing)
        before = log.write_by(lines.take)
        try:
            yield
        finally:
            log.write_by(before)
            lines.write()
        nursery.cancel_scope.cancel()


class _Lines:
    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._waiting: list[str] = []
        self._size = 0
        self._some = trio.Event()

    def take(self, line: str, urgent: bool) -> None:
        """A pushctl.log.Out."""
        if threading.get_ident() != self._thread:
            log.write_now(line)
            return
        self._waiting.append(line)
        self._size += len(line)
        if urgent or self._size >= GATHER_BYTES:
            self.write()
        elif len(self._waiting) == 1:
            self._some.set()

    def write(self) -> None:
        lines, self._waiting, self._size = self._waiting, [], 0
        if lines:
            log.write_now("".join(lines))

    async def keep_writing(self) -> None:
        while True:
            await self._some.wait()
            self._some = trio.Event()
            await trio.sleep(GATHER_SECONDS)
            self.write()
