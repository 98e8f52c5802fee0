"""Use cases of browsers, which are known by a UAID alone and never log in (docs/protocol.md, section 5).

A browser is a user with one device. The UAID is a bearer secret: what is stored and shown is derived from it. Nothing
is stored for one before its first subscription.

Owns: UAIDs; from a UAID to its user, whichever key made that id; the order of steps of a first subscription.
Promises: a new UAID is given out only when the registry proves that the old one is nobody's. Must not know: frames on
the wire, who is connected.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from pushctl.identity.keys import Keys
from pushctl.identity.principals import UAID, Principal
from pushctl.ids import Cursor, DeviceId, MessageRef, PushUrlId, UserId, new_id
from pushctl.inbox.inbox import Inbox
from pushctl.protocol import mozilla
from pushctl.registry import Registry
from pushctl.registry.browsers import NO_SESSION, Undelivered

DEVICE_NAME = "browser"


@dataclass(frozen=True, slots=True)
class Browser:
    """`stored`: it has subscribed before, and the registry knows it."""

    uaid: str = field(repr=False)
    user: UserId
    device: DeviceId
    identity: str
    stored: bool


class Browsers:
    def __init__(self, registry: Registry, inbox: Inbox, keys: Callable[[], Keys]) -> None:
        """`keys`: those of now; they may change."""
        self._registry = registry
        self._inbox = inbox
        self._keys = keys

    async def recognise(self, uaid: str | None) -> Browser:
        """Who says hello with this UAID: the browser it belongs to, or a new one if it provably is nobody's.

        Raises StoreUnavailable without that proof, also for a browser that brings none.
        """
        if uaid is not None and mozilla.is_uaid(uaid):
            principal = Principal(UAID, "", uaid)
            entries = self._keys().index_entries(principal)
            for user in await self._candidates(principal, entries):
                device = await self._registry.browsers.find(user)
                if device is not None:
                    browser = Browser(uaid, user, device or DeviceId(new_id()), entries[0], stored=bool(device))
                    if device and entries[1:]:
                        await self._move(browser, entries)
                    return browser
        return await self._newcomer()

    async def _candidates(self, principal: Principal, entries: Sequence[str]) -> list[UserId]:
        """Who it may be: whom the identity index names under any of its keys, whose own key may not be known any more,
        and the ids that each known key would have made."""
        keys = self._keys()
        known = keys.user_ids(principal)
        named = [await self._registry.sessions.find_user(entry) for entry in entries]
        return list(dict.fromkeys([*(user for user in named if user is not None), *known]))

    async def _move(self, browser: Browser, entries: Sequence[str]) -> None:
        """To a new key of the identity index, which must find it when the older one goes."""
        if await self._registry.sessions.find_user(browser.identity) is None:
            await self._register(browser, browser.device, entries)

    async def _newcomer(self) -> Browser:
        uaid = secrets.token_hex(16)
        principal, keys = Principal(UAID, "", uaid), self._keys()
        user = keys.user_id(principal)
        await self._registry.browsers.find(user)
        return Browser(uaid, user, DeviceId(new_id()), keys.index_entry(principal), stored=False)

    async def store(self, browser: Browser) -> Browser:
        """Before its first subscription: make its user and device. May be repeated."""
        await self._register(browser, None, self._keys().index_entries(Principal(UAID, "", browser.uaid)))
        return replace(browser, stored=True)

    async def _register(self, browser: Browser, device: DeviceId | None, entries: Sequence[str]) -> None:
        await self._registry.users.register(
            browser.user,
            device=device,
            name=DEVICE_NAME,
            session=NO_SESSION,
            identity=entries[0],
            older_entries=entries[1:],
            new_device=browser.device,
        )
        if entries[1:]:  # servers that have only the older key of the index must find it, too
            await self._registry.sessions.user_of_any(entries, browser.user)

    async def subscribe(self, browser: Browser, channel: str, vapid_key: str | None) -> str:
        """The push URL, absolute, of a channel of a stored browser. Raises LimitReached."""
        record = await self._registry.browsers.subscribe(
            browser.user, channel, new_id=PushUrlId(new_id()), vapid_key=vapid_key, key_id=self._inbox.sealing_key_id
        )
        return self._inbox.render.push_url(browser.user, record).url

    async def unsubscribe(self, browser: Browser, channel: str) -> None:
        """From now on the channel's push URL answers 410. Nothing happens if it has none."""
        if browser.stored:
            await self._registry.browsers.unsubscribe(browser.user, channel)

    async def undelivered(
        self, user: UserId, at: Cursor | None, after: int, *, limit: int, page_bytes: int
    ) -> Undelivered:
        return await self._registry.browsers.undelivered(user, at, after, limit=limit, page_bytes=page_bytes)

    async def settle(self, user: UserId, refs: Sequence[MessageRef]) -> int:
        """The browser is done with these: they never come again. How many were unread. May be repeated."""
        return await self._registry.browsers.settle(user, refs)
