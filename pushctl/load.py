"""What a process is busy with: how much of the machine it takes, how late its event loop is, what it does a second.

Owns: the shape that roles report of themselves (registry/servers.py, registry/processes.py), and its measuring, but for
how late the event loop is (liveness.py).
Promises: costs some tenths of a millisecond a second; figures are of the last WINDOW_SECONDS, so a look at any moment
finds a fresh rate.
Memory and CPU are of the whole process: roles that share one say the same. Must not know: who reads it.
"""

import os
import resource
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec
import trio

WINDOW_SECONDS: Final = 10
SAMPLE_SECONDS: Final = 2.0

_STATM: Final = Path("/proc/self/statm")


class Load(msgspec.Struct, frozen=True):
    """`cpu`: of one core, 1 = all of it; `lag_ms`: the latest that the event loop was. `counts`: since the start, by
    word; `per_second`: of the same words. Words that stand for nothing are left out."""

    cpu: float = 0
    rss_bytes: int = 0
    lag_ms: int = 0
    counts: dict[str, int] = {}
    per_second: dict[str, float] = {}


class _Sample(msgspec.Struct, frozen=True):
    at: float
    cpu_seconds: float
    counts: Mapping[str, int]


class LoadMeter:
    """Run `run`, ask `load` at any time."""

    def __init__(self, counts: Callable[[], Mapping[str, int]], late: Callable[[], float]) -> None:
        """`counts`: what the role counts since its start, by word; `late`: see Liveness.latest_seconds."""
        self._counts, self._late = counts, late
        self._samples: deque[_Sample] = deque(maxlen=round(WINDOW_SECONDS / SAMPLE_SECONDS) + 1)

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            self._samples.append(_Sample(trio.current_time(), cpu_seconds(), self._counts()))
            await trio.sleep(SAMPLE_SECONDS)

    def load(self) -> Load:
        """Of the last WINDOW_SECONDS, or for as long as it has been measured."""
        counts = {word: count for word, count in self._counts().items() if count}
        if not self._samples:
            return Load(rss_bytes=rss_bytes(), counts=counts)
        first, now = self._samples[0], trio.current_time()
        # Rates right after the start are of nearly no time, and would be wild.
        seconds = max(now - first.at, SAMPLE_SECONDS)
        rates = {word: round((count - first.counts.get(word, 0)) / seconds, 1) for word, count in counts.items()}
        return Load(
            cpu=round((cpu_seconds() - first.cpu_seconds) / seconds, 3),
            rss_bytes=rss_bytes(),
            lag_ms=round(self._late() * 1000),
            counts=counts,
            per_second={word: rate for word, rate in rates.items() if rate},
        )


def cpu_seconds() -> float:
    """That this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def rss_bytes() -> int:
    """Memory that this process holds now; where the system does not say (macOS), the most that it ever did."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
