"""Presence: which socket servers hold a user's devices. A lease per connection, in the user's slot.

Owns: scripts claim, withdraw, reconcile, prune. Promises: a late goodbye removes only its own connection's lease; a
withdrawn claim leaves none, whichever of the two runs first; nothing needs a sweep by server: readers skip and prune
what belongs to a dead generation. Must not know: connections themselves.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from pushctl.errors import StoreUnavailable, Unauthenticated
from pushctl.ids import ConnectionId, Cursor, DeviceId, Position, ServerId, SessionHash, UserId
from pushctl.registry.script import Script
from pushctl.registry.store import Store

CLAIM = Script.load("claim")
WITHDRAW = Script.load("withdraw")
RECONCILE = Script.load("reconcile")
PRUNE = Script.load("prune")

LEASE_MS = 30 * 60_000


class Holder(msgspec.Struct, frozen=True):
    """A lease: `value` is what stands in Redis, for compare-and-delete."""

    connection: ConnectionId
    server: ServerId
    generation: int
    device: DeviceId
    value: str

    @classmethod
    def parse(cls, connection: bytes, value: bytes) -> "Holder":
        server, generation, device = value.decode().split(" ")
        return cls(
            ConnectionId(connection.decode()), ServerId(server), int(generation), DeviceId(device), value.decode()
        )


class DeviceRemoved(Unauthenticated):
    """The device was removed while its session was on the way."""

    close_code = 4504


class SessionEnded(Unauthenticated):
    """The session ended while its connection was on the way, or its row has survived its end."""


LeaseState = Literal["kept", "claimed", "displaced", "no_device", "ended"]


class Reconciled(msgspec.Struct, frozen=True):
    last: Cursor
    leases: list[LeaseState]


class Presence:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def claim(
        self,
        user: UserId,
        device: DeviceId,
        connection: ConnectionId,
        *,
        session: SessionHash,
        server: ServerId,
        generation: int,
        rank: int,
    ) -> tuple[bool, list[Holder]]:
        """Lease for a new connection. (the filter was lowered: begin with a snapshot; connections it displaced)

        Raises DeviceRemoved, SessionEnded: what ends later, ends where the lease says.
        """
        reply = await self._store.run(
            CLAIM,
            user,
            connection=connection,
            server=server,
            generation=generation,
            device=device,
            session=session,
            rank=rank,
            lease_ms=LEASE_MS,
        )
        if reply[0] == b"no_device":
            raise DeviceRemoved("this device was removed; log in again")
        if reply[0] == b"ended":
            raise SessionEnded("this session has ended; log in again", field="$.token")
        if reply[0] == b"withdrawn":
            raise StoreUnavailable("this claim was withdrawn before it ran")
        return reply[1] == 1, _holders(reply[2])

    async def withdraw(self, user: UserId, device: DeviceId, connection: ConnectionId) -> list[Holder]:
        """Take back a claim whose answer did not come. Connections that it displaced, and that nobody knows of but the
        caller from now on: they are to look whether they may claim again."""
        reply = await self._store.run(WITHDRAW, user, connection=connection, device=device)
        return _holders(reply[1])

    async def release(self, leases: Sequence[tuple[UserId, ConnectionId]]) -> None:
        """Give leases back. One round trip; may be repeated."""
        await self._store.link.ask_all(
            [("HDEL", self._store.keys.user(user, "presence"), connection) for user, connection in leases]
        )

    async def reconcile(
        self,
        connections: Mapping[UserId, Sequence[tuple[ConnectionId, DeviceId, SessionHash]]],
        *,
        server: ServerId,
        generation: int,
    ) -> dict[UserId, Reconciled]:
        """Look after the leases on one server of users of one partition, and say where their logs end. Whose account is
        gone is left out. One round trip; may be repeated. Raises StoreUnavailable if it is not known of all of them."""
        rest_of = {user: [part for each in theirs for part in each] for user, theirs in connections.items()}
        replies = await self._store.run_for_all(
            RECONCILE, rest_of, server=server, generation=generation, lease_ms=LEASE_MS
        )
        return {user: _reconciled(reply) for user, reply in replies.items()}

    async def holders_of(self, users: Sequence[UserId]) -> list[list[Holder]]:
        """All leases of each user, dead servers' included. One round trip."""
        replies = await self._store.link.ask_all(
            [("HGETALL", self._store.keys.user(user, "presence")) for user in users]
        )
        return [_holders(reply) for reply in replies]

    def prune(self, user: UserId, stale: Sequence[Holder]) -> None:
        """Remove leases that still are what was seen. A hint."""
        keys = [self._store.keys.user(user, "presence")]
        rest = [part for holder in stale for part in (holder.connection, holder.value)]
        self._store.link.post_script(PRUNE, keys, rest)


def _reconciled(reply: Sequence[Any]) -> Reconciled:
    last = Cursor(reply[1].decode(), Position(int(reply[2]), int(reply[3])))
    return Reconciled(last, [state.decode() for state in reply[4]])


def _holders(flat: Sequence[bytes]) -> list[Holder]:
    return [Holder.parse(connection, value) for connection, value in zip(flat[::2], flat[1::2], strict=True)]
