"""What a socket server does beside its connections: reconcile, acknowledgements, pings.

Owns: the loops and their pace. Promises: every user's log, leases and sessions are looked at every `reconcile_seconds`,
spread over that time, in another order each time (so no later than after two of them), and all of them within
SPREAD_SECONDS when hints may have been lost; one task sees to everybody's pings.
Must not know: how a connection sends.
"""

import random
from collections.abc import Awaitable, Callable, Container, Iterable, Sequence
from typing import TYPE_CHECKING

import trio

from pushctl.errors import StoreUnavailable
from pushctl.ids import ConnectionId, Cursor, DeviceId, SessionHash, UserId
from pushctl.liveness import Loop
from pushctl.registry.browsers import NO_SESSION
from pushctl.registry.presence import Reconciled

if TYPE_CHECKING:
    from roles.socket.held import Held
    from roles.socket.serve import SocketRole

SPREAD_SECONDS = 10.0
ACKNOWLEDGE_SECONDS = 0.5
TICK_SECONDS = 1.0
DOUBT_SECONDS = 5.0
"""Another connection holds a device's lease, and no word of it came: perhaps its claim was given up and is about to be
withdrawn. It is looked at again after so long."""

ACKNOWLEDGED_TOGETHER = 32
"""Users written in one round trip: a millisecond of Redis, in which no message is taken."""

CHECKED_TOGETHER = 200
"""Users whose connections are checked in a row: less than a millisecond."""

CONCURRENT_LOOKS = 64
"""Users looked at together: enough to fill a pipeline, few enough to leave room for hellos."""


