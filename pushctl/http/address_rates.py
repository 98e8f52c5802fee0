"""How often one address may ask: a rate for each client address.

Owns: what counts as one address, who is left alone, and the refusal. Promises: memory for MAX_ADDRESSES at most.
Must not know: who the client behind a proxy is (addresses.py has found out), or what is asked for.
"""

from collections.abc import Sequence
from typing import Final

from pushctl.errors import RateLimited
from pushctl.http.addresses import Networks, neighbourhood
from pushctl.rates import Rate, TokenBuckets

MAX_ADDRESSES: Final = 50_000


class AddressRates:
    def __init__(self, rate: Rate | None, exempt_networks: Sequence[str]) -> None:
        """`rate`: of each address; None: any. Raises ConfigError."""
        self._buckets = TokenBuckets(rate, MAX_ADDRESSES) if rate else None
        self._exempt = Networks(exempt_networks, "limits.exempt_networks")

    def __len__(self) -> int:
        """Addresses remembered."""
        return len(self._buckets or ())

    def admit(self, host: str, now: float) -> None:
        """Count a request from here. Raises RateLimited."""
        if self._buckets is None or host in self._exempt:
            return
        wait_seconds = self._buckets.take(neighbourhood(host), now)
        if wait_seconds:
            raise RateLimited("this address asks too often", limit="address", retry_after_seconds=wait_seconds)
