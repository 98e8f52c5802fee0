"""Who there is: the index of users by shard and the identity index, which follow `meta` from other slots.

Owns: keys shard users and identity (beside sessions.py, which makes the entry); script forget_identity. What a user's
identities are stands in the user's slot (identities.py); the index of identities only finds the user.
Promises: `agree` ends with both indexes saying what `meta` says, whoever else is at work: it writes what it believes
and looks again, until what it sees is what it wrote. A log-in makes meta before it calls `agree`, a deletion removes
meta before it does; so whichever of two looks last sees the final state, and writes it. One that is killed in between
leaves an entry too few or too many, which gc's repair finds.
Must not know: what else a user has.
"""

from collections.abc import Sequence

import msgspec

from pushctl.ids import UserId
from pushctl.registry.keys import shard_of
from pushctl.registry.records import linked_identities
from pushctl.registry.script import Script
from pushctl.registry.store import Store

FORGET_IDENTITY = Script.load("forget_identity")


class Lacking(msgspec.Struct, frozen=True):
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

    def _identities(self, user: UserId) -> str:
        return self._store.keys.user(user, "identities")

    async def some(self, shard: int, cursor: int, count: int) -> tuple[int, Sequence[UserId]]:
        """A step through all users of one shard; (next cursor, 0 at the end; users)."""
        reply = await self._store.link.ask("SSCAN", self._store.keys.shard(shard, "users"), cursor, "COUNT", count)
        return int(reply[0]), [UserId(raw.decode()) for raw in reply[1]]

    async def agree(self, user: UserId, identities: Sequence[str] = (), *, there: bool) -> None:
        """Make both indexes say what is true. `there`: what the caller has just seen; `identities`: the entries of a
        user who is not there any more, as far as they are known."""
        while True:
            if there:
                identities = await self._linked(user) or identities
                await self._put(user, identities)
            else:
                await self._store.link.ask("SREM", self._shard(user), user)
                await self.forget(user, identities)
            now = await self._store.link.ask("EXISTS", self._meta(user)) == 1
            if now == there:
                return
            there = now

    async def agree_on(self, user: UserId, entries: Sequence[str]) -> None:
        """As `agree`, for some entries of the index of identities: each leads to this user iff the account has it, and
        never away from another."""
        for entry in entries:
            there = None
            while (now := await self._store.link.ask("HEXISTS", self._identities(user), entry)) != there:
                there = now
                if there:
                    await self._store.link.ask("SETNX", self._store.keys.identity(entry), user)
                else:
                    await self.forget(user, [entry])

    async def _linked(self, user: UserId) -> list[str]:
        """The entries of a user's identities. Whoever links one that is pending puts it into the index himself."""
        return list(linked_identities(await self._store.link.ask("HGETALL", self._identities(user))))

    async def _put(self, user: UserId, identities: Sequence[str]) -> None:
        await self._store.link.ask_all(
            [
                ("SADD", self._shard(user), user),
                # Never over another's: a principal's entry may have been given to another user (identities are linked).
                *(("SETNX", self._store.keys.identity(entry), user) for entry in identities),
            ]
        )

    async def forget(self, user: UserId, identities: Sequence[str]) -> None:
        """Remove the principals' entries that lead to this user."""
        for entry in identities:
            await self._store.run_on(FORGET_IDENTITY, [self._store.keys.identity(entry)], user=user)

    async def lacking(self, users: Sequence[UserId]) -> list[Lacking]:
        """Those of these users who are there and not named by an index. Three round trips."""
        ask_all, keys = self._store.link.ask_all, self._store.keys
        alive = await ask_all([("EXISTS", self._meta(user)) for user in users])
        there = [user for user, is_there in zip(users, alive, strict=True) if is_there]
        found = await ask_all(
            [
                *(("SISMEMBER", self._shard(user), user) for user in there),
                *(("HGETALL", self._identities(user)) for user in there),
            ]
        )
        entries = {user: list(linked_identities(raw)) for user, raw in zip(there, found[len(there) :], strict=True)}
        every = [entry for each in entries.values() for entry in each]
        named = await ask_all([("EXISTS", keys.identity(entry)) for entry in every])
        lost = {entry for entry, is_named in zip(every, named, strict=True) if not is_named}
        what = {
            user: [*([] if listed else ["users"]), *(["identity"] if lost.intersection(entries[user]) else [])]
            for user, listed in zip(there, found, strict=False)
        }
        return [Lacking(user, words) for user, words in what.items() if words]

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
        done = [bool(tombstone) and b"epoch" not in tombstone for tombstone in gone]
        return [pair for pair, is_done in zip(pairs, done, strict=True) if is_done]
