"""How long Redis takes to answer, and whether clocks agree.

Owns: the thresholds. Why they matter: every answer of the service waits for Redis, most for one script; lifetimes are
judged by the clock of Redis, sessions and assertions by the host's.
"""

from collections.abc import Iterable, Sequence

import trio

from pushctl.checkup.finding import Finding, bad, ok, warn
from pushctl.checkup.masters import ROUND_TRIPS, SECONDS, Master

SLOW_MS, FAR_TOO_SLOW_MS = 5, 100

SKEW_WARN_MS, SKEW_BAD_MS = 500, 30_000
"""Between this host and Redis. BrowserID assertions are forgiven 60 s (identity.browserid.clock_skew_seconds)."""

MASTERS_WARN_MS, MASTERS_BAD_MS = 250, 1000
"""Between masters. A message with TTL 0 is judged by two of them, and lives 2 s."""


async def check_latency(master: Master) -> Iterable[Finding]:
    return [_judged([trip.ms for trip in master.round_trips])]


async def check_scripts(master: Master) -> Iterable[Finding]:
    """A script that does nothing: whether it may run, and how long that takes."""
    took: list[float] = []
    until = trio.current_time() + SECONDS
    while len(took) < ROUND_TRIPS and (not took or trio.current_time() < until):
        began = trio.current_time()
        await master.ask("EVAL", "return 1", 0)
        took.append((trio.current_time() - began) * 1000)
    return [_judged(took)]


def _judged(took_ms: Sequence[float]) -> Finding:
    ordered = sorted(took_ms)
    median, longest = ordered[len(ordered) // 2], ordered[-1]
    found = f"{len(ordered)} round trips: half within {median:.1f} ms, the longest {longest:.1f} ms"
    way = "redis-cli --latency    # from this host: the network; on the host of Redis: Redis itself"
    if median > FAR_TOO_SLOW_MS:
        return bad(found, "Each answer of the service takes longer than that; many become 503.", way)
    if median > SLOW_MS:
        return warn(found, "Each answer of the service takes longer than that.", way)
    if longest > FAR_TOO_SLOW_MS:
        return warn(found, "Redis, the network or this host pauses now and then.", way)
    return ok(found)


async def check_clock(master: Master) -> Iterable[Finding]:
    ahead_ms = master.ahead_ms
    found = f"{_seconds(ahead_ms)} {'ahead of' if ahead_ms > 0 else 'behind'} this host"
    if abs(ahead_ms) > SKEW_BAD_MS:
        return [bad(found, "Logins fail, and sessions and messages end at the wrong time.", *_SYNCHRONISE)]
    if abs(ahead_ms) > SKEW_WARN_MS:
        return [warn(found, "Times shown to devices are off by that much.", *_SYNCHRONISE)]
    return [ok(found)]


async def check_clocks(masters: Sequence[Master]) -> Iterable[Finding]:
    """Of the masters among themselves."""
    ahead = [master.ahead_ms for master in masters]
    apart_ms = max(ahead) - min(ahead)
    found = f"the clocks of {len(masters)} masters are {_seconds(apart_ms)} apart"
    means = "Messages with TTL 0 live 2 s, judged by the clocks of two masters: they are dropped, or come late."
    if apart_ms > MASTERS_BAD_MS:
        return [bad(found, means, *_SYNCHRONISE)]
    if apart_ms > MASTERS_WARN_MS:
        return [warn(found, means, *_SYNCHRONISE)]
    return [ok(found)]


_SYNCHRONISE = ("timedatectl set-ntp true    # or chrony, on each host",)


def _seconds(ms: float) -> str:
    ms = abs(ms)
    return f"{ms:.1f} ms" if ms < 100 else f"{ms / 1000:.1f} s"
