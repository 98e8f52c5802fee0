"""Sessions and the identity index: who a token or a principal is.

A session is a row, found by the hash of its token, and a name in its device's record, in the user's slot. It stands as
long as both are there. So one script in the user's slot ends any number of sessions at one moment, as a log-in begins
one there: whichever of two comes later has the last word, and a row that survived a race opens nothing.
Owns: keys session, identity, replay. Must not know: tokens and principals themselves, only their hashes.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import msgspec

from pushctl.errors import StoreUnavailable
from pushctl.ids import DeviceId, SessionHash, UserId
from pushctl.registry.script import Script
from pushctl.registry.store import Store

IDENTITY = Script.load("identity")
END_SESSION_IN = Script.load("end_session_in")
PUT_OFF_SESSION = Script.load("put_off_session")

MAX_HOMES: Final = 10_000


class SessionRecord(msgspec.Struct, frozen=True, array_like=True):
    """`expires_at_ms`: however much it is used; `provider`: what vouched for the log-in (''  in rows of before that was
    kept); `renewed`: its device has another, and its end is not put off."""

    user: str
    device: str
    expires_at_ms: int
    provider: str = ""
    renewed: bool = False


class Found(msgspec.Struct, frozen=True):
    """`left_ms`: until it ends, unless that is put off."""

    record: SessionRecord
    left_ms: int


class _Names(msgspec.Struct, frozen=True):
    """Of a device's record (users.py)."""

    session: str
    older: list[str] | dict[str, str]


_decoder = msgspec.msgpack.Decoder(SessionRecord)
_names_decoder = msgspec.msgpack.Decoder(_Names)


class Sessions:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._homes: OrderedDict[SessionHash, tuple[UserId, DeviceId]] = OrderedDict()
        """Whose the sessions were that were asked for lately: never another's, so that both halves of a session can be
        asked for in one round trip. MAX_HOMES of them, the latest."""

    def _key(self, session: SessionHash) -> str:
        return self._store.keys.session(session)

    async def begin(
        self, session: SessionHash, user: UserId, device: DeviceId, *, provider: str, expires_at_ms: int, lasts_ms: int
    ) -> None:
        """`lasts_ms`: if it is not used."""
        record = msgspec.msgpack.encode(SessionRecord(user, device, expires_at_ms, provider))
        await self._store.link.ask("SET", self._key(session), record, "PX", lasts_ms, lane="sure")

    async def find_row(self, session: SessionHash) -> Found | None:
        """Half of the truth, for whoever goes on to ask the other half (Presence.claim). None: proved to be unknown,
        ended or expired. Raises StoreUnavailable without that proof."""
        (found,) = await self.look([session])
        return found

    async def find(self, session: SessionHash) -> Found | None:
        """None: proved to be unknown, ended or expired. Raises StoreUnavailable without that proof.

        One round trip; two for a session that was not asked for lately.
        """
        home = self._homes.get(session)
        if home is None:
            found = await self.find_row(session)
            if found is None:
                return None
            home = UserId(found.record.user), DeviceId(found.record.device)
            raw = await self._store.link.ask(*self._asking_for_names(home))
        else:
            row, left_ms, raw = await self._store.link.ask_all(
                [*self._asking_for_row(session), self._asking_for_names(home)]
            )
            found = await self._found(session, row, left_ms)
        stands = found is not None and await self._is_named(session, home[0], raw)
        self._remember(session, home if stands else None)
        return found if stands else None

    async def look(self, sessions: Sequence[SessionHash]) -> list[Found | None]:
        """The rows of several sessions. Raises StoreUnavailable, also if one is missing without proof that it ended."""
        # Two questions each, not one MGET: on a Cluster they live in different slots.
        replies = await self._store.link.ask_all(
            [question for session in sessions for question in self._asking_for_row(session)]
        )
        pairs = zip(sessions, replies[::2], replies[1::2], strict=True)
        return [await self._found(session, row, left_ms) for session, row, left_ms in pairs]

    def _asking_for_row(self, session: SessionHash) -> list[tuple[str, str]]:
        return [("GET", self._key(session)), ("PTTL", self._key(session))]

    def _asking_for_names(self, home: tuple[UserId, DeviceId]) -> tuple[str, str, str]:
        return "HGET", self._store.keys.user(home[0], "devices"), home[1]

    async def _found(self, session: SessionHash, row: bytes | None, left_ms: int) -> Found | None:
        if row is None:
            await self._store.link.prove_ours(self._key(session))
            return None
        return Found(_decoder.decode(row), left_ms)

    async def _is_named(self, session: SessionHash, user: UserId, device: bytes | None) -> bool:
        """Whether the device's record names it; without one, whether that is proof."""
        if device is not None:
            names = _names_decoder.decode(device)
            return session in (names.session, *names.older)
        keys = self._store.keys
        if not any(await self._store.link.ask_all([("EXISTS", keys.user(user, noun)) for noun in ("meta", "gone")])):
            raise StoreUnavailable("the store knows nothing of this user and cannot prove that it never did")
        return False

    def _remember(self, session: SessionHash, home: tuple[UserId, DeviceId] | None) -> None:
        if home is None:
            self._homes.pop(session, None)
            return
        self._homes[session] = home
        self._homes.move_to_end(session)
        if len(self._homes) > MAX_HOMES:
            self._homes.popitem(last=False)

    async def live(self, sessions: Sequence[SessionHash]) -> list[bool]:
        """Which of these sessions have a row. Raises as `look`."""
        return [found is not None for found in await self.look(sessions)]

    async def end(self, *sessions: SessionHash) -> None:
        await self._store.link.ask_all([("DEL", self._key(session)) for session in sessions], lane="sure")

    async def end_in(self, session: SessionHash, ms: int) -> None:
        """The session ends in `ms` at the latest, however it is used."""
        await self._store.run_on(END_SESSION_IN, [self._key(session)], ms=ms)

    def put_off(self, session: SessionHash, ms: int) -> None:
        """It is used: it ends in `ms`, not before. A hint, without waiting: whoever uses it again says so again."""
        self._store.link.post_script(PUT_OFF_SESSION, [self._key(session)], [ms])

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
