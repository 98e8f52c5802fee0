"""How long something took, many times: counted in buckets, so that a million cost no more than a thousand.

Promises: below a second a bucket is a millisecond, above it three digits, so a percentile is never off by more than 1 %
and never too low.
"""

import math
from collections import Counter

from msgspec import Struct


class Percentiles(Struct, frozen=True):
    """Milliseconds; null if nothing was counted."""

    p50: int | None
    p90: int | None
    p99: int | None
    max: int | None


class Distribution:
    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.count = 0

    def add(self, milliseconds: float) -> None:
        """What is below zero (two clocks) counts as nothing."""
        whole = max(0, math.ceil(milliseconds))
        if whole >= 1000:
            step: int = 10 ** (len(str(whole)) - 3)
            whole = -(-whole // step) * step
        self._buckets[whole] += 1
        self.count += 1

    def percentile(self, share: float) -> int | None:
        """The least that so many of all did not exceed. `share`: 0 < share <= 1."""
        wanted, passed = share * self.count, 0
        for bucket in sorted(self._buckets):
            passed += self._buckets[bucket]
            if passed >= wanted:
                return bucket
        return None

    def percentiles(self) -> Percentiles:
        return Percentiles(*(self.percentile(share) for share in (0.5, 0.9, 0.99, 1.0)))
