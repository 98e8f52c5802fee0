"""Who may ask: the session of a request, and the sessions that were seen lately for while Redis is away.

Owns: that memory: only hashes of tokens, bounded, each for `stale_seconds` since it was last confirmed.
Promises: a session that Redis says is dead is refused at once and forgotten; one that Redis cannot be asked about is
let in only if it was good a moment ago.
Must not know: HTTP, servers.
"""

from collections import OrderedDict
from typing import Final

import trio

from pushctl.errors import StoreUnavailable, Unauthenticated
from pushctl.identity.sealing import hash_session_token
from pushctl.ids import SessionHash
from pushctl.inbox import Accounts

MAX_REMEMBERED: Final = 100_000


class Doorman:
    def __init__(self, accounts: Accounts, stale_seconds: float) -> None:
        self._accounts = accounts
        self._stale_seconds = stale_seconds
        self._seen: OrderedDict[SessionHash, float] = OrderedDict()
        """when each was confirmed last, oldest first"""

    async def admit(self, authorization: str | None) -> SessionHash:
        """The session of an `Authorization` header. Raises Unauthenticated, or StoreUnavailable for a stranger."""
        try:
            session = (await self._accounts.visitor(authorization)).hash
        except StoreUnavailable:
            known = self._known(authorization)
            if known is None:
                raise
            return known
        except Unauthenticated:
            self._forget(authorization)
            raise
        self._seen[session] = trio.current_time()
        self._seen.move_to_end(session)
        while len(self._seen) > MAX_REMEMBERED:
            self._seen.popitem(last=False)
        return session

    def _known(self, authorization: str | None) -> SessionHash | None:
        session = _hash_of(authorization)
        confirmed = self._seen.get(session)
        fresh = confirmed is not None and trio.current_time() - confirmed <= self._stale_seconds
        return session if fresh else None

    def _forget(self, authorization: str | None) -> None:
        self._seen.pop(_hash_of(authorization), None)


def _hash_of(authorization: str | None) -> SessionHash:
    """As Accounts reads the header; of anything else it is a hash that nobody has."""
    return hash_session_token((authorization or "").strip().partition(" ")[2].strip())
