"""Wall-clock time as a parameter.

Owns: the one place that reads the host's clock, and the RFC 3339 spelling of moments.
Must not know: the registry's time. Leases and expiry are decided by Redis TIME inside scripts, never by this clock; it
serves what concerns only the outside (certificate and token validity, log lines, client screens).
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache

Clock = Callable[[], int]
"""Milliseconds since 1970, UTC."""


def system_clock() -> int:
    return time.time_ns() // 1_000_000


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(moment_ms: int) -> str:
    """`2026-01-02T03:04:05.678Z`: RFC 3339 in UTC with milliseconds."""
    return f"{_to_the_second(moment_ms // 1000)}.{moment_ms % 1000:03d}Z"


@lru_cache(maxsize=4)
def _to_the_second(second: int) -> str:
    """Most moments that are spelled out are of now."""
    return (_EPOCH + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S")


def parse_rfc3339(text: str) -> int:
    """Milliseconds since 1970 of what `rfc3339` made; ValueError for anything that is no RFC 3339 moment."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("no time zone")
    return (moment - _EPOCH) // timedelta(milliseconds=1)
