"""Roles that run, beside the socket servers (servers.py): a row for each, so that a screen can show every process.

Owns: key processes, script attend. Promises: nothing depends on it; a role that is killed stays to be seen until
FORGOTTEN_MS have passed; a row that cannot be read hides no other. Must not know: who looks.
"""

from typing import Final, Literal

import msgspec

from pushctl.load import Load
from pushctl.registry.script import Script
from pushctl.registry.store import Store

ATTEND = Script.load("attend")

REPORT_SECONDS: Final = 3.0
"""Between reports, ±20 %."""

QUIET_MS: Final = 12_000
"""A role that has not reported for so long is dead, or cut off from Redis."""

FORGOTTEN_MS: Final = 900_000
"""Nor is it of interest any more, after so long."""

ProcessState = Literal["ready", "not_ready", "draining"]


class ProcessRow(msgspec.Struct, frozen=True):
    """What a role says of itself. Later versions may say more: what is unknown is skipped, what is missing defaulted.
    `label` tells roles of one kind on one host apart; `clock_ms`: its host's clock."""

    role: str
    label: str
    host: str
    pid: int
    version: str
    started_at: str
    state: ProcessState = "ready"
    why: str = ""
    """It is not ready."""
    load: Load = Load()
    clock_ms: int = 0


class Process(msgspec.Struct, frozen=True):
    """`clock_ahead_ms`: of its host's clock before Redis', by its last report."""

    id: str
    row: ProcessRow
    seen_ms_ago: int
    clock_ahead_ms: int

    @property
    def alive(self) -> bool:
        return self.seen_ms_ago <= QUIET_MS


class Processes:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._key = store.keys.servers("processes")

    async def report(self, id_: str, row: ProcessRow) -> None:
        await self._store.run_on(ATTEND, [self._key], process=id_, row=msgspec.msgpack.encode(row))

    async def leave(self, id_: str) -> None:
        """It has ended as it should."""
        await self._store.link.ask("HDEL", self._key, id_)

    async def picture(self) -> list[Process]:
        """All that reported within FORGOTTEN_MS, in a way that this release can read, by role, host and label."""
        rows, time = await self._store.link.ask_all([("HGETALL", self._key), ("TIME",)], near=self._key)
        now_ms = int(time[0]) * 1000 + int(time[1]) // 1000 + self._store.shift_ms()
        flat = iter(rows)
        found = [_process(id_, raw, now_ms) for id_, raw in zip(flat, flat, strict=True)]
        fresh = [process for process in found if process is not None and process.seen_ms_ago <= FORGOTTEN_MS]
        return sorted(fresh, key=lambda process: (process.row.role, process.row.host, process.row.label, process.id))


def _process(id_: bytes, raw: bytes, now_ms: int) -> Process | None:
    """None: written by a later release, in words that this one does not know."""
    seen, _, row = raw.partition(b" ")
    try:
        decoded = msgspec.msgpack.decode(row, type=ProcessRow)
        return Process(id_.decode(), decoded, max(0, now_ms - int(seen)), decoded.clock_ms - int(seen))
    except (msgspec.DecodeError, ValueError):
        return None
