"""Push URLs of a user.

Owns: the questions asked of scripts allow, revoke, push_urls and sealed_with. Must not know: sealed tokens.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from pushctl.errors import LimitReached
from pushctl.ids import PushUrlId, UserId
from pushctl.registry.records import Change, PushUrlRecord
from pushctl.registry.script import Script
from pushctl.registry.store import Store

ALLOW = Script.load("allow")
REVOKE = Script.load("revoke")
PUSH_URLS = Script.load("push_urls")
SEALED_WITH = Script.load("sealed_with")

Outcome = Literal["new", "changed", "same"]


class PushUrls:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def allow(
        self,
        user: UserId,
        *,
        new_id: PushUrlId,
        site: str,
        vapid_key: str | None,
        icon: str | None,
        key_id: str,
    ) -> tuple[Outcome, PushUrlRecord, Change]:
        """Make a push URL (with `new_id`), or find the one there is for the site and key. Raises LimitReached."""
        limit = self._store.config.limits.push_urls_per_user
        reply = await self._store.run(
            ALLOW,
            user,
            id=new_id,
            site=site,
            vapid=vapid_key or "-",
            icon=icon or "",
            key_id=key_id,
            max_push_urls=limit,
        )
        if reply[0] == b"limit":
            raise LimitReached(f"a user may have {limit} push URLs; revoke one first")
        return reply[0].decode(), PushUrlRecord.parse(reply[1], reply[2]), Change.parse(reply[3])

    async def revoke(self, user: UserId, push_url: PushUrlId) -> Change | None:
        """Revoke; None when there is no such push URL."""
        reply = await self._store.run(REVOKE, user, id=push_url)
        return None if reply[0] == b"none" else Change.parse(reply[1])

    async def all(self, user: UserId) -> list[PushUrlRecord]:
        """All of the user's, oldest first."""
        reply = await self._store.run(PUSH_URLS, user)
        return [PushUrlRecord.parse(*pair) for pair in reply[1:]]

    async def sealed_with(self, users: Sequence[UserId]) -> "Counter[str]":
        """How many push URLs of these users each sealing key sealed, by key id. One round trip."""
        found: Counter[str] = Counter()
        keys = [self._store.keys.user(user, "push_urls") for user in users]
        for reply in await self._store.run_together(*((SEALED_WITH, [key], {}) for key in keys)):
            flat = iter(reply)
            found.update({key_id.decode(): count for key_id, count in zip(flat, flat, strict=True)})
        return found
