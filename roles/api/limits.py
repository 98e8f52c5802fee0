"""Which rates the api keeps with its sisters, by whom they count, and their refusals (docs/operations.md, "Limits").

The rates of a push URL and of its user are counted where the message is stored (registry/rates.py).

Owns: kinds, keys, words. Promises: what was taken from several limits at once is taken from all or from none.
Must not know: how processes share a limit (quota.py), HTTP.
"""

from collections.abc import Callable, Sequence
from typing import Final

import trio

from pushctl.config.model import Limits as LimitsConfig
from pushctl.errors import RateLimited
from pushctl.http.addresses import Networks, neighbourhood
from pushctl.ids import UserId
from pushctl.liveness import Loop
from pushctl.rates import rate_of
from pushctl.registry.rates import Rates
from roles.api.quota import Quota

_WORDS: Final = {
    "total": "this service takes {} of all senders together",
    "address": "one address may send {}",
    "vapid_key": "one VAPID key may sign {}",
    "state": "one address may ask {} after messages of one user",
    "login": "from one address {} may log in",
    "client": "one user may ask {}",
}

_EVERYBODY: Final = "all"


class Taken:
    """One of each of some limits, or the refusal of the one that lets nothing through for longest."""

    def __init__(self, taken: Sequence[tuple[Quota, str]], refusal: RateLimited | None) -> None:
        self._taken = taken
        self.refusal = refusal

    def give_back(self) -> None:
        for quota, key in self._taken:
            quota.give_back(key)
        self._taken = ()


class Limits:
    """Run `run` in a nursery."""

    def __init__(
        self, rates: Rates, limits: LimitsConfig, exempt: Networks, count: Callable[[str], None] = lambda _: None
    ) -> None:
        """`exempt`: from limits by address; `count`: told of every refusal, by a word of docs/operations.md."""
        configured = {
            "total": rate_of(limits.total_per_second, limits.total_burst),
            "address": rate_of(limits.push_per_second_per_address, limits.push_burst_per_address),
            "vapid_key": rate_of(limits.vapid_key_per_second, limits.vapid_key_burst),
            "state": rate_of(limits.state_per_second_per_address, limits.state_burst_per_address),
            "login": rate_of(limits.login_per_second_per_address, limits.login_burst_per_address),
            "client": rate_of(limits.client_per_second_per_user, limits.client_burst_per_user),
        }
        self._quotas = {kind: Quota(rates, kind, rate) for kind, rate in configured.items() if rate}
        self._exempt = exempt
        self._count = count
        self._none_for_unsigned = not {"total", "address"} & self._quotas.keys()
        """Messages that nobody signed are counted nowhere here."""

    @property
    def loops(self) -> list[Loop]:
        """A request waits for them once its share is used up."""
        return [quota.loop for quota in self._quotas.values()]

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            for quota in self._quotas.values():
                nursery.start_soon(quota.run)

    async def settle(self) -> None:
        """Charge what this process has taken so far: before it ends."""
        for quota in self._quotas.values():
            await quota.charge_all()

    async def message(self, host: str, signed_by: str | None) -> Taken:
        """For one message from this address, signed by this VAPID key."""
        if signed_by is None and self._none_for_unsigned:
            return Taken((), None)
        wanted = [("total", _EVERYBODY), *self._by_address("address", host)]
        return await self._take([*wanted, ("vapid_key", signed_by)] if signed_by else wanted)

    async def state(self, host: str, user: UserId) -> None:
        """A sender asks what became of a message to this user, or takes it back. Raises RateLimited."""
        self.refuse(await self._take([(kind, f"{key} {user}") for kind, key in self._by_address("state", host)]))

    async def login(self, host: str) -> None:
        """Somebody logs in, or tries to. Raises RateLimited."""
        self.refuse(await self._take(self._by_address("login", host)))

    async def request(self, user: UserId) -> None:
        """A user asks the client API. Raises RateLimited."""
        self.refuse(await self._take([("client", user)]))

    def refuse(self, taken: Taken) -> None:
        """Raises RateLimited if it is refused."""
        if taken.refusal is not None:
            self.refused(taken.refusal)
            raise taken.refusal

    def refused(self, refusal: RateLimited) -> None:
        self._count(f"{refusal.limit}_rate")

    def _by_address(self, kind: str, host: str) -> list[tuple[str, str]]:
        # Telling addresses apart costs more than the limit itself.
        return [] if kind not in self._quotas or host in self._exempt else [(kind, neighbourhood(host))]

    async def _take(self, wanted: Sequence[tuple[str, str]]) -> Taken:
        taken: list[tuple[Quota, str]] = []
        refusals: list[tuple[float, str]] = []
        for kind, key in wanted:
            quota = self._quotas.get(kind)
            if quota is not None:
                wait_seconds = await quota.take(key)
                if wait_seconds:
                    refusals.append((wait_seconds, kind))
                else:
                    taken.append((quota, key))
        if not refusals:
            return Taken(taken, None)
        Taken(taken, None).give_back()
        wait_seconds, kind = max(refusals)
        detail = f"{_WORDS[kind].format(self._quotas[kind].rate)}: more slowly"
        return Taken((), RateLimited(detail, limit=kind, retry_after_seconds=wait_seconds))
