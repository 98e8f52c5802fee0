"""What a socket server does beside its connections: heartbeats, reconcile, acknowledgements, pings.

Owns: the loops and their pace. Promises: every user's log and leases are looked at every `reconcile_seconds`, spread
over that time, and all of them within SPREAD_SECONDS after the link to Redis came back; one task pings everybody.
Must not know: how a connection sends.
"""

import random
from typing import TYPE_CHECKING

import trio

from pushctl.errors import StoreUnavailable
from pushctl.ids import Cursor, DeviceId, UserId
from pushctl.registry.servers import HEARTBEAT_SECONDS
from pushctl.registry.store import AccountGone
from roles.socket.wire import Disconnected

if TYPE_CHECKING:
    from roles.socket.connection import Connection
    from roles.socket.serve import SocketRole

SPREAD_SECONDS = 10.0
ACKNOWLEDGE_SECONDS = 0.5
TICK_SECONDS = 1.0
CONCURRENT_LOOKS = 64
"""Users looked at together: enough to fill a pipeline, few enough to leave room for hellos."""


class Fenced(Exception):
    """A newer generation of this server's id has started: this one must stop at once."""


class Leases:
    def __init__(self, role: "SocketRole") -> None:
        self._role = role
        self._acknowledged: dict[tuple[UserId, DeviceId], Cursor] = {}
        self._hurry = trio.Event()

    # --- heartbeats --------------------------------------------------------------------------------------------------

    async def beat(self) -> None:
        """Say that this server lives, until cancelled. Raises Fenced."""
        while True:
            try:
                if not await self._role.registry.servers.heartbeat(self._role.id, self._role.row()):
                    raise Fenced
            except StoreUnavailable as error:
                self._role.log.warning("heartbeat_missed", detail=error.detail)
            await trio.sleep(HEARTBEAT_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - jitter is no secret

    # --- reconcile ---------------------------------------------------------------------------------------------------

    def hurry(self) -> None:
        """Hints may have been lost: look at everybody soon."""
        self._hurry.set()

    async def reconcile(self) -> None:
        """Look at every user again and again, until cancelled."""
        link = self._role.registry.link
        losses = link.losses
        while True:
            seconds = self._role.config.socket.reconcile_seconds
            if self._hurry.is_set() or link.losses != losses:
                losses, seconds = link.losses, min(SPREAD_SECONDS, seconds)
                self._hurry = trio.Event()
            await self._round(seconds)

    async def _round(self, seconds: float) -> None:
        """All users once, spread over `seconds`; cut short when there is a reason to hurry."""
        users = self._role.hub.users
        random.shuffle(users)
        until = trio.current_time() + seconds
        for first in range(0, len(users), CONCURRENT_LOOKS):
            async with trio.open_nursery() as nursery:
                for user in users[first : first + CONCURRENT_LOOKS]:
                    nursery.start_soon(self._look, user)
            part = seconds * CONCURRENT_LOOKS / len(users)
            with trio.move_on_after(min(part, max(0.0, until - trio.current_time()))):
                await self._hurry.wait()
            if self._hurry.is_set():
                return
        with trio.move_on_at(until):
            await self._hurry.wait()

    async def _look(self, user: UserId) -> None:
        role = self._role
        connections = role.hub.of(user)
        if not connections:
            return
        try:
            found = await role.registry.presence.reconcile(
                user,
                [(connection.id, connection.device) for connection in connections],
                server=role.id,
                generation=role.generation,
            )
            alive = await role.registry.sessions.live([connection.session.hash for connection in connections])
        except AccountGone:
            for connection in connections:
                connection.signed_out()
            return
        except StoreUnavailable:
            return  # the next round looks again
        for connection, lease, session_lives in zip(connections, found.leases, alive, strict=True):
            if lease == "displaced":
                connection.displaced()
            elif lease == "no_device" or not session_lives:
                connection.signed_out()
            elif not connection.tail.is_at(found.last):
                connection.tail.fall_behind()
                connection.wake()

    # --- acknowledgements --------------------------------------------------------------------------------------------

    def acknowledge(self, connection: "Connection", cursor: Cursor) -> None:
        """Remember how far a device has come; the newest per device, written in batches."""
        self._acknowledged[connection.user, connection.device] = cursor

    async def write_acknowledgements(self) -> None:
        """Until cancelled. What could not be written is kept unless something newer came."""
        while True:
            await trio.sleep(ACKNOWLEDGE_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        batch, self._acknowledged = self._acknowledged, {}
        by_user: dict[UserId, list[tuple[DeviceId, Cursor]]] = {}
        for (user, device), cursor in batch.items():
            by_user.setdefault(user, []).append((device, cursor))
        async with trio.open_nursery() as nursery:
            for user, positions in by_user.items():
                nursery.start_soon(self._write, user, positions)

    async def _write(self, user: UserId, positions: list[tuple[DeviceId, Cursor]]) -> None:
        try:
            await self._role.registry.messages.acknowledge(user, positions)
        except AccountGone:
            return
        except StoreUnavailable:
            for device, cursor in positions:
                self._acknowledged.setdefault((user, device), cursor)

    # --- pings and sessions ------------------------------------------------------------------------------------------

    async def ping(self) -> None:
        """One pinger for all: walks the connections every second, until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                now = trio.current_time()
                for connection in self._role.hub:
                    if connection.session_deadline <= now:
                        connection.signed_out()
                    elif connection.next_ping <= now:
                        connection.next_ping = now + self._role.config.socket.ping_seconds
                        nursery.start_soon(self._ping, connection)
                await trio.sleep(TICK_SECONDS)

    async def _ping(self, connection: "Connection") -> None:
        """A task for as long as a pong is outstanding, and no longer."""
        with trio.move_on_after(self._role.config.socket.pong_seconds) as silence:
            try:
                await connection.ping()
            except Disconnected:
                return  # its own tasks see that too
        if silence.cancelled_caught:
            connection.no_pong()
