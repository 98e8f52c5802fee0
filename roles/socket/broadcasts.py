"""Broadcasts on one socket server: the versions as they stand, and browsers that are told of changes.

Owns: the copy of what the registry says. Promises: a change reaches every connection here at once when its hint is
heard, and with the next heartbeat when it is not. Must not know: who listens to which (browser.py).
"""

import random
from typing import TYPE_CHECKING

import trio

from pushctl.errors import StoreUnavailable
from pushctl.registry.broadcasts import Versions
from roles.socket.browser import BrowserConnection

if TYPE_CHECKING:
    from roles.socket.serve import SocketRole


class Broadcasts:
    def __init__(self, role: "SocketRole") -> None:
        self._role = role
        self._known = Versions(0, {})
        self._news = trio.Event()

    @property
    def versions(self) -> dict[str, str]:
        """By id."""
        return self._known.by_id

    def hear(self, change: int | None) -> None:
        """That there was a change; its number, if that is known."""
        if change != self._known.change:
            self._news.set()

    async def load(self) -> None:
        """Look, and tell everybody what is new to them. Raises StoreUnavailable."""
        self._known = await self._role.registry.broadcasts.all()
        for connection in self._role.hub:
            if isinstance(connection, BrowserConnection):
                connection.hear_broadcasts()

    async def run(self) -> None:
        """Look whenever something was heard, until cancelled."""
        while True:
            await self._news.wait()
            self._news = trio.Event()
            try:
                await self.load()
            except StoreUnavailable:
                self._news.set()
                await trio.sleep(random.uniform(0.5, 1))  # noqa: S311 - jitter is no secret
