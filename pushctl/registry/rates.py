"""Token buckets in Redis: of a push URL and its user, within the scripts that take a message; and such as all processes
share, by key: what senders choose (VAPID keys, addresses), and users.

Owns: keys {rates:*}, the question asked of script charge, what scripts with lib/rates.lua are told and say, what
they have stored. Promises:
at most SHARDS * MAX_BUCKETS shared buckets of a kind, whatever keys are made up; keys are kept as digests.
Must not know: who is counted, or whether anybody is refused.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from pushctl.config.model import Limits
from pushctl.errors import RateLimited
from pushctl.ids import b64url
from pushctl.rates import Rate, rate_of
from pushctl.registry.connection import Argument
from pushctl.registry.keys import MAX_BUCKETS, SHARDS
from pushctl.registry.script import Script
from pushctl.registry.store import Store

CHARGE = Script.load("charge")


def shard_of_bucket(key: str) -> int:
    return _digest(key)[0] % SHARDS


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=12).digest()


class RateState(msgspec.Struct, frozen=True):
    """`left` of `burst` would be taken now, all at once; `wait_ms` until the next one, if there is none."""

    left: int
    burst: int
    wait_ms: int


class MessageRates:
    """Of scripts append and announce."""

    def __init__(self, limits: Limits) -> None:
        self._rates = {
            "push_url": rate_of(limits.push_url_per_second, limits.push_url_burst),
            "user": rate_of(limits.user_per_second, limits.user_burst),
        }
        spans_us = [rate.span_us for rate in self._rates.values() if rate]
        self.arguments: dict[str, Any] = {
            **_bucket("url", self._rates["push_url"]),
            **_bucket("user", self._rates["user"]),
            "rates_ms": -(-max(spans_us, default=0) // 1000),
        }

    def state(self, limit: Literal["push_url", "user"], stored: bytes | None, now_ms: int) -> RateState | None:
        """What a field of `rates` says, as scripts/lib/rates.lua reads it; None: no such limit."""
        rate = self._rates[limit]
        if rate is None:
            return None
        earned, price, full = rate.in_microseconds
        credit, at_us = map(int, stored.split()) if stored else (full, 0)
        credit = min(full, credit + max(0, now_ms * 1000 - at_us) * earned)
        lacking_us = -(-max(0, price - credit) // earned)
        return RateState(credit // price, rate.burst, -(-lacking_us // 1000))

    def check(self, reply: Sequence[bytes]) -> None:
        """Raises RateLimited with `limit` push_url or user, or empty where the caller had refused it already."""
        if reply[0] != b"limited":
            return
        limit = reply[1].decode()
        whose = {"push_url": "this push URL", "user": "the user behind this push URL"}.get(limit, "it")
        rate, wait_seconds = self._rates.get(limit), int(reply[2]) / 1_000_000
        raise RateLimited(f"{whose} takes {rate}: send more slowly", limit=limit, retry_after_seconds=wait_seconds)


def _bucket(whose: str, rate: Rate | None) -> dict[str, Argument]:
    earns, price, full = rate.in_microseconds if rate else (0, 0, 0)
    return {f"{whose}_earns": earns, f"{whose}_price": price, f"{whose}_full": full}


class Rates:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def charge(self, kind: str, shard: int, rate: Rate, costs: Sequence[tuple[str, int]]) -> list[int]:
        """Take from buckets of one shard what was used, whether or not it is there: (key, µs of the rate; negative:
        given back). Microseconds until each is full again. Raises StoreUnavailable."""
        rest = [part for key, cost_us in costs for part in (b64url(_digest(key)), cost_us)]
        keys = [self._store.keys.rates(shard, kind)]
        reply = await self._store.run_on(CHARGE, keys, rest=rest, most_us=rate.most_us, max_buckets=MAX_BUCKETS)
        return [int(behind) for behind in reply]
