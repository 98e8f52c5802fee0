"""Users and their devices.

Owns: the questions asked of scripts register, devices, device_remove, idle_devices, delete_user, bury_user, count and
sweep; the order of steps of a deletion. Promises: an account begins only when the deletion of the one before it, of the
same user, is finished. Must not know: credentials; session tokens (only their hashes).
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from pushctl.errors import LimitReached, NotFound, StoreUnavailable
from pushctl.ids import DeviceId, SessionHash, UserId, new_epoch, new_id
from pushctl.registry.listing import Listing
from pushctl.registry.script import Script
from pushctl.registry.store import TOMBSTONE_MS, Store

REGISTER = Script.load("register")
DEVICES = Script.load("devices")
DEVICE_REMOVE = Script.load("device_remove")
IDLE_DEVICES = Script.load("idle_devices")
DELETE_USER = Script.load("delete_user")
BURY_USER = Script.load("bury_user")
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
    displaced: list[str] = []
    """The connection that claimed last, and (connection, lease) of each that it displaced; empty if it did none."""
    withdrawn: list[str] = []
    """Connections whose claims were withdrawn before they ran, newest first."""

    @property
    def is_browser(self) -> bool:
        """It never logged in: it has no session and no cursor, and takes what is unread."""
        return not self.session

    @property
    def sessions(self) -> list[SessionHash]:
        """The one it has and those it had."""
        return [SessionHash(session) for session in (self.session, *self.older) if session]


@dataclass(frozen=True, slots=True)
class Registered:
    device: DeviceId
    older_sessions: list[SessionHash]
    new_user: bool


@dataclass(frozen=True, slots=True)
class Deleted:
    """What a deletion leaves to be done outside the user's slot; it stands in the tombstone until that is done."""

    identity: str
    sessions: list[SessionHash]

    @classmethod
    def parse(cls, identity: bytes, sessions: bytes) -> "Deleted":
        return cls(identity.decode(), [SessionHash(session) for session in sessions.decode().split()])


@dataclass(frozen=True, slots=True)
class Counts:
    devices: int
    push_urls: int
    unread: int
    connections: int
    next_expiry_ms: int | None
    browser_unseen_ms: int | None
    """For how long the user's device was not seen; None: it is no browser."""


_device_decoder = msgspec.msgpack.Decoder(Device)


class Users:
    def __init__(self, store: Store) -> None:
        self._store = store
        self.listing = Listing(store)

    async def register(
        self,
        user: UserId,
        *,
        device: DeviceId | None,
        name: str,
        session: SessionHash,
        identity: str,
        new_device: DeviceId | None = None,
    ) -> Registered:
        """A log-in: make the user if new, its device if new (as `new_device`), and note the device's session.

        Raises NotFound for a device that is not this user's, LimitReached for one too many.
        """
        limit = self._store.config.limits.devices_per_user
        epoch, new_device = new_epoch(), new_device or DeviceId(new_id())

        async def attempt() -> Any:
            return await self._store.run_uncertain(
                REGISTER,
                user,
                device=device or "",
                new_device=new_device,
                name=name,
                session=session,
                epoch=epoch,
                identity=identity,
                max_devices=limit,
            )

        # A user who is made in a registry that was just emptied would count push URLs from 0 again.
        await self._store.link.prove_ours(self._store.keys.user(user, "meta"))
        reply = await attempt()
        if reply[0] == b"unfinished":
            await self.finish_deletion(user, Deleted.parse(*reply[1:]))
            reply = await attempt()
        if reply[0] == b"unfinished":
            raise StoreUnavailable("the account is being deleted at this moment")
        if reply[0] == b"no_device":
            await self._store.link.prove_ours(self._store.keys.user(user, "meta"))
            raise NotFound("this user has no such device; log in with id null for a new one", field="$.device.id")
        if reply[0] == b"limit":
            raise LimitReached(f"a user may have {limit} devices; remove one first")
        new_user = reply[2] == 1
        if new_user:
            # Again: it may have been emptied in between.
            await self._store.link.prove_ours(self._store.keys.user(user, "meta"))
            await self.listing.agree(user, identity, there=True)
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

    async def remove_idle_devices(self, user: UserId, idle_ms: int) -> list[tuple[DeviceId, list[SessionHash]]]:
        """Remove devices that were not seen for so long, never a connected one, never the last. (device, sessions)"""
        reply = await self._store.run(IDLE_DEVICES, user, idle_ms=idle_ms)
        return [
            (DeviceId(device.decode()), [SessionHash(session.decode()) for session in sessions])
            for device, *sessions in reply[1:]
        ]

    async def delete(self, user: UserId) -> Deleted:
        """Replace all that is stored for the user by a tombstone. What is left to do is in the answer, and in it."""
        reply = await self._store.run(DELETE_USER, user)
        return Deleted(reply[1].decode(), [SessionHash(raw.decode()) for raw in reply[2:]])

    async def finish_deletion(self, user: UserId, deleted: Deleted) -> None:
        """The second half of `delete`: what is not in the user's slot. Whoever meets an unfinished one calls this."""
        for step in self.steps_after_delete(user, deleted):
            await step()

    def steps_after_delete(self, user: UserId, deleted: Deleted) -> Sequence[Callable[[], Awaitable[object]]]:
        """The steps of `finish_deletion`, in order.

        Each may be repeated, and come late, when the user is there again: sessions are named by what nobody else has,
        the tombstone is compared, the indexes are put right (listing.py). The index of users goes last: as long as it
        names the user, gc's count comes by and finishes what was cut off.
        """
        keys, link = self._store.keys, self._store.link
        return (
            lambda: link.ask_all([("DEL", keys.session(session)) for session in deleted.sessions]),
            lambda: self.listing.forget(user, deleted.identity),
            lambda: self._bury(user, deleted),
            lambda: self.listing.agree(user, deleted.identity, there=False),
        )

    async def _bury(self, user: UserId, deleted: Deleted) -> None:
        await self._store.run_on(
            BURY_USER,
            [self._store.keys.user(user, "gone")],
            sessions=" ".join(deleted.sessions),
            tombstone_ms=TOMBSTONE_MS,
        )

    async def unfinished_deletion(self, user: UserId) -> Deleted | None:
        """What the user's tombstone says is left to do; None when nothing is, or there is none."""
        identity, sessions = await self._store.link.ask(
            "HMGET", self._store.keys.user(user, "gone"), "identity", "sessions"
        )
        return None if identity is None else Deleted.parse(identity, sessions)

    async def count(self, user: UserId) -> Counts | None:
        """What the user has; None when there is no such user (any more)."""
        reply = await self._store.run_uncertain(COUNT, user)
        if reply[0] != b"done":
            return None
        devices, push_urls, unread, connections, next_ms, unseen_ms = reply[1:]
        return Counts(
            devices,
            push_urls,
            unread,
            connections,
            int(float(next_ms)) if next_ms else None,
            int(unseen_ms) if unseen_ms else None,
        )

    async def sweep(self, user: UserId, limit: int) -> tuple[int, int | None]:
        """Throw away at most `limit` expired messages. (how many went, when the next expires in ms)"""
        reply = await self._store.run_uncertain(SWEEP, user, limit=limit)
        if reply[0] != b"done":
            return 0, None
        return int(reply[1]), int(float(reply[2])) if reply[2] else None
