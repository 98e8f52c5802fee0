"""Something is owed to Redis: tried as soon as Redis may be asked, and again until nothing is owed.

Owns: when to try. Must not know: what is owed.
"""

from collections.abc import Awaitable, Callable

import trio

PAUSE_SECONDS = 0.5
"""Before what did not work is tried again."""


class Owing:
    def __init__(
        self, present: Callable[[], Awaitable[object]], flush: Callable[[], Awaitable[None]], owes: Callable[[], bool]
    ) -> None:
        """`present` returns when Redis may be asked; `flush` does what can be done now; `owes`: is anything left?"""
        self._present = present
        self._flush = flush
        self._owes = owes
        self._something = trio.Event()

    def more(self) -> None:
        """Something is owed from now on."""
        self._something.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._something.wait()
            self._something = trio.Event()
            await self._present()
            await self._flush()
            if self._owes():
                self._something.set()
                await trio.sleep(PAUSE_SECONDS)
