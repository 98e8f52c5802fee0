"""Leases that are to be given back: of connections that are over, and of claims whose answer never came.

Owns: remembering them until Redis has confirmed. Promises: no lease of a connection that is over stays, whenever Redis
was away or the link broke; those that a withdrawn claim displaced are told to look for themselves.
Must not know: how a connection ends.
"""

from typing import TYPE_CHECKING

import trio

from pushctl.errors import StoreUnavailable
from pushctl.ids import ConnectionId, DeviceId, UserId
from pushctl.registry.store import AccountGone
from roles.socket.owing import Owing

if TYPE_CHECKING:
    from roles.socket.held import Held
    from roles.socket.serve import SocketRole

MAX_REMEMBERED = 100_000
"""Beyond, a lease is left to whoever meets it, and to its own expiry."""

TOGETHER = 256
"""Leases given back in one round trip, or claims withdrawn at once."""


class Returns:
    def __init__(self, role: "SocketRole") -> None:
        self._role = role
        self._leases: dict[ConnectionId, UserId] = {}
        self._claims: dict[ConnectionId, tuple[UserId, DeviceId]] = {}
        self._owing = Owing(role.present, self.flush, lambda: bool(self._leases or self._claims))

    def release(self, connection: "Held") -> None:
        """Give its lease back."""
        if self._has_room():
            self._leases[connection.id] = connection.user

    def withdraw(self, connection: "Held") -> None:
        """Take its claim back, of which nobody knows whether it ran."""
        if self._has_room():
            self._claims[connection.id] = connection.user, connection.device

    def _has_room(self) -> bool:
        self._owing.more()
        return len(self._leases) + len(self._claims) < MAX_REMEMBERED

    async def run(self) -> None:
        """Until cancelled."""
        await self._owing.run()

    async def flush(self) -> None:
        """Give back what can be given back now."""
        leases = [(user, connection) for connection, user in self._leases.items()]
        for first in range(0, len(leases), TOGETHER):
            await self._give_back(leases[first : first + TOGETHER])
        claims = list(self._claims.items())
        for first in range(0, len(claims), TOGETHER):
            async with trio.open_nursery() as nursery:
                for connection, (user, device) in claims[first : first + TOGETHER]:
                    nursery.start_soon(self._take_back, user, device, connection)

    async def _give_back(self, leases: list[tuple[UserId, ConnectionId]]) -> None:
        try:
            await self._role.registry.presence.release(leases)
        except StoreUnavailable:
            return
        for _, connection in leases:
            self._leases.pop(connection, None)  # a drain may have been faster

    async def _take_back(self, user: UserId, device: DeviceId, connection: ConnectionId) -> None:
        try:
            displaced = await self._role.registry.presence.withdraw(user, device, connection)
        except AccountGone:
            displaced = []
        except StoreUnavailable:
            return
        self._claims.pop(connection, None)
        self._role.displace(user, displaced, for_good=False)
