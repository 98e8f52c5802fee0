"""What browsers acknowledged, until Redis has confirmed that it is gone.

Owns: remembering it. Promises: what a browser was done with is written however its connection ended meanwhile, as long
as this process lives; `write` leaves nothing of a user unwritten that was noted before. Must not know: connections.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from pushctl.errors import StoreUnavailable
from pushctl.ids import MessageRef, UserId
from roles.socket.owing import Owing

if TYPE_CHECKING:
    from roles.socket.serve import SocketRole

MAX_REMEMBERED = 100_000
"""Beyond, a message comes again after its acknowledgement: browsers pass over what they had."""

TOGETHER = 64
"""Users written at once."""


class Settling:
    def __init__(self, role: "SocketRole") -> None:
        self._role = role
        self._noted: dict[UserId, dict[tuple[int, int], MessageRef]] = {}
        self._count = 0
        self._abandoned: set[UserId] = set()
        self._owing = Owing(role.present, self.flush, lambda: bool(self._abandoned))

    @property
    def unwritten(self) -> int:
        """Messages that browsers are done with and Redis still has."""
        return self._count

    def note(self, user: UserId, refs: Sequence[MessageRef]) -> None:
        """To be followed by `write`, or by `abandon`."""
        noted = self._noted.setdefault(user, {})
        for ref in refs:
            if self._count < MAX_REMEMBERED and (ref.seq, ref.tag) not in noted:
                noted[ref.seq, ref.tag] = ref
                self._count += 1

    async def write(self, user: UserId) -> int:
        """All that was noted of a user. How many messages went. Raises StoreUnavailable; it stays noted then."""
        noted = self._noted.get(user)
        if not noted:
            self._noted.pop(user, None)
            return 0
        refs = list(noted.values())
        count = await self._role.browsers.settle(user, refs)
        for ref in refs:
            if noted.pop((ref.seq, ref.tag), None) is not None:
                self._count -= 1
        if not noted and self._noted.get(user) is noted:
            del self._noted[user]
        return count

    def abandon(self, user: UserId) -> None:
        """The connection that noted something of this user is over before it was written."""
        self._abandoned.add(user)
        self._owing.more()

    async def run(self) -> None:
        """Write what was abandoned, until cancelled."""
        await self._owing.run()

    async def flush(self) -> None:
        """Write of what was abandoned what can be written now."""
        users = list(self._abandoned)
        for first in range(0, len(users), TOGETHER):
            async with trio.open_nursery() as nursery:
                for user in users[first : first + TOGETHER]:
                    nursery.start_soon(self._try, user)

    async def _try(self, user: UserId) -> None:
        try:
            await self.write(user)
        except StoreUnavailable:
            return
        if user not in self._noted:  # else more was noted meanwhile, and perhaps abandoned, too
            self._abandoned.discard(user)
