"""What one master of Redis says of itself, asked once, for all checks.

Owns: which facts are gathered: INFO, the few settings that only CONFIG tells, round trips with their clock readings.
Promises: a master that keeps its settings to itself (an ACL, a managed service) has None for them; passwords among the
settings are never asked for.
Must not know: what is good or bad.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import trio

from pushctl.clock import Clock
from pushctl.config.model import Config
from pushctl.errors import StoreUnavailable
from pushctl.registry import Registry
from pushctl.registry.connection import Argument, Reply

SETTINGS = (
    "appendfsync",
    "no-appendfsync-on-rewrite",
    "save",
    "min-replicas-to-write",
    "timeout",
    "cluster-require-full-coverage",
)

ROUND_TRIPS = 50
SECONDS = 3.0
"""For all round trips of one kind: a slow Redis gets fewer."""


MAX_LAG_SECONDS = 3
"""A replica reports every second."""

_REPLICA = re.compile(r"slave[0-9]+")


@dataclass(frozen=True, slots=True)
class RoundTrip:
    ms: float
    ahead_ms: float
    """How far the clock of Redis was ahead of this host's, if the way there takes as long as the way back."""


@dataclass(frozen=True, slots=True)
class Master:
    registry: Registry
    config: Config
    address: str
    info: Mapping[str, str]
    settings: Mapping[str, str] | None
    round_trips: Sequence[RoundTrip]
    """At least one."""

    async def ask(self, *command: Argument) -> Reply:
        """Raises StoreUnavailable: no answer, or refused."""
        return await self.registry.link.ask_master(self.address, *command)

    def number(self, name: str) -> int:
        """A number that INFO says; 0 when this version does not."""
        return int(self.info.get(name, "0"))

    def setting(self, name: str) -> str | None:
        return None if self.settings is None else self.settings.get(name)

    @property
    def copies(self) -> int:
        """Replicas that are in step and can confirm a write. One that is frozen stays `online`; only its lag tells."""
        rows = [
            dict(part.partition("=")[::2] for part in value.split(","))
            for name, value in self.info.items()
            if _REPLICA.fullmatch(name)
        ]
        return sum(row.get("state") == "online" and int(row.get("lag", 0)) <= MAX_LAG_SECONDS for row in rows)

    @property
    def ahead_ms(self) -> float:
        """Of this host's clock, by the quickest round trip: the one that leaves least room for error."""
        return min(self.round_trips, key=lambda trip: trip.ms).ahead_ms

    def set(self, name: str, value: str) -> tuple[str, str]:
        """What to run now, and what to write so that it stays."""
        quoted = f"'{value}'" if " " in value else value
        return f"{self._cli} CONFIG SET {name} {quoted}", f"{name} {value}    # in redis.conf, for good"

    @property
    def _cli(self) -> str:
        if self.address.startswith("unix://"):
            return f"redis-cli -s {self.address.removeprefix('unix://')}"
        host, _, port = self.address.rpartition(":")
        return f"redis-cli -h {host} -p {port}"


async def meet_masters(registry: Registry, config: Config, clock: Clock) -> list[Master]:
    """Every master with what it says. Raises StoreUnavailable."""
    masters = []
    for address, info in (await registry.infos()).items():
        settings = await _settings(registry, address)
        masters.append(Master(registry, config, address, info, settings, await _round_trips(registry, address, clock)))
    return masters


async def _settings(registry: Registry, address: str) -> dict[str, str] | None:
    found: dict[str, str] = {}
    for name in SETTINGS:  # one by one: only Redis 7 takes several
        try:
            reply = await registry.link.ask_master(address, "CONFIG", "GET", name)
        except StoreUnavailable:
            return None
        texts = [item.decode() for item in reply]
        found |= zip(texts[::2], texts[1::2], strict=True)
    return found


async def _round_trips(registry: Registry, address: str, clock: Clock) -> list[RoundTrip]:
    trips: list[RoundTrip] = []
    until = trio.current_time() + SECONDS
    while len(trips) < ROUND_TRIPS and (not trips or trio.current_time() < until):
        here_ms, began = clock(), trio.current_time()
        seconds, microseconds = await registry.link.ask_master(address, "TIME")
        ms = (trio.current_time() - began) * 1000
        trips.append(RoundTrip(ms, int(seconds) * 1000 + int(microseconds) / 1000 - here_ms - ms / 2))
    return trips
