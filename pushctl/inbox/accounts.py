"""Who is who: log-ins, sessions, devices, deletion. Use cases that api, boxoffice and socket servers share.

Owns: the order of steps of each, so that one that is cut off half-way leaves nothing open that should be closed.
Promises: a session token is seen here and nowhere below: Redis holds its hash.
Must not know: how a credential was checked, HTTP, sockets.
"""

from contextlib import suppress
from dataclasses import dataclass

from pushctl.clock import Clock, rfc3339, system_clock
from pushctl.config.model import Config
from pushctl.errors import LimitReached, NotFound, StoreUnavailable, Unauthenticated
from pushctl.identity.keys import Keys
from pushctl.identity.refusal import LoginRefused
from pushctl.identity.sealing import hash_session_token, new_session_token
from pushctl.identity.verifier import Login
from pushctl.ids import DeviceId, SessionHash, UserId, new_id
from pushctl.protocol import jobs
from pushctl.registry import Registry
from pushctl.registry.servers import ServerRow

RENEWAL_MS = 60_000
"""A device that logs in again keeps its older session for this long, unless its connection takes the new one."""


@dataclass(frozen=True, slots=True)
class Session:
    user: UserId
    device: DeviceId
    hash: SessionHash
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class SignedIn:
    token: str
    user: UserId
    device_id: DeviceId
    device_name: str
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class DeviceView:
    id: DeviceId
    name: str
    created_at: str
    last_seen_at: str
    connected: bool
    current: bool


class Accounts:
    def __init__(self, registry: Registry, config: Config, clock: Clock = system_clock) -> None:
        self._registry = registry
        self._lasts_ms = config.identity.session_seconds * 1000
        self._clock = clock

    async def sign_in(self, login: Login, keys: Keys, *, device_name: str, device_id: str | None) -> SignedIn:
        """Open a session for a checked credential, on a new device or one of the user's.

        Raises LoginRefused (`replayed_assertion`) at the credential's second use, NotFound for a device that is not
        this user's, LimitReached.
        """
        if not await self._registry.sessions.first_use(login.replay_digest, login.keep_replay_ms):
            raise LoginRefused("replayed_assertion")
        entries = keys.index_entries(login.principal)
        identity = entries[0]
        user = await self._registry.sessions.user_of_any(entries, keys.user_id(login.principal))
        token = new_session_token()
        session = hash_session_token(token)
        device = DeviceId(device_id if device_id is not None else new_id())
        expires_at_ms = self._clock() + self._lasts_ms
        # The session begins before the user's record notes it. So whoever removes the device or the account, and ends
        # the sessions noted there, ends them all; begun afterwards, one could outlive its account and open the next
        # one of the same user. Cut off in between, it belongs to a token that nobody was given.
        await self._registry.sessions.begin(session, user, device, expires_at_ms=expires_at_ms, lasts_ms=self._lasts_ms)
        try:
            registered = await self._registry.users.register(
                user,
                device=device if device_id is not None else None,
                new_device=device,
                name=device_name,
                session=session,
                identity=identity,
            )
        except (NotFound, LimitReached):
            await self._registry.sessions.end(session)
            raise
        await self._registry.sessions.end(*registered.older_sessions[1:])
        for last in registered.older_sessions[:1]:
            await self._registry.sessions.end_in(last, RENEWAL_MS)
        for n, older in enumerate(registered.older_sessions):
            self._tell(user, registered.device, older, RENEWAL_MS if n == 0 else 0)
        return SignedIn(token, user, registered.device, device_name, expires_at_ms)

    async def session(self, authorization: str | None) -> Session:
        """The session of an `Authorization: Bearer` header. Raises Unauthenticated."""
        scheme, _, token = (authorization or "").strip().partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthenticated(
                "send `Authorization: Bearer <session token>`; POST /v1/login gives one", field="Authorization"
            )
        return await self.session_of_token(token.strip(), field="Authorization")

    async def session_of_token(self, token: str, *, field: str = "$.token") -> Session:
        """The session of a token. Raises Unauthenticated when there is none (any more)."""
        session = hash_session_token(token)
        record = await self._registry.sessions.find(session)
        if record is None:
            raise Unauthenticated("this session is unknown, expired or signed out; log in again", field=field)
        return Session(UserId(record.user), DeviceId(record.device), session, record.expires_at_ms)

    async def renewed(self, old: SessionHash, session: Session) -> None:
        """A connection has taken a renewed session of its device: the older one ends now."""
        if old != session.hash:
            await self._registry.sessions.end(old)

    async def sign_out(self, session: Session) -> None:
        await self._registry.sessions.end(session.hash)
        self._tell(session.user, session.device, session.hash)

    async def sign_out_everywhere(self, user: UserId) -> None:
        devices, _ = await self._registry.users.devices(user)
        await self._registry.sessions.end(*(session for device in devices.values() for session in device.sessions))
        self._tell(user, None, None)

    async def devices(self, session: Session) -> list[DeviceView]:
        """The user's devices, oldest first."""
        devices, presence = await self._registry.users.devices(session.user)
        connected = await self._connected(presence)
        return [
            DeviceView(
                id_,
                device.name,
                rfc3339(device.created),
                rfc3339(device.seen),
                id_ in connected,
                id_ == session.device,
            )
            for id_, device in sorted(devices.items(), key=lambda item: item[1].created)
        ]

    async def _connected(self, presence: list[str]) -> set[str]:
        """The devices of leases whose servers may hold them still. A lease stays behind when its server dies."""
        rows: dict[str, ServerRow] = {}
        if presence:
            with suppress(StoreUnavailable):  # the servers' master, not the user's: then the leases are all there is
                rows = {row.id: row for row in await self._registry.servers.picture("")}
        leases = [value.split(" ") for value in presence]
        return {
            device
            for server, generation, device in leases
            if server not in rows or rows[server].may_hold(int(generation))
        }

    async def remove_device(self, user: UserId, device: str) -> None:
        """Remove a device; its session ends. Raises NotFound."""
        await self._registry.sessions.end(*await self._registry.users.remove_device(user, DeviceId(device)))
        self._tell(user, DeviceId(device), None)

    async def remove_idle_devices(self, user: UserId, idle_ms: int) -> int:
        """Remove devices that were not seen for so long, never the last; their sessions end. How many."""
        removed = await self._registry.users.remove_idle_devices(user, idle_ms)
        for device, sessions in removed:
            await self._registry.sessions.end(*sessions)
            self._tell(user, device, None)
        return len(removed)

    async def delete_account(self, user: UserId) -> None:
        """Remove all that is stored for the user. The first step alone makes it true and is what is confirmed; the rest
        is tidying, which gc finishes if it is cut off here."""
        deleted = await self._registry.users.delete(user)
        self._tell(user, None, None)
        with suppress(StoreUnavailable):
            await self._registry.users.finish_deletion(user, deleted)

    async def forget_browser(self, user: UserId, idle_ms: int) -> bool:
        """A browser that was not seen for so long goes like a deleted account; nobody else, and none that is connected.
        Whether it went."""
        deleted = await self._registry.browsers.forget_idle(user, idle_ms)
        if deleted is not None:
            with suppress(StoreUnavailable):
                await self._registry.users.finish_deletion(user, deleted)
        return deleted is not None

    def _tell(self, user: UserId, device: DeviceId | None, session: SessionHash | None, in_ms: int = 0) -> None:
        self._registry.jobs.put(user, jobs.encode(jobs.SessionEnds(user, device, session, in_ms)))
