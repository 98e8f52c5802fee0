"""A user's identities: the principals that may log in to the account.

Owns: key identities; scripts identities, link_identity, settle_identity, unlink_identity, drop_entry; the order of
steps of a link.
The account's own list decides; the index of identities (sessions.py, listing.py) only finds the account, and whoever
changes the list makes the index agree with it.
Promises: an identity is linked to one account at most, whoever links it or logs in with it at the same moment: its
entry in the index is made once (SETNX), and a link counts only when that entry leads to its account. A link that is
killed in between leaves an identity pending, which counts for nothing; a repetition, or a log-in with it, finishes it.
Must not know: principals, only their entries in the index.
"""

from collections.abc import Sequence

import msgspec

from pushctl.errors import IdentityTaken, LastIdentity, LimitReached, NotFound
from pushctl.ids import DeviceId, SessionHash, UserId, new_id
from pushctl.registry.connection import Argument
from pushctl.registry.listing import Listing
from pushctl.registry.presence import SessionEnded
from pushctl.registry.records import IdentityRecord, linked_identities, parse_identity
from pushctl.registry.script import Script
from pushctl.registry.sessions import Sessions
from pushctl.registry.store import AccountGone, Store
from pushctl.registry.users import Superseded

DROP_ENTRY = Script.load("drop_entry")
IDENTITIES = Script.load("identities")
LINK_IDENTITY = Script.load("link_identity")
SETTLE_IDENTITY = Script.load("settle_identity")
UNLINK_IDENTITY = Script.load("unlink_identity")


class Linked(msgspec.Struct, frozen=True):
    """`new`: it was not linked before; `ended`: sessions that its provider's newer generation has ended."""

    identity: IdentityRecord
    new: bool
    ended: list[SessionHash]


class Identities:
    def __init__(self, store: Store, listing: Listing, sessions: Sessions) -> None:
        self._store = store
        self._listing = listing
        self._sessions = sessions

    async def all(self, user: UserId, device: DeviceId) -> tuple[list[IdentityRecord], str]:
        """(those that are linked; the id of the one that this device logged in with, '' if it is not known)"""
        reply = await self._store.run(IDENTITIES, user, device=device)
        # While the index moves to another key, an identity has several entries.
        found = {identity.id: identity for identity in linked_identities(reply[1]).values()}
        return list(found.values()), reply[2].decode()

    async def link(
        self,
        user: UserId,
        entries: Sequence[str],
        *,
        device: DeviceId,
        session: SessionHash,
        provider: str,
        generation: int | None,
    ) -> Linked:
        """Let the identity of these entries, the newest first, log in to the account, too. Asked for in `session` of
        `device`.

        Raises IdentityTaken, LimitReached, Superseded, SessionEnded.
        """
        begun = await self._begin(user, entries, device, session, provider, generation)
        led_here = await self._lead_to(user, entries)
        try:
            reply = await self._store.run(SETTLE_IDENTITY, user, rest=entries, ours=int(led_here))
        except AccountGone:
            await self._listing.forget(user, entries)
            raise
        if not led_here:
            raise IdentityTaken(
                "somebody has logged in with this identity: it has an account of its own; delete that one first"
            )
        if reply[1] == 0:  # the account was deleted, or the identity unlinked, in between
            await self._listing.agree_on(user, entries)
            raise SessionEnded("this session has ended; log in again", field="Authorization")
        return begun

    async def _begin(
        self,
        user: UserId,
        entries: Sequence[str],
        device: DeviceId,
        session: SessionHash,
        provider: str,
        generation: int | None,
    ) -> Linked:
        limit = self._store.config.limits.identities_per_user
        reply = await self._store.run(
            LINK_IDENTITY,
            user,
            rest=entries,
            device=device,
            session=session,
            identity_id=new_id(),
            provider=provider,
            generation="" if generation is None else generation,
            max_identities=limit,
        )
        if reply[0] == b"ended":
            raise SessionEnded("this session has ended; log in again", field="Authorization")
        if reply[0] == b"limit":
            raise LimitReached(f"an account may have {limit} identities; unlink one first")
        if reply[0] == b"superseded":
            raise Superseded
        return Linked(parse_identity(reply[1]), reply[2] == 0, [SessionHash(raw.decode()) for raw in reply[3]])

    async def _lead_to(self, user: UserId, entries: Sequence[str]) -> bool:
        """Whether the entries lead to this user, and to nobody else, from now on."""
        first = await self._sessions.user_of_any(entries, user)
        if first != user and await self._store.link.ask("EXISTS", self._store.keys.user(first, "meta")):
            # An unlinking that was cut off leaves them there. Those without an account may be a log-in's.
            await self._listing.agree_on(first, entries)
            return await self._sessions.user_of_any(entries, user) == user
        return first == user

    async def drop_entries(self, under: Sequence[tuple[UserId, str]]) -> None:
        """Entries under a key of the index that is given up, of identities that have others."""
        calls: list[tuple[Script, Sequence[str], dict[str, Argument]]] = [
            (DROP_ENTRY, [self._store.keys.user(user, "identities")], {"entry": entry}) for user, entry in under
        ]
        await self._store.run_together(*calls)

    async def unlink(self, user: UserId, identity_id: str) -> Sequence[SessionHash]:
        """The identity logs in here no more; the sessions that it opened and that have ended with it.

        Raises NotFound, LastIdentity.
        """
        reply = await self._store.run(UNLINK_IDENTITY, user, id=identity_id)
        if reply[0] == b"none":
            raise NotFound("this account has no such identity")
        if reply[0] == b"last":
            raise LastIdentity("nobody could log in any more; link another identity first, or delete the account")
        await self._listing.agree_on(user, [raw.decode() for raw in reply[1]])
        return [SessionHash(raw.decode()) for raw in reply[2]]
