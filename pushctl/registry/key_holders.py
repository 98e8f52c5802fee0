"""Which roles run and which keys of the keys file each has: what decides when a key may begin to seal, and may go.

Owns: keys key_holders and key_uses; scripts report_keys and retire_key. Promises: no role is told to seal with a new
key while one that reported within FRESH_MS lacks it; a key that seals is noted before it seals first, and a role that
lacks it does not start; a retired key is never sealed with again. Keys are named, their secrets never come here.
Must not know: what is sealed.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from pushctl.registry.script import Script
from pushctl.registry.store import Store

REPORT_KEYS = Script.load("report_keys")
RETIRE_KEY = Script.load("retire_key")

REPORT_SECONDS: Final = 2.0
"""Between reports, ±20 %."""

FRESH_MS: Final = 15_000
"""A role that has not reported for so long does not count as running; a new key waits for as long."""

GAP_MS: Final = 6000
"""A role that did not report for longer has missed what others said."""

_NOBODY: Final = "-"


class About(msgspec.Struct, frozen=True):
    """What a role says of itself, for people."""

    role: str
    label: str
    host: str
    pid: int
    version: str


class Report(msgspec.Struct, frozen=True):
    """Keys by the names that roles give them (keyring.py). `seals`, `opens`: sealing keys, first choice first;
    `claims`: others that the role uses."""

    known: Sequence[str]
    seals: Sequence[str]
    opens: Sequence[str]
    claims: Sequence[str]


class Told(msgspec.Struct, frozen=True):
    """`seal_with`: None if no key may be sealed with; `lacks`: keys in use that the role has not. `refused`: it was
    starting, and must not run without them."""

    seal_with: str | None
    lacks: tuple[str, ...]
    refused: bool


class KeyHolder(msgspec.Struct, frozen=True):
    """A role that runs, by its last report."""

    id: str
    about: About
    known: frozenset[str]
    seals_with: str | None
    seen_ms_ago: int


class Use(msgspec.Struct, frozen=True):
    """Of a key: since when and until when it was used, and when it was retired (0: it was not). Registry time, ms."""

    first_ms: int
    last_ms: int
    retired_ms: int

    @classmethod
    def parse(cls, raw: bytes) -> "Use":
        return cls(*map(int, raw.split()))


class Retired(msgspec.Struct, frozen=True):
    """Whether a key is out of use now; else who uses it, or in how many ms it may be tried again."""

    done: bool
    used_by: tuple[str, ...] = ()
    early_ms: int = 0
    before: bytes = b""
    """Its use, to put back."""


class KeyHolders:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._keys = [store.keys.servers(noun) for noun in REPORT_KEYS.keys]

    async def report(self, holder: str, report: Report, about: About, *, starting: bool = False) -> Told:
        reply = await self._store.run_on(
            REPORT_KEYS,
            self._keys,
            holder=holder,
            known=f",{','.join(report.known)},",
            seals=",".join(report.seals),
            opens=",".join(report.opens),
            claims=",".join(report.claims),
            about=msgspec.json.encode(about),
            starting=int(starting),
            fresh_ms=FRESH_MS,
            gap_ms=GAP_MS,
        )
        word, *rest = (raw.decode() for raw in reply)
        if word == "lacks":
            return Told(None, tuple(rest), refused=True)
        return Told(rest[0] or None, tuple(rest[1:]), refused=False)

    async def leave(self, holder: str) -> None:
        """The role ends: nobody need wait for it."""
        await self._store.link.ask("HDEL", self._keys[0], holder)

    async def running(self) -> list[KeyHolder]:
        """Who reported within FRESH_MS, by role and label."""
        rows, time = await self._store.link.ask_all([("HGETALL", self._keys[0]), ("TIME",)], near=self._keys[0])
        now_ms = int(time[0]) * 1000 + int(time[1]) // 1000 + self._store.shift_ms()
        flat = iter(rows)
        found = [_holder(id_.decode(), raw, now_ms) for id_, raw in zip(flat, flat, strict=True)]
        fresh = [holder for holder in found if abs(holder.seen_ms_ago) <= FRESH_MS]
        return sorted(fresh, key=lambda holder: (holder.about.role, holder.about.label, holder.id))

    async def uses(self) -> dict[str, Use]:
        """Every key that was ever used, by name."""
        flat = iter(await self._store.link.ask("HGETALL", self._keys[1]))
        return {name.decode(): Use.parse(raw) for name, raw in zip(flat, flat, strict=True)}

    async def retire(self, key: str, *, quiet_ms: int, force: bool = False) -> Retired:
        """From now on no role seals with it; unless one does, or did within `quiet_ms`, and it is not forced."""
        reply = await self._store.run_on(
            RETIRE_KEY, self._keys, key=key, fresh_ms=FRESH_MS, quiet_ms=quiet_ms, force=int(force)
        )
        word, *rest = reply
        if word == b"done":
            return Retired(True, before=rest[0])
        if word == b"used":
            return Retired(False, used_by=tuple(raw.decode() for raw in rest))
        return Retired(False, early_ms=int(rest[0]))

    async def reprieve(self, key: str, before: bytes) -> None:
        """Take a retirement back: `before` as `retire` answered."""
        if before:
            await self._store.link.ask("HSET", self._keys[1], key, before)
        else:
            await self._store.link.ask("HDEL", self._keys[1], key)


def _holder(id_: str, raw: bytes, now_ms: int) -> KeyHolder:
    seen, _, seals_with, known, about = raw.decode().split(" ", 4)
    return KeyHolder(
        id_,
        msgspec.json.decode(about, type=About),
        frozenset(known.strip(",").split(",")),
        None if seals_with == _NOBODY else seals_with,
        now_ms - int(seen),
    )
