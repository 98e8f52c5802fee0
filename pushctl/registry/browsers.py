"""Browsers: users with one device that never logged in, of which only a bearer secret is known (the UAID).

Owns: the questions asked of scripts browser, subscribe, unsubscribe, undelivered, settle and forget_browser; how a
channel stands in a push URL's site. Promises: a browser is said to be not there only by a registry that answered and
is ours.
Must not know: UAIDs, only what is derived from them; frames.
"""

from collections.abc import Sequence

import msgspec

from pushctl.errors import LimitReached
from pushctl.ids import START, Cursor, DeviceId, MessageRef, Position, PushUrlId, SessionHash, UserId
from pushctl.registry.records import MessageRecord, PushUrlRecord
from pushctl.registry.script import Script
from pushctl.registry.store import AccountGone, Store
from pushctl.registry.users import Deleted

BROWSER = Script.load("browser")
SUBSCRIBE = Script.load("subscribe")
UNSUBSCRIBE = Script.load("unsubscribe")
UNDELIVERED = Script.load("undelivered")
SETTLE = Script.load("settle")
FORGET_BROWSER = Script.load("forget_browser")

NO_SESSION = SessionHash("")
"""What a device has that never logged in."""

_CHANNEL = "channel:"


def site_of(channel: str) -> str:
    """What stands in a push URL's site for a channel."""
    return _CHANNEL + channel


def channel_of(site: str) -> str | None:
    """The channel of a browser's push URL; None for a site."""
    return site.removeprefix(_CHANNEL) if site.startswith(_CHANNEL) else None


class Undelivered(msgspec.Struct, frozen=True):
    """`end`: where the log ended at that moment; `after`: the sequence number to go on behind; `more`: at once."""

    end: Cursor
    after: int
    more: bool
    messages: list[MessageRecord]


class Browsers:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def find(self, user: UserId) -> DeviceId | None:
        """The device of a browser whose user would be this one ('' if it was lost); None: there is no such user, for
        certain. Raises StoreUnavailable without that certainty."""
        reply = await self._store.run_uncertain(BROWSER, user)
        if reply[0] == b"done":
            return DeviceId(reply[1].decode())
        if reply[0] == b"unknown":
            await self._store.link.prove_ours(self._store.keys.user(user, "meta"))
        return None

    async def subscribe(
        self, user: UserId, channel: str, *, new_id: PushUrlId, vapid_key: str | None, key_id: str
    ) -> PushUrlRecord:
        """The push URL of a channel: the one it has if it takes the same key, else a new one. Raises LimitReached."""
        limit = self._store.config.limits.push_urls_per_user
        reply = await self._store.run(
            SUBSCRIBE,
            user,
            id=new_id,
            site=site_of(channel),
            vapid=vapid_key or "-",
            icon="",
            key_id=key_id,
            max_push_urls=limit,
        )
        if reply[0] == b"limit":
            raise LimitReached(f"a browser may have {limit} subscriptions")
        return PushUrlRecord.parse(reply[1], reply[2])

    async def unsubscribe(self, user: UserId, channel: str) -> bool:
        """Revoke a channel's push URL. False: it has none."""
        reply = await self._store.run(UNSUBSCRIBE, user, site=site_of(channel))
        return bool(reply[1] == 1)

    async def undelivered(
        self, user: UserId, at: Cursor | None, after: int, *, limit: int, page_bytes: int
    ) -> Undelivered:
        """Unread messages behind `after`, oldest first; from the first one on if `at`, where the log ended when that
        was said, is not provably a place of the log as it stands."""
        place = at or Cursor("", START)
        reply = await self._store.run(
            UNDELIVERED,
            user,
            at_epoch=place.epoch,
            at_seq=place.position.seq,
            at_tag=place.position.tag,
            after=after,
            limit=limit,
            page_bytes=page_bytes,
        )
        end = Cursor(reply[1].decode(), Position(int(reply[2]), int(reply[3])))
        return Undelivered(end, int(reply[4]), reply[5] == 1, [MessageRecord.parse(*pair) for pair in reply[6:]])

    async def settle(self, user: UserId, refs: Sequence[MessageRef]) -> int:
        """The browser is done with these messages: they go, without an event. How many were there. May be repeated."""
        try:
            reply = await self._store.run(SETTLE, user, rest=[f"{ref.seq}:{ref.tag}" for ref in refs])
        except AccountGone:
            return 0
        return int(reply[1])

    async def forget_idle(self, user: UserId, idle_ms: int) -> Deleted | None:
        """If the user is a browser that was not seen for so long, its first half of a deletion; else None."""
        reply = await self._store.run_uncertain(FORGET_BROWSER, user, idle_ms=idle_ms)
        if reply[0] != b"done":
            return None
        return Deleted.of(reply)
