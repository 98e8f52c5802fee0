"""Delivery receipts: a sender waits until its message is delivered, read or dead (docs/protocol.md, section 2).

A wait looks, and looks again when this process hears that something became of one of the user's messages, when the
message expires, and every LOOK_SECONDS for hints that got lost. The look that finds nothing asks Redis to be told
(registry/receipts.py): so what happens after it is heard of, and what happened before it is seen.

Owns: who waits in this process; their number, by push URL and in all.
Promises: a wait costs one look and then nothing but memory; it ends at its deadline, and at once when the role drains.
Must not know: HTTP.
"""

import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import trio

from pushctl.clock import rfc3339
from pushctl.config.model import Limits
from pushctl.errors import NotFound, Overloaded, RateLimited, StoreUnavailable
from pushctl.ids import PushUrlId, UserId
from pushctl.inbox import Inbox, MessageState
from pushctl.log import get_logger
from pushctl.metrics import ApiMetrics
from pushctl.registry import Registry

LOOK_SECONDS: Final = 10.0
"""Between two looks when nothing is heard."""

LASTS_MS: Final = 30_000
"""How long Redis tells this process of a user after a look: longer than it takes to look again."""

LONGEST_WAIT_SECONDS: Final = 60.0

Key = TypeVar("Key", UserId, PushUrlId)

_log = get_logger(role="api")


class _Wait:
    """One request that waits. `event`: look again."""

    def __init__(self, ends: float) -> None:
        self.ends = ends
        self.event = trio.Event()


class Receipts:
    def __init__(self, registry: Registry, inbox: Inbox, limits: Limits, metrics: ApiMetrics) -> None:
        self._registry = registry
        self._inbox = inbox
        self._limits = limits
        self._metrics = metrics
        self._of_user: defaultdict[UserId, set[_Wait]] = defaultdict(set)
        self._of_push_url: defaultdict[PushUrlId, set[_Wait]] = defaultdict(set)
        self._count = 0
        self._ended = False

    async def run(self) -> None:
        """Hear of what becomes of messages, until cancelled. A channel that is lost is built anew."""
        receipts = self._registry.receipts
        while True:
            await receipts.wait_connected()
            try:
                async with receipts.listen() as listener:
                    self._wake(*self._of_user)  # only now: what is published from here on is heard
                    while True:
                        self._wake(receipts.user_of(await listener.hear()))
            except StoreUnavailable as error:
                _log.warning("receipts_deaf", detail=error.detail)
            await trio.sleep(random.uniform(0.1, 1.0))  # noqa: S311 - jitter is no secret

    def end(self) -> None:
        """The role drains: who waits is answered with what is known, and nobody waits any more."""
        self._ended = True
        for user, waits in self._of_user.items():
            for wait in waits:
                wait.ends = trio.current_time()
            self._wake(user)

    def _wake(self, *users: UserId) -> None:
        for user in users:
            for wait in self._of_user.get(user, ()):
                wait.event.set()

    async def state(self, receipt: str, seconds: float) -> MessageState:
        """What became of the receipt's message; if nothing yet, what has become of it within `seconds`.

        Raises NotFound, RateLimited (enough waits for messages to this push URL), Overloaded (enough waits in all),
        StoreUnavailable.
        """
        user, push_url, ref = self._inbox.open_receipt(receipt)
        ends = trio.current_time() + min(seconds, LONGEST_WAIT_SECONDS)
        if seconds <= 0 or self._ended:
            found = await self._registry.messages.state(user, ref)
            if found is None:
                raise NotFound("nothing is known of this message any more")
            return MessageState(receipt, found[0], rfc3339(found[1]))
        with self._waiting(user, push_url, ends) as wait:
            while True:
                wait.event = trio.Event()
                awaited = await self._registry.messages.awaited_state(
                    user, ref, self._registry.receipts.channel, LASTS_MS
                )
                if awaited is None:
                    raise NotFound("nothing is known of this message any more")
                if awaited.state != "stored" or trio.current_time() >= wait.ends:
                    return MessageState(receipt, awaited.state, rfc3339(awaited.at_ms))
                pause = min(LOOK_SECONDS, max(awaited.left_ms, 1) / 1000)
                with trio.move_on_at(min(wait.ends, trio.current_time() + pause)):
                    await wait.event.wait()

    @contextmanager
    def _waiting(self, user: UserId, push_url: PushUrlId, ends: float) -> Iterator[_Wait]:
        others = self._of_push_url.get(push_url, set())
        if len(others) >= self._limits.receipt_waits_per_push_url:
            self._metrics.refusals.labels("receipt_waits").inc()
            first = min(other.ends for other in others) - trio.current_time()
            raise RateLimited(
                f"{len(others)} requests wait for receipts of this push URL already",
                limit="receipt_waits",
                retry_after_seconds=first,
            )
        if self._count >= self._limits.receipt_waits:
            self._metrics.refusals.labels("receipt_waits").inc()
            raise Overloaded("too many requests wait for receipts here; ask again, or without `Prefer: wait`")
        wait = _Wait(ends)
        self._count += 1
        self._metrics.receipt_waits.inc()
        self._of_user[user].add(wait)
        self._of_push_url[push_url].add(wait)
        try:
            yield wait
        finally:
            self._count -= 1
            self._metrics.receipt_waits.dec()
            _leave(self._of_user, user, wait)
            _leave(self._of_push_url, push_url, wait)


def _leave(waits: dict[Key, set[_Wait]], key: Key, wait: _Wait) -> None:
    waits[key].discard(wait)
    if not waits[key]:
        del waits[key]
