"""Who is who: log-ins, identities, sessions, devices, deletion. Use cases that api, boxoffice and socket servers share.

Owns: the order of steps of each, so that one that is cut off half-way leaves nothing open that should be closed; how
long a session lasts. Promises: a session token is seen here and nowhere below: Redis holds its hash.
Must not know: how a credential was checked, HTTP, sockets.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import msgspec

from pushctl.clock import Clock, rfc3339, system_clock
from pushctl.config.model import Config
from pushctl.errors import LimitReached, NotFound, StoreUnavailable, Unauthenticated
from pushctl.identity.keys import Keys
from pushctl.identity.providers import providers_of
from pushctl.identity.refusal import LoginRefused
from pushctl.identity.sealing import hash_session_token, new_session_token
from pushctl.identity.verifier import Login
from pushctl.ids import DeviceId, SessionHash, UserId, new_id
from pushctl.protocol import jobs
from pushctl.registry import Registry
from pushctl.registry.records import IdentityRecord
from pushctl.registry.servers import ServerRow
from pushctl.registry.sessions import Found
from pushctl.registry.users import NotLinked, Registered, Superseded

RENEWAL_MS: Final = 60_000
"""A device that logs in again keeps its older session for this long, unless its connection takes the new one."""

PUT_OFF_MS: Final = 3_600_000
"""A session's end is put off when it was used, at most so often; at most ten times in its time since last use."""

USER_ID_BYTES: Final = 16

LARGEST_GENERATION: Final = 2**53 - 1
"""Compared in Lua, whose numbers are doubles."""

ATTEMPTS: Final = 4
"""At finding the account of an identity that is linked and unlinked at this moment."""


class Session(msgspec.Struct, frozen=True):
    """`expires_at_ms`: however much it is used."""

    user: UserId
    device: DeviceId
    hash: SessionHash
    expires_at_ms: int


class SignedIn(msgspec.Struct, frozen=True):
    """`expires_at_ms`: the session lasts until then, if it is never used; each use puts that off."""

    token: str
    user: UserId
    device_id: DeviceId
    device_name: str
    expires_at_ms: int


class DeviceView(msgspec.Struct, frozen=True):
    id: DeviceId
    name: str
    created_at: str
    last_seen_at: str
    connected: bool
    current: bool


class IdentityView(msgspec.Struct, frozen=True):
    """`current`: this session's device logged in with it. Who it is at its provider is stored nowhere."""

    id: str
    provider: str
    linked_at: str
    last_used_at: str
    current: bool

    @classmethod
    def of(cls, record: IdentityRecord, current: str) -> "IdentityView":
        return cls(
            record.id, record.provider, rfc3339(record.linked), rfc3339(record.used), current=record.id == current
        )