class Leases:
    def __init__(self, role: "SocketRole") -> None:
        self._role = role
        self._acknowledged: dict[tuple[UserId, DeviceId], Cursor] = {}
        self._hurry = trio.Event()
        self._missed = False
        """Somebody could not be looked at in this round."""
        self._owed: set[UserId] = set()
        """Whom rounds that were cut short did not get to: first in the next, however often that happens."""
        self._to_look_at: set[UserId] = set()
        self._somebody = trio.Event()
        self._doubts: dict[ConnectionId, tuple[UserId, float]] = {}
        """Connections that may have been displaced, and when to look again."""
        self._reconciling = Loop("reconcile")
        self._writing = Loop("the writing of acknowledgements")
        self._pinging = Loop("the pinger")
        self.loops = (self._reconciling, self._writing, self._pinging)

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
                with self._reconciling.idle():
                    await self._role.registry.link.wait_connected()
                seconds = min(SPREAD_SECONDS, seconds)
                self._hurry = trio.Event()
                self._missed = False
            await self._round(seconds)

    async def _round(self, seconds: float) -> None:
        """All users once, spread over `seconds`; cut short when there is a reason to hurry."""
        users = self._role.hub.users
        random.shuffle(users)
        self._owed = self._owed or set(users)
        users.sort(key=lambda user: user not in self._owed)
        until = trio.current_time() + seconds
        for first in range(0, len(users), CONCURRENT_LOOKS):
            self._reconciling.turn()
            await self._look_at_all(users[first : first + CONCURRENT_LOOKS])
            self._owed.difference_update(users[first : first + CONCURRENT_LOOKS])
            part = seconds * CONCURRENT_LOOKS / len(users)
            with self._reconciling.idle(), trio.move_on_after(min(part, max(0.0, until - trio.current_time()))):
                await self._hurry.wait()
            if self._hurry.is_set():
                return
        with self._reconciling.idle(), trio.move_on_at(until):
            await self._hurry.wait()

    async def _look_at_all(self, users: Sequence[UserId]) -> None:
        await self._role.present()
        await self._by_partition(users, self._look)

    async def _by_partition(self, users: Iterable[UserId], work: Callable[[list[UserId]], Awaitable[None]]) -> None:
        """Side by side: a master that is away holds up its own users."""
        partition_of = self._role.registry.jobs.partition_of
        by_partition: dict[int, list[UserId]] = {}
        for user in users:
            by_partition.setdefault(partition_of(user), []).append(user)
        async with trio.open_nursery() as nursery:
            for some in by_partition.values():
                nursery.start_soon(work, some)

    async def _each_alone(self, users: Sequence[UserId], work: Callable[[list[UserId]], Awaitable[None]]) -> None:
        """What could not be done for some of one partition together: one whose keys are damaged is in nobody's way."""
        async with trio.open_nursery() as nursery:
            for user in users:
                nursery.start_soon(work, [user])

    async def _look(self, users: list[UserId]) -> None:
        role = self._role
        stored = {user: [connection for connection in role.hub.of(user) if connection.is_stored] for user in users}
        stored = {user: connections for user, connections in stored.items() if connections}
        if not stored:
            return
        try:
            found = await role.registry.presence.reconcile(
                {
                    user: [(each.id, each.device, each.session or NO_SESSION) for each in stored[user]]
                    for user in stored
                },
                server=role.id,
                generation=role.generation,
            )
            standing = await self._standing([connection for user in found for connection in stored[user]])
        except StoreUnavailable:
            if len(users) == 1:
                self._missed = True  # the next round is a short one and looks again; this one goes on for the others
            else:
                await self._each_alone(users, self._look)
            return
        for user, connections in stored.items():
            self._believe(connections, found.get(user), standing)

    def _believe(
        self, connections: Sequence["Held"], found: Reconciled | None, standing: Container[SessionHash | None]
    ) -> None:
        """What was found of a user (None: the account is gone), and which sessions stand."""
        if found is None:
            for connection in connections:
                connection.signed_out()
            return
        for connection, lease in zip(connections, found.leases, strict=True):
            if lease != "displaced":
                self._doubts.pop(connection.id, None)
            if lease == "displaced":
                self._doubt(connection)
            elif lease in ("no_device", "ended") or connection.session not in standing:
                connection.signed_out()
            elif not connection.is_at(found.last):
                connection.fall_behind()

    async def _standing(self, connections: Sequence["Held"]) -> set[SessionHash | None]:
        """And None: who never logged in has nothing that could end."""
        sessions = [connection.session for connection in connections if connection.session is not None]
        stand = await self._role.accounts.still_stand(sessions)
        return {None, *(session for session, stands in zip(sessions, stand, strict=True) if stands)}

    def _doubt(self, connection: "Held") -> None:
        """Another one holds its device; believed at the second look."""
        now = trio.current_time()
        _, again_at = self._doubts.setdefault(connection.id, (connection.user, now + DOUBT_SECONDS))
        if again_at <= now:
            del self._doubts[connection.id]
            connection.displaced()

    def _look_at_doubtful(self) -> None:
        """Those whose time has come."""
        now = trio.current_time()
        here = {connection.id for connection in self._role.hub} if self._doubts else set()
        self._doubts = {id_: doubt for id_, doubt in self._doubts.items() if id_ in here}
        for user, again_at in self._doubts.values():
            if again_at <= now:
                self.look_at(user)

    # --- acknowledgements --------------------------------------------------------------------------------------------

    @property
    def unwritten(self) -> int:
        """Acknowledgements that wait."""
        return len(self._acknowledged)

    def acknowledge(self, connection: "Held", cursor: Cursor) -> None:
        """Remember how far a device has come; the newest per device, written in batches."""
        self._acknowledged[connection.user, connection.device] = cursor

    async def write_acknowledgements(self) -> None:
        """Until cancelled. What could not be written is kept unless something newer came."""
        while True:
            self._writing.turn()
            await trio.sleep(ACKNOWLEDGE_SECONDS)
            await self._role.present()
            await self.flush()

    async def flush(self) -> None:
        """Write the acknowledgements that wait."""
        if not self._acknowledged:
            return
        batch, self._acknowledged = self._acknowledged, {}
        by_user: dict[UserId, list[tuple[DeviceId, Cursor]]] = {}
        for (user, device), cursor in batch.items():
            by_user.setdefault(user, []).append((device, cursor))

        async def write(users: list[UserId]) -> None:
            for first in range(0, len(users), ACKNOWLEDGED_TOGETHER):
                await write_some(users[first : first + ACKNOWLEDGED_TOGETHER])

        async def write_some(users: list[UserId]) -> None:
            try:
                await self._role.registry.messages.acknowledge_all({user: by_user[user] for user in users})
            except StoreUnavailable:
                if len(users) > 1:
                    await self._each_alone(users, write_some)
                    return
                (user,) = users
                for device, cursor in by_user[user]:
                    self._acknowledged.setdefault((user, device), cursor)

        await self._by_partition(by_user, write)

    # --- pings and sessions ------------------------------------------------------------------------------------------

    async def ping(self) -> None:
        """One pinger for all: walks the connections every second, some at a time so that no message waits for all of
        them, until cancelled."""
        while True:
            began = trio.current_time()
            self._look_at_doubtful()
            users = self._role.hub.users
            for first in range(0, len(users) or 1, CHECKED_TOGETHER):
                self._pinging.turn()
                self._role.heart.turn()
                self._role.hub.check(users[first : first + CHECKED_TOGETHER], trio.current_time())
                await trio.sleep_until(began + TICK_SECONDS * min(1.0, (first + CHECKED_TOGETHER) / (len(users) or 1)))
