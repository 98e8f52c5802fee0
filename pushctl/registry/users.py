"""Users and their devices.

Owns: the questions asked of scripts register, devices, device_remove, idle_devices, end_session, end_sessions,
delete_user, bury_user, count and sweep; the order of steps of a deletion. Promises: an account begins only when the
deletion of the one before it, of the same user, is finished; a session that its device's record does not name has ended
(sessions.py), so each of these scripts ends sessions at one moment, for every role.
Must not know: credentials; session tokens (only their hashes).
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

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
END_SESSION = Script.load("end_session")
END_SESSIONS = Script.load("end_sessions")


SIGNED_OUT: Final = "-"


class NotLinked(Exception):
    """The account that the index named, or that an identity makes, is not (any more) this identity's."""


class Superseded(Exception):
    """The identity's provider has counted on since it vouched for this log-in."""


class Device(msgspec.Struct, frozen=True):
    """A device at rest: msgpack, written by the scripts. Times in ms; `acked`: sequence number of `epoch`; `rank`: its
    urgency filter."""

    name: str
    session: str
    """Empty: a browser, which never logged in; SIGNED_OUT."""
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
    identity: str = ""
    """The id of the identity that it logged in with."""

    @property
    def is_browser(self) -> bool:
        """It never logged in: it has no session and no cursor, and takes what is unread."""
        return not self.session

    @property
    def sessions(self) -> list[SessionHash]:
        """The one it has and those it had."""
        return [SessionHash(session) for session in (self.session, *self.older) if session not in ("", SIGNED_OUT)]


class Registered(msgspec.Struct, frozen=True):
    """`ended`: sessions of the identity that the provider's newer generation has ended."""

    device: DeviceId
    older_sessions: list[SessionHash]
    new_user: bool
    ended: list[SessionHash]


class Deleted(msgspec.Struct, frozen=True):
    """What a deletion leaves to be done outside the user's slot; it stands in the tombstone until that is done.
    `epoch`: of the account; `identities`: entries of the index."""

    epoch: str
    identities: list[str]
    sessions: list[SessionHash]

    @classmethod
    def of(cls, reply: Sequence[Any]) -> "Deleted":
        """From the answer of whatever left the tombstone."""
        return cls(reply[1].decode(), [entry.decode() for entry in reply[2]], _hashes(reply[3]))

    @classmethod
    def parse(cls, epoch: bytes, identities: bytes, sessions: bytes) -> "Deleted":
        return cls(epoch.decode(), identities.decode().split(), _hashes(sessions.split()))


def _hashes(raw: Sequence[bytes]) -> list[SessionHash]:
    return [SessionHash(session.decode()) for session in raw]


class Counts(msgspec.Struct, frozen=True):
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
        older_entries: Sequence[str] = (),
        maker: bool = True,
        new_device: DeviceId | None = None,
        provider: str = "",
        generation: int | None = None,
    ) -> Registered:
        """A log-in: make the user if new, its device if new (as `new_device`), and note the device's session.

        `identity`: the entry of the index that led here, or will, under its newest key; `older_entries`: under others;
        `maker`: the user's id is the one that the identity makes. Raises NotFound for a device that is not this user's,
        LimitReached for one too many, NotLinked, Superseded.
        """
        limit = self._store.config.limits.devices_per_user
        epoch, new_device, identity_id = new_epoch(), new_device or DeviceId(new_id()), new_id()

        async def attempt() -> Any:
            return await self._store.run_uncertain(
                REGISTER,
                user,
                device=device or "",
                new_device=new_device,
                name=name,
                session=session,
                epoch=epoch,
                rest=[identity, *older_entries],
                maker=int(maker),
                identity_id=identity_id,
                provider=provider,
                generation="" if generation is None else generation,
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
        if reply[0] == b"not_linked":
            raise NotLinked
        if reply[0] == b"superseded":
            raise Superseded
        if reply[0] == b"no_device":
            await self._store.link.prove_ours(self._store.keys.user(user, "meta"))
            raise NotFound("this user has no such device; log in with id null for a new one", field="$.device.id")
        if reply[0] == b"limit":
            raise LimitReached(f"a user may have {limit} devices; remove one first")
        new_user = reply[2] == 1
        if new_user:
            # Again: it may have been emptied in between.
            await self._store.link.prove_ours(self._store.keys.user(user, "meta"))
            await self.listing.agree(user, [identity, *older_entries], there=True)
        return Registered(DeviceId(reply[1].decode()), _hashes(reply[3]), new_user, _hashes(reply[4]))

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
        return _hashes(reply[1])

    async def end_session(self, user: UserId, device: DeviceId, session: SessionHash) -> None:
        """This session of a device has ended, if it had not."""
        await self._store.run(END_SESSION, user, device=device, session=session)

    async def end_sessions(self, user: UserId) -> list[SessionHash]:
        """Every session of the user's that was begun until now has ended: which."""
        return _hashes((await self._store.run(END_SESSIONS, user))[1:])

    async def remove_idle_devices(self, user: UserId, idle_ms: int) -> list[tuple[DeviceId, list[SessionHash]]]:
        """Remove devices that were not seen for so long, never a connected one, never the last. (device, sessions)"""
        reply = await self._store.run(IDLE_DEVICES, user, idle_ms=idle_ms)
        return [(DeviceId(device.decode()), _hashes(sessions)) for device, *sessions in reply[1:]]

    async def delete(self, user: UserId) -> Deleted:
        """Replace all that is stored for the user by a tombstone. What is left to do is in the answer, and in it."""
        reply = await self._store.run(DELETE_USER, user)
        return Deleted.of(reply)

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
            lambda: self.listing.forget(user, deleted.identities),
            lambda: self._bury(user, deleted),
            lambda: self.listing.agree(user, deleted.identities, there=False),
        )

    async def _bury(self, user: UserId, deleted: Deleted) -> None:
        await self._store.run_on(
            BURY_USER,
            [self._store.keys.user(user, "gone")],
            epoch=deleted.epoch,
            tombstone_ms=TOMBSTONE_MS,
        )

    async def unfinished_deletion(self, user: UserId) -> Deleted | None:
        """What the user's tombstone says is left to do; None when nothing is, or there is none."""
        left = await self._store.link.ask(
            "HMGET", self._store.keys.user(user, "gone"), "epoch", "identities", "sessions"
        )
        return None if left[0] is None else Deleted.parse(*left)

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
