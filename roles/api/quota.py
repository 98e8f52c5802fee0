"""One limit by key that all api processes keep together, without a question on the way of a request.

Each process takes from its share (share.py) and charges what it took a moment later, many keys in one round trip. So a
request waits for Redis only when its key has used up what may be taken uncharged.

Owns: the shares of this process, at most `most`, and their charging. Promises: the bound of share.py; a share that owes
is never forgotten, one that is not full only when there is no room: then its key begins anew with what a charge tells.
While the master of a bucket is away each process keeps to the rate by itself.
Must not know: what is limited, what a refusal looks like.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from typing import Final

import trio

from pushctl.errors import StoreUnavailable
from pushctl.liveness import Loop
from pushctl.rates import Rate
from pushctl.registry.rates import Rates, shard_of_bucket
from roles.api.share import Share, slack_of

MAX_SHARES: Final = 50_000
LINGER_SECONDS: Final = 0.02
"""So long a charge waits for others, unless somebody waits for it."""
BATCH: Final = 256
"""Shares in one script: it must stay short."""


class Quota:
    """Run `run` in a nursery."""

    def __init__(self, rates: Rates, kind: str, rate: Rate, *, most: int = MAX_SHARES) -> None:
        self._rates = rates
        self._kind = kind
        self.rate = rate
        self._slack = slack_of(rate)
        self._most = most
        self._shares: OrderedDict[str, Share] = OrderedDict()
        """Those asked for lately come last."""
        self._owing: dict[str, Share] = {}
        self._work = trio.Event()
        self._hurry = trio.Event()
        self._charged = trio.Event()
        self.loop = Loop(f"the counting of a limit ({kind})")

    def __len__(self) -> int:
        """Shares remembered."""
        return len(self._shares)

    async def take(self, key: str) -> float:
        """0: one was taken. Else none was, and so many seconds from now there will be one."""
        while True:
            share = await self._share_of(key)
            if not share.must_charge:
                break
            await self._next_charge()
        wait_seconds = share.take(trio.current_time())
        if not wait_seconds:
            self._owe(key, share)
        return wait_seconds

    def give_back(self, key: str) -> None:
        """One that was taken was not needed."""
        share = self._shares.get(key)
        if share is not None:
            share.give_back()
            self._owe(key, share)

    def _owe(self, key: str, share: Share) -> None:
        self._owing[key] = share
        self._work.set()
        if len(self._owing) >= BATCH or share.half_used:
            self._hurry.set()

    async def _next_charge(self) -> None:
        self._hurry.set()
        await self._charged.wait()

    # --- room --------------------------------------------------------------------------------------------------------

    async def _share_of(self, key: str) -> Share:
        now = trio.current_time()
        self._forget_full(now)
        while key not in self._shares and len(self._shares) >= self._most and not self._make_room():
            await self._next_charge()
        share = self._shares.get(key)
        if share is None:
            share = self._shares[key] = Share(self.rate, self._slack, now)
        self._shares.move_to_end(key)
        return share

    def _forget_full(self, now: float) -> None:
        """At each question two old ones at most, so that no question is a long one and all are looked at in time."""
        for _ in range(2):
            key, oldest = next(iter(self._shares.items()), (None, None))
            if key is None or oldest is None or oldest.is_busy or not oldest.is_full(now):
                return
            del self._shares[key]

    def _make_room(self) -> bool:
        key, oldest = next(iter(self._shares.items()))
        if oldest.is_busy:
            return False
        del self._shares[key]
        return True

    # --- charging ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Charge what is owed, until cancelled."""
        while True:
            with self.loop.idle():
                await self._work.wait()
            with trio.move_on_after(LINGER_SECONDS):
                await self._hurry.wait()
            await self.charge_all()

    async def charge_all(self) -> None:
        """Charge all that is owed by now."""
        owing, self._owing = self._owing, {}
        self._work, self._hurry = trio.Event(), trio.Event()
        by_shard = defaultdict(list)
        for key, share in owing.items():
            if share.owes:
                by_shard[shard_of_bucket(key)].append((key, share))
        async with trio.open_nursery() as nursery:
            for shard, shares in by_shard.items():
                nursery.start_soon(self._charge, shard, shares)
        charged, self._charged = self._charged, trio.Event()
        charged.set()

    async def _charge(self, shard: int, shares: Sequence[tuple[str, Share]]) -> None:
        for first in range(0, len(shares), BATCH):
            part = shares[first : first + BATCH]
            try:
                behind = await self._rates.charge(
                    self._kind, shard, self.rate, [(key, share.charge()) for key, share in part]
                )
            except StoreUnavailable:
                for _, share in part:
                    share.failed()
                continue
            now = trio.current_time()
            for (_, share), behind_us in zip(part, behind, strict=True):
                share.charged(behind_us, now)
