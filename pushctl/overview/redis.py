"""What each master of Redis says of itself.

Owns: the shape of a master's row, and rates between two looks. Promises: a master that is away keeps its last row, with
its age. Must not know: how they are shown; whether a setting is wise (pushctl/checkup).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
import trio

from pushctl.errors import StoreUnavailable
from pushctl.registry import Registry
from pushctl.registry.info import parse_info

_REPLICA: Final = re.compile(r"slave[0-9]+")
_KEYS: Final = re.compile(r"keys=([0-9]+)")


class MasterStats(msgspec.Struct, frozen=True):
    """What INFO says; figures are null where this version does not say, and all of them for a master that never
    answered. `cpu`: of a core, between two looks; `commands_per_second` too, from the second look on."""

    address: str
    state: str
    """ok, loading, away"""
    seen_ms_ago: int | None
    version: str
    uptime_seconds: int | None = None
    used_memory_bytes: int | None = None
    max_memory_bytes: int | None = None
    """0: no limit"""
    eviction_policy: str = ""
    keys: int | None = None
    clients: int | None = None
    max_clients: int | None = None
    commands_per_second: float | None = None
    cpu: float | None = None
    rejected_connections: int | None = None
    evicted_keys: int | None = None
    append_only: bool | None = None
    append_only_ok: bool | None = None
    """the last write and the last rewrite of the append-only file"""
    delayed_syncs: int | None = None
    last_save_ok: bool | None = None
    saved_seconds_ago: int | None = None
    changes_since_save: int | None = None
    replicas: int | None = None
    replica_lag_seconds: int | None = None
    """of the replica that is furthest behind; null without one"""


class RedisStats(msgspec.Struct, frozen=True):
    """Sums over the masters that answered."""

    used_memory_bytes: int
    keys: int
    clients: int
    commands_per_second: float
    masters: list[MasterStats]


@dataclass(frozen=True, slots=True)
class _Counted:
    """At a moment of the loop's clock."""

    at: float
    commands: int
    cpu_seconds: float


class Masters:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._counted: dict[str, _Counted] = {}
        self._last: dict[str, tuple[int, MasterStats]] = {}
        """When it answered, and what."""

    async def look(self, now_ms: int) -> RedisStats:
        found: dict[str, MasterStats] = {}

        async def ask(address: str) -> None:
            try:
                raw = await self._registry.link.ask_master(address, "INFO")
            except StoreUnavailable:
                found[address] = self._away(address, now_ms)
            else:
                found[address] = self._here(address, parse_info(raw), now_ms)

        async with trio.open_nursery() as nursery:
            for address in self._registry.link.masters:
                nursery.start_soon(ask, address)
        masters = [master for _, master in sorted(found.items())]
        here = [master for master in masters if master.state != "away"]
        return RedisStats(
            used_memory_bytes=sum(master.used_memory_bytes or 0 for master in here),
            keys=sum(master.keys or 0 for master in here),
            clients=sum(master.clients or 0 for master in here),
            commands_per_second=round(sum(master.commands_per_second or 0 for master in here), 1),
            masters=masters,
        )

    def _away(self, address: str, now_ms: int) -> MasterStats:
        if address not in self._last:
            return MasterStats(address, "away", None, "")
        at_ms, last = self._last[address]
        return msgspec.structs.replace(last, state="away", seen_ms_ago=max(0, now_ms - at_ms))

    def _here(self, address: str, info: Mapping[str, str], now_ms: int) -> MasterStats:
        cpu_seconds = float(info.get("used_cpu_user", 0)) + float(info.get("used_cpu_sys", 0))
        now = _Counted(trio.current_time(), int(info.get("total_commands_processed", 0)), cpu_seconds)
        before = self._counted.get(address)
        self._counted[address] = now
        master = _master(address, info)
        # After a restart Redis counts anew.
        if before is not None and now.at > before.at and now.commands >= before.commands:
            seconds = now.at - before.at
            master = msgspec.structs.replace(
                master,
                commands_per_second=round((now.commands - before.commands) / seconds, 1),
                cpu=round((now.cpu_seconds - before.cpu_seconds) / seconds, 3),
            )
        self._last[address] = (now_ms, master)
        return master


def _master(address: str, info: Mapping[str, str]) -> MasterStats:
    def number(name: str) -> int | None:
        return int(info[name]) if name in info else None

    def is_ok(*names: str) -> bool:
        return all(info.get(name, "ok") == "ok" for name in names)

    saved = number("rdb_last_save_time")
    server_seconds = (number("server_time_usec") or 0) // 1_000_000
    replicas = [_fields(value) for name, value in info.items() if _REPLICA.fullmatch(name)]
    lags = [int(row.get("lag", 0)) for row in replicas]
    return MasterStats(
        address=address,
        state="loading" if info.get("loading") == "1" else "ok",
        seen_ms_ago=0,
        version=info.get("valkey_version") or info["redis_version"],
        uptime_seconds=number("uptime_in_seconds"),
        used_memory_bytes=number("used_memory"),
        max_memory_bytes=number("maxmemory"),
        eviction_policy=info.get("maxmemory_policy", ""),
        keys=sum(int(found[1]) for name, value in info.items() if name[:2] == "db" and (found := _KEYS.match(value))),
        clients=number("connected_clients"),
        max_clients=number("maxclients"),
        commands_per_second=float(info.get("instantaneous_ops_per_sec", 0)),
        rejected_connections=number("rejected_connections"),
        evicted_keys=number("evicted_keys"),
        append_only=info.get("aof_enabled") == "1",
        append_only_ok=is_ok("aof_last_write_status", "aof_last_bgrewrite_status"),
        delayed_syncs=number("aof_delayed_fsync"),
        last_save_ok=is_ok("rdb_last_bgsave_status"),
        saved_seconds_ago=max(0, server_seconds - saved) if saved is not None and server_seconds else None,
        changes_since_save=number("rdb_changes_since_last_save"),
        replicas=len(replicas),
        replica_lag_seconds=max(lags, default=None),
    )


def _fields(value: str) -> dict[str, str]:
    return dict(part.partition("=")[::2] for part in value.split(","))
