"""Users and their devices.

Owns: the questions asked of scripts register, devices, device_remove, delete_user, count and sweep.
Must not know: credentials; session tokens (only their hashes).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from pushctl.errors import LimitReached, NotFound
from pushctl.ids import DeviceId, SessionHash, UserId, new_epoch, new_id
from pushctl.registry.keys import shard_of
from pushctl.registry.script import Script
from pushctl.registry.store import TOMBSTONE_MS, Store

REGISTER = Script.load("register")
DEVICES = Script.load("devices")
DEVICE_REMOVE = Script.load("device_remove")
DELETE_USER = Script.load("delete_user")
COUNT = Script.load("count")
SWEEP = Script.load("sweep")


class Device(msgspec.Struct, frozen=True):
    """A device at rest: msgpack, written by the scripts. Times in ms; `acked`: sequence number of `epoch`; `rank`: its
    urgency filter."""

    name: str
    session: str
    older: list[str] | dict[str, str]
    """Sessions it had, newest first, that may not have ended. (An empty Lua table is packed as a map.)"""
    created: int
    seen: int
    epoch: str
    acked: int
    acked_at: int
    rank: int
    resync: bool = False
    """It lowered its filter and has not acknowledged the snapshot that follows."""

    @property
    def sessions(self) -> list[SessionHash]:
        """The one it has and those it had."""
        return [SessionHash(session) for session in (self.session, *self.older)]


@dataclass(frozen=True, slots=True)
class Registered:
    device: DeviceId
    older_sessions: list[SessionHash]
    new_user: bool


@dataclass(frozen=True, slots=True)
class Deleted:
    identity: str
    sessions: list[SessionHash]


@dataclass(frozen=True, slots=True)
class Counts:
    devices: int
    push_urls: int
    unread: int
    connections: int
    next_expiry_ms: int | None


_device_decoder = msgspec.msgpack.Decoder(Device)


class Users:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def register(
        self, user: UserId, *, device: DeviceId | None, name: str, session: SessionHash, identity: str
    ) -> Registered:
        """A log-in: make the user if new, its device if new, and note the device's session.

        Raises NotFound for a device that is not this user's, LimitReached for one too many.
        """
        limit = self._store.config.limits.devices_per_user
        # A user who is made in a registry that was just emptied would count push URLs from 0 again.
        await self._store.link.prove_ours(self._store.keys.user(user, "meta"))
        reply = await self._store.run_uncertain(
            REGISTER,
            user,
            device=device or "",
            new_device=new_id(),
            name=name,
            session=session,
            epoch=new_epoch(),
            identity=identity,
            max_devices=limit,
        )
        if reply[0] == b"no_device":
            await self._store.link.prove_ours(self._store.keys.user(user, "meta"))
            raise NotFound("this user has no such device; log in with id null for a new one", field="$.device.id")
        if reply[0] == b"limit":
            raise LimitReached(f"a user may have {limit} devices; remove one first")
        new_user = reply[2] == 1
        if new_user:
            # Again: it may have been emptied in between.
            await self._store.link.prove_ours(self._store.keys.user(user, "meta"))
            await self._store.link.ask("SADD", self._store.keys.shard(shard_of(user), "users"), user)
        older = [SessionHash(raw.decode()) for raw in reply[3]]
        return Registered(DeviceId(reply[1].decode()), older, new_user)

    async def devices(self, user: UserId) -> tuple[dict[DeviceId, Device], list[str]]:
        """(devices, presence values '<server> <generation> <device>')"""
        reply = await self._store.run(DEVICES, user)
        flat = iter(reply[1])
        devices = {DeviceId(key.decode()): _device_decoder.decode(raw) for key, raw in zip(flat, flat, strict=True)}
        return devices, [value.decode() for value in reply[2]]

    async def remove_device(self, user: UserId, device: DeviceId) -> list[SessionHash]:
        """Remove a device and say which sessions it had. Raises NotFound."""
        reply = await self._store.run(DEVICE_REMOVE, user, device=device)
        if reply[0] == b"none":
            raise NotFound("this user has no such device")
        return [SessionHash(raw.decode()) for raw in reply[1:]]

    async def delete(self, user: UserId) -> Deleted:
        """Replace all that is stored for the user by a tombstone of a day. What is left to remove is in the answer."""
        reply = await self._store.run(DELETE_USER, user, tombstone_ms=TOMBSTONE_MS)
        return Deleted(reply[1].decode(), [SessionHash(raw.decode()) for raw in reply[2:]])

    async def finish_deletion(self, user: UserId, deleted: Deleted) -> None:
        """The second half of `delete`: what is not in the user's slot."""
        keys = self._store.keys
        leftovers = [keys.session(session) for session in deleted.sessions] + [keys.identity(deleted.identity)]
        await self._store.link.ask_all(
            [*(("DEL", key) for key in leftovers), ("SREM", keys.shard(shard_of(user), "users"), user)]
        )

    async def count(self, user: UserId) -> Counts | None:
        """What the user has; None when there is no such user (any more)."""
        reply = await self._store.run_uncertain(COUNT, user)
        if reply[0] != b"done":
            return None
        devices, push_urls, unread, connections, next_ms = reply[1:]
        return Counts(devices, push_urls, unread, connections, int(float(next_ms)) if next_ms else None)

    async def sweep(self, user: UserId, limit: int) -> tuple[int, int | None]:
        """Throw away at most `limit` expired messages. (how many went, when the next expires in ms)"""
        reply = await self._store.run_uncertain(SWEEP, user, limit=limit)
        if reply[0] != b"done":
            return 0, None
        return int(reply[1]), int(float(reply[2])) if reply[2] else None

    async def some(self, shard: int, cursor: int, count: int) -> tuple[int, Iterable[UserId]]:
        """A step through all users of one shard; (next cursor, 0 at the end; users)."""
        reply = await self._store.link.ask("SSCAN", self._store.keys.shard(shard, "users"), cursor, "COUNT", count)
        return int(reply[0]), [UserId(raw.decode()) for raw in reply[1]]
