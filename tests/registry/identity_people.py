"""People with several identities, and what must be true of them whatever met.

Owns: logging in by name; the check of the index against the accounts' lists. Must not know: which orders are played.
"""

from collections.abc import Sequence
from dataclasses import replace

from pushctl.config.model import Config
from pushctl.identity.keys import Keys
from pushctl.identity.principals import BROWSERID, Principal
from pushctl.identity.sealing import hash_session_token
from pushctl.identity.verifier import Login
from pushctl.ids import UserId, new_id
from pushctl.inbox.accounts import Accounts, IdentityView, SignedIn
from pushctl.registry import Registry
from pushctl.registry.keys import Keys as RegistryKeys
from pushctl.registry.records import linked_identities

KEYS = Keys.generate()


def login_as(name: str, *, generation: int | None = None, provider: str = "browserid") -> Login:
    principal = Principal(BROWSERID, "", f"{name}@idp.example")
    return Login(principal, 2**50, new_id(), 1000, provider, generation)


def entry_of(name: str) -> str:
    return KEYS.index_entry(login_as(name).principal)


def believing(config: Config) -> Config:
    """BrowserID is switched on."""
    identity = config.identity
    return replace(config, identity=replace(identity, browserid=replace(identity.browserid, enabled=True)))


class People:
    """Names are of identities; a suffix of their own keeps the plays of one registry apart."""

    def __init__(self, registry: Registry, config: Config) -> None:
        self.registry = registry
        self.accounts = Accounts(registry, believing(config))
        self._suffix = new_id()

    def name(self, name: str) -> str:
        return f"{name}-{self._suffix}"

    async def log_in(self, name: str, device: str | None = None, *, generation: int | None = None) -> SignedIn:
        login = login_as(self.name(name), generation=generation)
        return await self.accounts.sign_in(login, KEYS, device_name="laptop", device_id=device)

    async def link(self, by: SignedIn, name: str, *, generation: int | None = None) -> tuple[IdentityView, bool]:
        session = await self.accounts.session_of_token(by.token)
        return await self.accounts.link(session, login_as(self.name(name), generation=generation), KEYS)

    async def stands(self, signed_in: SignedIn) -> bool:
        found = await self.registry.sessions.find(hash_session_token(signed_in.token))
        return found is not None

    async def owner(self, name: str) -> UserId | None:
        """Where the index leads."""
        raw = await self.registry.link.ask("GET", self._keys.identity(entry_of(self.name(name))))
        return None if raw is None else UserId(raw.decode())

    async def linked_to(self, name: str, among: Sequence[UserId]) -> list[UserId]:
        """Those of these accounts that have it in their lists."""
        entry, found = entry_of(self.name(name)), []
        for user in dict.fromkeys(among):
            flat = await self.registry.link.ask("HGETALL", self._keys.user(user, "identities"))
            if entry in linked_identities(flat):
                found.append(user)
        return found

    async def identity_ids(self, user: UserId, name: str) -> list[str]:
        """The id of this identity in the account's list, if it is there."""
        flat = await self.registry.link.ask("HGETALL", self._keys.user(user, "identities"))
        found = linked_identities(flat).get(entry_of(self.name(name)))
        return [found.id] if found else []

    async def check(self, names: Sequence[str], users: Sequence[UserId]) -> None:
        """Each identity is in the list of the one account that the index leads to, and in no other."""
        for name in names:
            owner = await self.owner(name)
            among = [*users, *([owner] if owner else [])]
            assert await self.linked_to(name, among) == ([owner] if owner else []), name
            if owner is not None:
                assert await self.registry.link.ask("EXISTS", self._keys.user(owner, "meta")), name

    @property
    def _keys(self) -> RegistryKeys:
        return self.registry.users._store.keys