class Accounts:
    def __init__(self, registry: Registry, config: Config, clock: Clock = system_clock) -> None:
        self._registry = registry
        self._ttl_ms = config.identity.session_ttl_seconds * 1000
        self._max_age_ms = config.identity.session_max_age_seconds * 1000
        self._providers = providers_of(config)
        self._clock = clock

    # --- log-ins and identities --------------------------------------------------------------------------------------

    async def sign_in(self, login: Login, keys: Keys, *, device_name: str, device_id: str | None) -> SignedIn:
        """Open a session for a checked credential, on a new device or one of the user's.

        Raises LoginRefused (`replayed_assertion` at the credential's second use, `token_superseded` when its provider
        has counted on since), NotFound for a device that is not this user's, LimitReached.
        """
        await self._use_up(login)
        token = new_session_token()
        session = hash_session_token(token)
        try:
            user, registered = await self._open(login, keys, session, device_name, device_id)
        except (NotFound, LimitReached, LoginRefused):
            await self._registry.sessions.end(session)
            raise
        await self._end(user, [*registered.ended, *registered.older_sessions[1:]])
        for last in registered.older_sessions[:1]:
            await self._registry.sessions.end_in(last, RENEWAL_MS)
            self._tell(user, [last], RENEWAL_MS)
        expires_at_ms = self._clock() + min(self._ttl_ms, self._max_age_ms)
        return SignedIn(token, user, registered.device, device_name, expires_at_ms)

    async def _use_up(self, login: Login) -> None:
        if login.generation is not None and not 0 <= login.generation <= LARGEST_GENERATION:
            raise LoginRefused("invalid_claim", "a generation that is no count")
        if not await self._registry.sessions.first_use(login.replay_digest, login.keep_replay_ms):
            raise LoginRefused("replayed_assertion")

    async def _open(
        self, login: Login, keys: Keys, session: SessionHash, device_name: str, device_id: str | None
    ) -> tuple[UserId, Registered]:
        """The account of a log-in, and what became of its device there."""
        entries, offered = keys.index_entries(login.principal), keys.user_id(login.principal)
        device = DeviceId(device_id if device_id is not None else new_id())
        for _ in range(ATTEMPTS):
            user = await self._registry.sessions.user_of_any(entries, offered)
            # The session begins before the user's record names it, which is the moment from which it stands. Cut off in
            # between, it belongs to a token that nobody was given.
            await self._registry.sessions.begin(
                session,
                user,
                device,
                provider=login.provider,
                expires_at_ms=self._clock() + self._max_age_ms,
                lasts_ms=min(self._ttl_ms, self._max_age_ms),
            )
            try:
                return user, await self._registry.users.register(
                    user,
                    device=device if device_id is not None else None,
                    new_device=device,
                    name=device_name,
                    session=session,
                    identity=entries[0],
                    older_entries=entries[1:],
                    maker=user in keys.user_ids(login.principal),
                    provider=login.provider,
                    generation=login.generation,
                )
            except Superseded:
                raise LoginRefused("token_superseded") from None
            except NotLinked:
                await self._registry.users.listing.agree_on(user, entries)
                if user == offered:
                    # The account that it made is another identity's by now: it may never lead there again.
                    offered = UserId(new_id(USER_ID_BYTES))
        raise StoreUnavailable("this identity is being linked or unlinked at this moment")

    async def link(self, session: Session, login: Login, keys: Keys) -> tuple[IdentityView, bool]:
        """Let another identity log in to the account of this session: the identity, and whether it is new here.

        Raises LoginRefused as `sign_in`, IdentityTaken, LimitReached, Unauthenticated.
        """
        await self._use_up(login)
        try:
            linked = await self._registry.identities.link(
                session.user,
                keys.index_entries(login.principal),
                device=session.device,
                session=session.hash,
                provider=login.provider,
                generation=login.generation,
            )
        except Superseded:
            raise LoginRefused("token_superseded") from None
        await self._end(session.user, linked.ended)
        _, current = await self._registry.identities.all(session.user, session.device)
        return IdentityView.of(linked.identity, current), linked.new

    async def identities(self, session: Session) -> list[IdentityView]:
        """Those that may log in to the account, the oldest first."""
        found, current = await self._registry.identities.all(session.user, session.device)
        return [IdentityView.of(each, current) for each in sorted(found, key=lambda each: each.linked)]

    async def unlink(self, user: UserId, identity: str) -> None:
        """It may not log in any more, and the sessions it opened end. Raises NotFound, LastIdentity."""
        await self._end(user, await self._registry.identities.unlink(user, identity))

    # --- sessions ----------------------------------------------------------------------------------------------------

    async def session(self, authorization: str | None) -> Session:
        """The session of an `Authorization: Bearer` header. Raises Unauthenticated."""
        return await self.session_of_token(_bearer(authorization), field="Authorization")

    async def visitor(self, authorization: str | None) -> Session:
        """As `session_to_claim`, by the header: for a Box Office, which may read nothing of any user."""
        return await self.session_to_claim(_bearer(authorization), field="Authorization")

    async def session_of_token(self, token: str, *, field: str = "$.token") -> Session:
        """The session of a token. Raises Unauthenticated when there is none (any more)."""
        session = hash_session_token(token)
        return self._standing(session, await self._registry.sessions.find(session), field)

    async def session_to_claim(self, token: str, *, field: str = "$.token") -> Session:
        """As `session_of_token`, for a connection: whether the session has ended, its claim will say (claim.lua)."""
        session = hash_session_token(token)
        return self._standing(session, await self._registry.sessions.find_row(session), field)

    async def still_stand(self, sessions: Sequence[SessionHash]) -> list[bool]:
        """Which sessions of open connections have not expired and may go on; being used, they are put off. Whether
        their devices name them, reconcile says."""
        found = await self._registry.sessions.look(sessions)
        return [self._may_go_on(session, each) for session, each in zip(sessions, found, strict=True)]

    def _standing(self, session: SessionHash, found: Found | None, field: str) -> Session:
        if found is None or not self._may_go_on(session, found):
            raise Unauthenticated("this session is unknown, expired or signed out; log in again", field=field)
        record = found.record
        return Session(UserId(record.user), DeviceId(record.device), session, record.expires_at_ms)

    def _may_go_on(self, session: SessionHash, found: Found | None) -> bool:
        if found is None or found.record.provider not in self._providers:
            return False
        lasts_ms = min(self._ttl_ms, found.record.expires_at_ms - self._clock())
        if not found.record.renewed and lasts_ms - found.left_ms >= min(PUT_OFF_MS, self._ttl_ms // 10):
            self._registry.sessions.put_off(session, lasts_ms)
        return lasts_ms > 0

    async def renewed(self, old: SessionHash, session: Session) -> None:
        """A connection has taken a renewed session of its device: the older one ends now."""
        if old != session.hash:
            await self._registry.sessions.end(old)

    async def sign_out(self, session: Session) -> None:
        await self._registry.users.end_session(session.user, session.device, session.hash)
        await self._end(session.user, [session.hash])

    async def sign_out_everywhere(self, user: UserId) -> None:
        """No session of the user's stands that was begun until now. One that is begun at this moment was begun before,
        or is not touched."""
        await self._end(user, await self._registry.users.end_sessions(user))

    async def _end(self, user: UserId, sessions: Sequence[SessionHash]) -> None:
        """What is left to do for sessions that no device's record names any more."""
        self._tell(user, sessions)
        await self._registry.sessions.end(*sessions)

    # --- devices -----------------------------------------------------------------------------------------------------

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
        await self._end(user, await self._registry.users.remove_device(user, DeviceId(device)))

    async def remove_idle_devices(self, user: UserId, idle_ms: int) -> int:
        """Remove devices that were not seen for so long, never the last; their sessions end. How many."""
        removed = await self._registry.users.remove_idle_devices(user, idle_ms)
        await self._end(user, [session for _, sessions in removed for session in sessions])
        return len(removed)

    async def delete_account(self, user: UserId) -> None:
        """Remove all that is stored for the user. The first step alone makes it true and is what is confirmed; the rest
        is tidying, which gc finishes if it is cut off here."""
        deleted = await self._registry.users.delete(user)
        self._tell(user, deleted.sessions)
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

    def _tell(self, user: UserId, sessions: Sequence[SessionHash], in_ms: int = 0) -> None:
        """Connections that use these sessions, wherever they are."""
        if sessions:
            self._registry.jobs.put(user, jobs.encode(jobs.SessionEnds(user, list(sessions), in_ms)))


def _bearer(authorization: str | None) -> str:
    """The token of a header. Raises Unauthenticated."""
    scheme, _, token = (authorization or "").strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated(
            "send `Authorization: Bearer <session token>`; POST /v1/login gives one", field="Authorization"
        )
    return token.strip()
