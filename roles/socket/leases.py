"""What a socket server does beside its connections: heartbeats, reconcile, acknowledgements, pings.

Owns: the loops and their pace, and knowing whether this process ran. Promises: every user's log and leases are looked
at every `reconcile_seconds`, spread over that time, and all of them within SPREAD_SECONDS after the link to Redis came
back or others may have taken this server for dead; a process that was stopped for that long does nothing before it has
asked whether it was replaced; one task pings everybody. Must not know: how a connection sends.
"""

import math
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from pushctl.errors import StoreUnavailable
from pushctl.ids import Cursor, DeviceId, UserId
from pushctl.registry.servers import HEARTBEAT_SECONDS, QUIET_MS
from pushctl.registry.store import AccountGone
from roles.socket.wire import Disconnected

if TYPE_CHECKING:
    from roles.socket.connection import Connection
    from roles.socket.serve import SocketRole

SPREAD_SECONDS = 10.0
QUIET_SECONDS = QUIET_MS / 1000
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
        self._missed = False
        """Somebody could not be looked at in this round."""
        self._to_look_at: set[UserId] = set()
        self._somebody = trio.Event()
        self._beating = trio.CancelScope()
        self._registry_ahead_ms = 0.0
        self._beaten_at = self._turned_at = math.inf  # not begun
        self._was_silent = self._absent = False
        self._back = trio.Event()

    # --- heartbeats --------------------------------------------------------------------------------------------------

    async def beat_once(self) -> None:
        """Say that this server lives, and learn the registry's time. Raises Fenced, StoreUnavailable.

        After a silence that routers may have taken for death, leases may be gone and hints with them: hurry. And once
        more a heartbeat later, for what a router still pruned that had not heard of this one.
        """
        asked_at = trio.current_time()
        beat = await self._role.registry.servers.heartbeat(self._role.id, self._role.row())
        if beat is None:
            raise Fenced
        now = trio.current_time()
        self._registry_ahead_ms = beat.now_ms - now * 1000
        silent_seconds = max(beat.silent_ms / 1000, asked_at - self._beaten_at)
        was_silent, self._was_silent = self._was_silent, silent_seconds > QUIET_SECONDS and self._beaten_at < math.inf
        if self._was_silent:
            self._role.log.warning("was_silent", seconds=round(silent_seconds, 1))
        if was_silent or self._was_silent:
            self.hurry()
        self._beaten_at = asked_at

    def registry_now_ms(self) -> float:
        """The registry's time, as of the last heartbeat."""
        return trio.current_time() * 1000 + self._registry_ahead_ms

    async def beat(self) -> None:
        """Beat until cancelled or `stop_beating`. Raises Fenced."""
        with self._beating:
            while True:
                await trio.sleep(HEARTBEAT_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - jitter is no secret
                await self._beat_on()

    async def _beat_on(self) -> None:
        """One heartbeat, answered or not; another, if this process did not run meanwhile: that answer is old."""
        asked_at = -math.inf
        while trio.current_time() - asked_at > QUIET_SECONDS:
            asked_at = trio.current_time()
            try:
                await self.beat_once()
            except StoreUnavailable as error:
                self._role.log.warning("heartbeat_missed", detail=error.detail)
        self._turned_at = trio.current_time()
        if self._absent:
            self._absent = False
            self._back.set()
            self._back = trio.Event()

    def stop_beating(self) -> None:
        """A goodbye follows: no heartbeat may come after it."""
        self._beating.cancel()

    # --- not running -------------------------------------------------------------------------------------------------

    @property
    def absent(self) -> bool:
        """This process did not run for so long (it was stopped, or its machine was) that another may have its id by
        now, and has not asked since. Until then it sends, writes and believes nothing."""
        self._absent = self._absent or trio.current_time() - self._turned_at > QUIET_SECONDS
        return self._absent

    async def present(self) -> None:
        """Returns at once unless `absent`; else when a heartbeat was answered, or Redis is not there to ask."""
        while self.absent:
            await self._back.wait()

    def turn(self) -> None:
        """The event loop turns: called about every second."""
        if not self.absent:
            self._turned_at = trio.current_time()

    # --- reconcile ---------------------------------------------------------------------------------------------------

    def hurry(self) -> None:
        """Hints may have been lost: look at everybody soon."""
        self._hurry.set()

    def look_at(self, user: UserId) -> None:
        """Something may be wrong with this user's leases: look at once."""
        self._to_look_at.add(user)
        self._somebody.set()

    async def look_when_told(self) -> None:
        """Until cancelled."""
        while True:
            await self._somebody.wait()
            self._somebody = trio.Event()
            users, self._to_look_at = list(self._to_look_at), set()
            for first in range(0, len(users), CONCURRENT_LOOKS):
                await self._look_at_all(users[first : first + CONCURRENT_LOOKS])

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
            await self._look_at_all(users[first : first + CONCURRENT_LOOKS])
            part = seconds * CONCURRENT_LOOKS / len(users)
            with trio.move_on_after(min(part, max(0.0, until - trio.current_time()))):
                await self._hurry.wait()
            if self._hurry.is_set():
                return
        with trio.move_on_at(until):
            await self._hurry.wait()

    async def _look_at_all(self, users: Sequence[UserId]) -> None:
        await self.present()
        async with trio.open_nursery() as nursery:
            for user in users:
                nursery.start_soon(self._look, user)

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
            await self.present()
            await self.flush()

    async def flush(self) -> None:
        """Write the acknowledgements that wait."""
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
                self.turn()
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
        if silence.cancelled_caught and not self.absent:
            connection.no_pong()
