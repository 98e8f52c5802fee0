"""Sessions and the identity index: who a token or a principal is. Owns: keys session, identity, replay.
Must not know: tokens and principals themselves, only their hashes."""

from collections.abc import Sequence

import msgspec

from pushctl.ids import DeviceId, SessionHash, UserId
from pushctl.registry.script import Script
from pushctl.registry.store import Store

IDENTITY = Script.load("identity")


class SessionRecord(msgspec.Struct, frozen=True, array_like=True):
    user: str
    device: str
    expires_at_ms: int


_decoder = msgspec.msgpack.Decoder(SessionRecord)


class Sessions:
    def __init__(self, store: Store) -> None:
        self._store = store

    def _key(self, session: SessionHash) -> str:
        return self._store.keys.session(session)

    async def begin(
        self, session: SessionHash, user: UserId, device: DeviceId, *, expires_at_ms: int, lasts_ms: int
    ) -> None:
        record = msgspec.msgpack.encode(SessionRecord(user, device, expires_at_ms))
        await self._store.link.ask("SET", self._key(session), record, "PX", lasts_ms, lane="sure")

    async def find(self, session: SessionHash) -> SessionRecord | None:
        """None: proved to be unknown, ended or expired. Raises StoreUnavailable without that proof."""
        raw = await self._store.link.ask("GET", self._key(session))
        if raw is not None:
            return _decoder.decode(raw)
        await self._store.link.prove_ours(self._key(session))
        return None

    async def live(self, sessions: list[SessionHash]) -> list[bool]:
        """Which of these sessions are there: a session that ended (signed out, expired) is not.

        Raises StoreUnavailable, also when one is missing without proof that it ended.
        """
        # One EXISTS each, not one MGET: on a Cluster they live in different slots.
        there = await self._store.link.ask_all([("EXISTS", self._key(session)) for session in sessions])
        for session, found in zip(sessions, there, strict=True):
            if not found:
                await self._store.link.prove_ours(self._key(session))
        return [n == 1 for n in there]

    async def end(self, *sessions: SessionHash) -> None:
        await self._store.link.ask_all([("DEL", self._key(session)) for session in sessions], lane="sure")

    async def end_in(self, session: SessionHash, ms: int) -> None:
        """The session ends in `ms` at the latest."""
        await self._store.link.ask("PEXPIRE", self._key(session), ms, lane="sure")

    async def user_of(self, entry: str, offered: UserId) -> UserId:
        """The user of a principal's index entry; `offered` becomes it when there is none."""
        reply = await self._store.run_on(IDENTITY, [self._store.keys.identity(entry)], user=offered)
        return UserId(reply.decode())

    async def user_of_any(self, entries: Sequence[str], offered: UserId) -> UserId:
        """The user of a principal that may have an entry under each of several index keys, newest first.

        The entry under the oldest key decides, then that under the next, and each is made when there is none. So one
        who knows only the older keys comes to the same user at the same moment as one who knows all of them; and when
        everybody knows the newest, its entry stands for all who logged in, and the older may go.
        """
        newest = await self._store.link.ask("GET", self._store.keys.identity(entries[0])) if entries[1:] else None
        if newest is not None:
            return UserId(newest.decode())
        user = offered
        for entry in reversed(entries):
            user = await self.user_of(entry, user)
        return user

    async def users_of(self, entries: Sequence[str]) -> list[UserId | None]:
        """The users of these entries; None for one that is not there."""
        replies = await self._store.link.ask_all([("GET", self._store.keys.identity(entry)) for entry in entries])
        return [None if raw is None else UserId(raw.decode()) for raw in replies]

    async def forget_entries(self, entries: Sequence[str]) -> None:
        """Entries under a key that is given up: others lead to the same users."""
        await self._store.link.ask_all([("UNLINK", self._store.keys.identity(entry)) for entry in entries])

    async def find_user(self, entry: str) -> UserId | None:
        """The user of a principal's index entry; None: proved to have none. Raises StoreUnavailable otherwise."""
        raw = await self._store.link.ask("GET", self._store.keys.identity(entry))
        if raw is not None:
            return UserId(raw.decode())
        await self._store.link.prove_ours(self._store.keys.identity(entry))
        return None

    async def first_use(self, digest: str, keep_ms: int) -> bool:
        """True once per assertion: a second use is a replay."""
        key = self._store.keys.replay(digest)
        return await self._store.link.ask("SET", key, "1", "NX", "PX", max(1, keep_ms), lane="sure") is not None
