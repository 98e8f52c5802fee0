"""How long something took, many times: counted in buckets, so that a million cost no more than a thousand.

Promises: below 1000 a bucket is one unit, above it three digits, so a percentile is never off by more than 1 % (or one
unit) and never too low. What a unit is (milliseconds, microseconds) says whoever adds.
"""

import math
from collections import Counter
from collections.abc import Iterable

from msgspec import Struct


class Percentiles(Struct, frozen=True):
    """Milliseconds; null if nothing was counted."""

    p50: int | None
    p90: int | None
    p99: int | None
    max: int | None


class Latencies(Struct, frozen=True):
    """Microseconds; null if nothing was counted. p999 is 99.9 %, p9999 is 99.99 %."""

    min: int | None
    mean: int | None
    p50: int | None
    p90: int | None
    p99: int | None
    p999: int | None
    p9999: int | None
    max: int | None


class Distribution:
    def __init__(self, buckets: Iterable[tuple[int, int]] = ()) -> None:
        """`buckets`: as another one has them."""
        self._buckets: Counter[int] = Counter(dict(buckets))
        self.count = self._buckets.total()

    def add(self, value: float) -> None:
        """What is below zero (two clocks) counts as nothing."""
        whole = max(0, math.ceil(value))
        if whole >= 1000:
            step: int = 10 ** (len(str(whole)) - 3)
            whole = -(-whole // step) * step
        self._buckets[whole] += 1
        self.count += 1

    def buckets(self) -> list[tuple[int, int]]:
        """(the most a value in it can be, how many are in it), those with any, in order."""
        return sorted(self._buckets.items())

    def percentile(self, share: float) -> int | None:
        """The least that so many of all did not exceed. `share`: 0 < share <= 1."""
        wanted, passed = share * self.count, 0
        for bucket, count in self.buckets():
            passed += count
            if passed >= wanted:
                return bucket
        return None

    def percentiles(self) -> Percentiles:
        return Percentiles(*(self.percentile(share) for share in (0.5, 0.9, 0.99, 1.0)))

    def latencies(self) -> Latencies:
        """Of one whose unit is a microsecond."""
        if not self.count:
            return Latencies(*[None] * 8)
        mean = round(sum(bucket * count for bucket, count in self._buckets.items()) / self.count)
        shares = (0.5, 0.9, 0.99, 0.999, 0.9999, 1.0)
        return Latencies(min(self._buckets), mean, *(self.percentile(share) for share in shares))
