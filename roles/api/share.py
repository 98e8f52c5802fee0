"""One process's share in a token bucket that several processes use, without I/O.

It takes without asking, up to `slack` before what it took is charged to the shared bucket, and keeps a mirror of that:
as it was at the last charge, with what was earned and taken here since.

Owns: that arithmetic. Promises, for N processes: in any span of T seconds at most burst + per_second * T +
(N-1) * slack are let through, and what is too much is paid back: the shared bucket may owe. Alone, a process that
charges at once is exact; what is charged late while the bucket is full earns nothing until then. Nobody is refused
while the shared bucket holds one (what it earns while an answer of it travels, excepted), and who waits as told and is
alone gets one. Must not know: Redis; who is counted.
"""

from pushctl.rates import Rate, TokenBucket


def slack_of(rate: Rate) -> int:
    """A hundredth of the burst: what a process may take before it is charged."""
    return max(1, rate.burst // 100)


class Share:
    """Full at first: a bucket that nobody knows has not been used."""

    __slots__ = ("_carry", "_mirror", "_rate", "_slack", "_taken", "_under_way")

    def __init__(self, rate: Rate, slack: int, now: float) -> None:
        self._rate = rate
        self._slack = slack
        self._mirror = TokenBucket(rate, now)
        self._taken = 0
        """And not charged yet; negative: given back."""
        self._under_way = 0
        self._carry = 0
        """Of the last charge, what was less than a microsecond."""

    @property
    def owes(self) -> bool:
        return self._taken != 0

    @property
    def must_charge(self) -> bool:
        """Nothing can be taken before a charge is answered."""
        return self._taken + self._under_way >= self._slack

    @property
    def half_used(self) -> bool:
        return 2 * (self._taken + self._under_way) >= self._slack

    @property
    def is_busy(self) -> bool:
        return self._taken != 0 or self._under_way != 0

    def take(self, now: float) -> float:
        """As TokenBucket.take. Not while it must charge."""
        wait_seconds = self._mirror.take(now)
        if not wait_seconds:
            self._taken += 1
        return wait_seconds

    def give_back(self) -> None:
        self._mirror.give_back()
        self._taken -= 1

    def is_full(self, now: float) -> bool:
        return self._mirror.is_full(now)

    def charge(self) -> int:
        """What to charge now, in microseconds of the rate; `charged` or `failed` must follow."""
        self._under_way, self._taken = self._taken, 0
        earned, price, _ = self._rate.in_microseconds
        cost_us, self._carry = divmod(self._under_way * price + self._carry, earned)
        return cost_us

    def charged(self, behind_us: int, now: float) -> None:
        """The shared bucket's answer."""
        self._under_way = 0
        self._mirror.correct(behind_us, self._taken, now)

    def failed(self) -> None:
        """Nobody knows whether it was charged; it is not charged again. The mirror goes on by itself."""
        self._under_way = 0
