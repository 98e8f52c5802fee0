"""What a socket server does beside its connections: heartbeats, reconcile, acknowledgements, pings.

Owns: the loops and their pace. Promises: every user's log and leases are looked at every `reconcile_seconds`, spread
over that time, and all of them within SPREAD_SECONDS after the link to Redis came back; one task pings everybody.
Must not know: how a connection sends.
"""

import random
from typing import TYPE_CHECKING

import trio

from pushctl.errors import StoreUnavailable
from pushctl.ids import ConnectionId, Cursor, DeviceId, UserId
from pushctl.registry.servers import HEARTBEAT_SECONDS
from pushctl.registry.store import AccountGone
from roles.socket.wire import Disconnected

if TYPE_CHECKING:
    from roles.socket.connection import Connection
    from roles.socket.serve import SocketRole

SPREAD_SECONDS = 10.0
ACKNOWLEDGE_SECONDS = 0.5
TICK_SECONDS = 1.0
MAX_RELEASES = 100_000
"""Leases remembered to be given back while Redis is away; others end by themselves."""

CONCURRENT_LOOKS = 64
"""Users looked at together: enough to fill a pipeline, few enough to leave room for hellos."""


class Fenced(Exception):
    """A newer generation of this server's id has started: this one must stop at once."""


class Leases:
    def __init__(self, role: "SocketRole") -> None:
        self._role = role
        self._acknowledged: dict[tuple[UserId, DeviceId], Cursor] = {}
        self._released: dict[ConnectionId, UserId] = {}
        self._hurry = trio.Event()
        self._missed = False
        """Somebody could not be looked at in this round."""
        self._beating = trio.CancelScope()
        self._registry_ahead_ms = 0.0

    # --- heartbeats --------------------------------------------------------------------------------------------------

    async def beat_once(self) -> None:
        """Say that this server lives, and learn the registry's time. Raises Fenced, StoreUnavailable."""
        now_ms = await self._role.registry.servers.heartbeat(self._role.id, self._role.row())
        if now_ms is None:
            raise Fenced
        self._registry_ahead_ms = now_ms - trio.current_time() * 1000

    def registry_now_ms(self) -> float:
        """The registry's time, as of the last heartbeat."""
        return trio.current_time() * 1000 + self._registry_ahead_ms

    async def beat(self) -> None:
        """Beat until cancelled or `stop_beating`. Raises Fenced."""
        with self._beating:
            while True:
                await trio.sleep(HEARTBEAT_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - jitter is no secret
                try:
                    await self.beat_once()
                except StoreUnavailable as error:
                    self._role.log.warning("heartbeat_missed", detail=error.detail)

    def stop_beating(self) -> None:
        """A goodbye follows: no heartbeat may come after it."""
        self._beating.cancel()

    # --- reconcile ---------------------------------------------------------------------------------------------------

    def hurry(self) -> None:
        """Hints may have been lost: look at everybody soon."""
        self._hurry.set()

    async def reconcile(self) -> None:
        """Look at every user again and again, until cancelled."""
        while True:
            seconds = self._role.config.socket.reconcile_seconds
            if self._hurry.is_set() or self._missed:
                await self._role.registry.link.wait_connected()
                seconds = min(SPREAD_SECONDS, seconds)
                self._hurry = trio.Event()
                self._missed = False
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
            self._missed = True  # the next round is a short one and looks again; this one goes on for the others
            return
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

    def release(self, connection: "Connection") -> None:
        """Give a lease back; as soon as Redis is there, if it is away."""
        if (
            not self._role.registry.presence.release(connection.user, connection.id)
            and len(self._released) < MAX_RELEASES
        ):
            self._released[connection.id] = connection.user

    async def flush(self) -> None:
        """Write what waits: acknowledgements, and leases to give back."""
        for connection, user in list(self._released.items()):
            if self._role.registry.presence.release(user, connection):
                del self._released[connection]
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
