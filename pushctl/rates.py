"""Token buckets: so many per second, so many at once, exactly.

Owns: the arithmetic, and many buckets of one rate under a bound of memory.
Promises: in any span of T seconds at most `burst + per_second * T` are let through, and nobody is refused while one
more would keep to that: it is counted in whole numbers, so nothing is lost to rounding. A clock that steps back gives
nothing away. `now` is a parameter: seconds of any clock, told apart to a nanosecond.
Must not know: who is counted, or what a refusal looks like.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

_NS = 1_000_000_000


@dataclass(frozen=True)
class Rate:
    """`per_second` in the long run, `burst` at once. Both more than 0; a burst is whole."""

    per_second: float
    burst: int

    @cached_property
    def credit_per_ns(self) -> int:
        """A nanosecond earns so much ..."""
        return self._fraction.numerator

    @cached_property
    def price(self) -> int:
        """... and each that is let through costs this: whole numbers, whatever the rate."""
        return self._fraction.denominator * _NS

    @cached_property
    def in_microseconds(self) -> tuple[int, int, int]:
        """(earned in a µs, price, of a full bucket) in whole numbers below 2^53 for a burst of up to a million, as
        scripts count: the rate in steps of a thousandth."""
        rate = self._fraction.limit_denominator(1000) or Fraction(1, 1000)
        price = rate.denominator * 1_000_000
        return rate.numerator, price, self.burst * price

    @property
    def span_us(self) -> int:
        """From empty to full."""
        earned, _, full = self.in_microseconds
        return -(-full // earned)

    @property
    def most_us(self) -> int:
        """From as far below empty as a hundred processes can bring it that share it, to full."""
        return self.span_us + max(self.span_us, -(-100_000_000 // self._fraction))

    def __str__(self) -> str:
        return f"{self.per_second:g} a second, {self.burst} at once"

    @cached_property
    def _fraction(self) -> Fraction:
        return Fraction(str(self.per_second))  # what was written: 0.1 is a tenth


def rate_of(per_second: float, burst: int) -> Rate | None:
    """As configuration says it: 0 per second is no limit."""
    return Rate(per_second, burst) if per_second else None


class TokenBucket:
    """Full at first."""

    __slots__ = ("_at_ns", "_credit", "_rate")

    def __init__(self, rate: Rate, now: float) -> None:
        self._rate = rate
        self._credit = rate.burst * rate.price
        self._at_ns = _ns(now)

    def take(self, now: float) -> float:
        """0: one was taken. Else none was, and so many seconds from now there will be one."""
        self._earn(now)
        lacking = self._rate.price - self._credit
        if lacking > 0:
            return -(-lacking // self._rate.credit_per_ns) / _NS
        self._credit -= self._rate.price
        return 0.0

    def give_back(self) -> None:
        """One that was taken was not needed."""
        self._credit = min(self._rate.burst * self._rate.price, self._credit + self._rate.price)

    def correct(self, behind_us: int, taken: int, now: float) -> None:
        """Somebody knows better: `taken` ago it was so many microseconds from full; less than empty is possible."""
        self._at_ns = max(self._at_ns, _ns(now))
        owed = behind_us * 1000 * self._rate.credit_per_ns + taken * self._rate.price
        self._credit = self._rate.burst * self._rate.price - max(0, owed)

    def is_full(self, now: float) -> bool:
        """It can be forgotten: a new one would be the same."""
        self._earn(now)
        return self._credit == self._rate.burst * self._rate.price

    def _earn(self, now: float) -> None:
        now_ns = _ns(now)
        if now_ns > self._at_ns:
            earned = (now_ns - self._at_ns) * self._rate.credit_per_ns
            self._credit = min(self._rate.burst * self._rate.price, self._credit + earned)
            self._at_ns = now_ns


class TokenBuckets:
    """One bucket for each key, all of one rate; at most `most` are remembered.

    Beyond that the one not asked for longest is forgotten: its key begins anew with a full bucket, so that many who are
    counted can never have somebody else refused.
    """

    def __init__(self, rate: Rate, most: int) -> None:
        self._rate = rate
        self._most = most
        self._buckets: OrderedDict[Hashable, TokenBucket] = OrderedDict()
        """Those asked for lately come last."""

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: Hashable, now: float) -> float:
        """As TokenBucket.take, of this key's."""
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = TokenBucket(self._rate, now)
        self._buckets.move_to_end(key)
        self._forget(now)
        return bucket.take(now)

    def _forget(self, now: float) -> None:
        """At each question two old ones at most, so that no question is a long one and all are looked at in time."""
        for _ in range(2):
            key, oldest = next(iter(self._buckets.items()))
            if len(self._buckets) <= self._most and not (len(self._buckets) > 1 and oldest.is_full(now)):
                return
            del self._buckets[key]


def _ns(seconds: float) -> int:
    return round(seconds * _NS)
