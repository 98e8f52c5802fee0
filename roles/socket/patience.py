"""Asking the registry on behalf of one connection, again and again while it is away: Redis being slow closes none.

Owns: the repeating, and knowing that somebody waits. Promises: what waiting cannot mend (an error with a close code of
its own) is raised at once. Must not know: what is asked, sockets.
"""

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from pushctl.errors import StoreUnavailable
from pushctl.ids import UserId

T = TypeVar("T")
Wait = Callable[[], Awaitable[None]]


class Patience:
    __slots__ = ("_until_back", "_user", "_waiting")

    def __init__(self, until_back: Callable[[UserId], Awaitable[None]], user: UserId) -> None:
        """`until_back`: returns once the registry can be asked about this user."""
        self._until_back = until_back
        self._user = user
        self._waiting = 0

    @property
    def is_needed(self) -> bool:
        """The registry is away and somebody waits for it: the reader, the writer, or both."""
        return self._waiting > 0

    async def ask(
        self, question: Callable[[], Awaitable[T]], *, meanwhile: Callable[[Wait], Awaitable[None]] | None = None
    ) -> T:
        """The answer. Only for what may be repeated: reading, and marking read. `meanwhile` is given what is waited
        for, and returns when that has returned; without one it is just waited for."""
        while True:
            try:
                return await question()
            except StoreUnavailable as error:
                if error.close_code != StoreUnavailable.close_code:
                    raise
            self._waiting += 1
            try:
                await (meanwhile(self._wait) if meanwhile else self._wait())
            finally:
                self._waiting -= 1

    async def _wait(self) -> None:
        await self._until_back(self._user)
        await trio.sleep(random.uniform(0.1, 0.5))  # noqa: S311 - jitter is no secret
