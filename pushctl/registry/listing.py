"""Who there is: the index of users by shard and the identity index, which follow `meta` from other slots.

Owns: keys shard users and identity (beside sessions.py, which makes the entry); script forget_identity.
Promises: `agree` ends with both indexes saying what `meta` says, whoever else is at work: it writes what it believes
and looks again, until what it sees is what it wrote. A log-in makes meta before it calls `agree`, a deletion removes
meta before it does; so whichever of two looks last sees the final state, and writes it. One that is killed in between
leaves an entry too few or too many, which gc's repair finds.
Must not know: what else a user has.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pushctl.ids import UserId
from pushctl.registry.keys import shard_of
from pushctl.registry.script import Script
from pushctl.registry.store import Store

FORGET_IDENTITY = Script.load("forget_identity")


@dataclass(frozen=True, slots=True)
class Lacking:
    """A user who is there and whom an index does not name. `what`: users or identity."""

    user: UserId
    what: list[str]


class Listing:
    def __init__(self, store: Store) -> None:
        self._store = store

    def _shard(self, user: UserId) -> str:
        return self._store.keys.shard(shard_of(user), "users")

    def _meta(self, user: UserId) -> str:
        return self._store.keys.user(user, "meta")

    async def some(self, shard: int, cursor: int, count: int) -> tuple[int, Sequence[UserId]]:
        """A step through all users of one shard; (next cursor, 0 at the end; users)."""
        reply = await self._store.link.ask("SSCAN", self._store.keys.shard(shard, "users"), cursor, "COUNT", count)
        return int(reply[0]), [UserId(raw.decode()) for raw in reply[1]]

    async def agree(self, user: UserId, identity: str = "", *, there: bool) -> None:
        """Make both indexes say what is true. `there`: what the caller has just seen; `identity`: the entry of a user
        who is not there any more ('' = not known)."""
        while True:
            if there:
                entry = await self._store.link.ask("HGET", self._meta(user), "identity")
                identity = entry.decode() if entry else identity
                await self._put(user, identity)
            else:
                await self._store.link.ask("SREM", self._shard(user), user)
                await self.forget(user, identity)
            now = await self._store.link.ask("EXISTS", self._meta(user)) == 1
            if now == there:
                return
            there = now

    async def _put(self, user: UserId, identity: str) -> None:
        await self._store.link.ask_all(
            [
                ("SADD", self._shard(user), user),
                # Never over another's: a principal's entry may have been given to another user (identities are linked).
                *([("SETNX", self._store.keys.identity(identity), user)] if identity else []),
            ]
        )

    async def forget(self, user: UserId, identity: str) -> None:
        """Remove the principal's entry if it leads to this user."""
        if identity:
            await self._store.run_on(FORGET_IDENTITY, [self._store.keys.identity(identity)], user=user)

    async def lacking(self, users: Sequence[UserId]) -> list[Lacking]:
        """Those of these users who are there and not named by an index. Two round trips."""
        ask_all, keys = self._store.link.ask_all, self._store.keys
        identities = await ask_all([("HGET", self._meta(user), "identity") for user in users])
        there = [(user, entry.decode()) for user, entry in zip(users, identities, strict=True) if entry is not None]
        listed = await ask_all([("SISMEMBER", self._shard(user), user) for user, _ in there])
        named = await ask_all([("EXISTS", keys.identity(entry)) for _, entry in there])
        return [
            Lacking(user, [what for what, has in (("users", is_listed), ("identity", is_named)) if not has])
            for (user, _), is_listed, is_named in zip(there, listed, named, strict=True)
            if not (is_listed and is_named)
        ]

    async def stray(self, entries: Sequence[str]) -> list[tuple[UserId, str]]:
        """(user, entry) of those identity entries whose user is proved to be no more, by a tombstone of a finished
        deletion (which no user who is there has). A put-back that met a deletion and was killed leaves them.

        An entry whose user is merely not there stays, as nothing is proved: perhaps a log-in is about to make the user,
        perhaps the user was lost and comes back with a backup, and must be found under the same id.
        """
        ask_all, keys = self._store.link.ask_all, self._store.keys
        replies = await ask_all([("GET", keys.identity(entry)) for entry in entries])
        pairs = [(UserId(raw.decode()), entry) for raw, entry in zip(replies, entries, strict=True) if raw is not None]
        gone = await ask_all([("HKEYS", keys.user(user, "gone")) for user, _ in pairs])
        return [pair for pair, tombstone in zip(pairs, gone, strict=True) if tombstone and b"identity" not in tombstone]
