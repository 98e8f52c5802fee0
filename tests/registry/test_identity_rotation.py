"""Accounts with several identities while the key of the identity index changes, and some api knows only the old one."""

import pytest

from pushctl import rotation
from pushctl.config.model import Config
from pushctl.errors import IdentityTaken, LastIdentity, LimitReached
from pushctl.identity.keys import Keys
from pushctl.identity.refusal import LoginRefused
from pushctl.inbox.accounts import Accounts, IdentityView, SignedIn
from pushctl.keyring import report_of
from pushctl.registry import Registry
from pushctl.registry.key_holders import About
from tests.registry.identity_people import KEYS, believing, login_as

BOTH = rotation.with_new(KEYS, "identity_index")[0]
NEW = rotation.without(BOTH, rotation.FIRST)


@pytest.fixture
def accounts(registry: Registry, config: Config) -> Accounts:
    return Accounts(registry, believing(config))


async def log_in(accounts: Accounts, name: str, keys: Keys) -> SignedIn:
    return await accounts.sign_in(login_as(name), keys, device_name="laptop", device_id=None)


async def link(accounts: Accounts, by: SignedIn, name: str, keys: Keys) -> IdentityView:
    session = await accounts.session_of_token(by.token)
    return (await accounts.link(session, login_as(name), keys))[0]


async def identities(accounts: Accounts, by: SignedIn) -> list[IdentityView]:
    return await accounts.identities(await accounts.session_of_token(by.token))


async def retire_the_old_key(registry: Registry) -> None:
    await registry.key_holders.report("a", report_of(BOTH), About("api", "a", "host", 1, "0"))
    await rotation.retire_index(registry, BOTH, rotation.FIRST, force=False, on_share=lambda _: None)


async def test_each_identity_leads_to_the_account_through_the_whole_change_and_is_counted_once(
    registry: Registry, accounts: Accounts
) -> None:
    ada = await log_in(accounts, "ada", KEYS)
    await link(accounts, ada, "work", KEYS)
    for keys in (BOTH, KEYS, BOTH):
        for name in ("ada", "work"):
            assert (await log_in(accounts, name, keys)).user == ada.user
    assert len(await identities(accounts, ada)) == 2
    await retire_the_old_key(registry)
    for name in ("ada", "work"):
        assert (await log_in(accounts, name, NEW)).user == ada.user
    assert len(await identities(accounts, ada)) == 2
    assert await registry.users.listing.lacking([ada.user]) == []


async def test_an_identity_that_was_linked_under_both_keys_goes_whole(registry: Registry, accounts: Accounts) -> None:
    ada = await log_in(accounts, "ada", BOTH)
    work = await link(accounts, ada, "work", BOTH)
    await accounts.unlink(ada.user, work.id)
    entries = BOTH.index_entries(login_as("work").principal)
    assert await registry.sessions.users_of(entries) == [None, None]
    assert (await log_in(accounts, "work", KEYS)).user != ada.user
    (only,) = await identities(accounts, ada)
    with pytest.raises(LastIdentity):
        await accounts.unlink(ada.user, only.id)


async def test_whom_only_the_old_key_knows_cannot_be_linked_elsewhere_under_the_new_one(accounts: Accounts) -> None:
    bob = await log_in(accounts, "bob", KEYS)
    ada = await log_in(accounts, "ada", BOTH)
    with pytest.raises(IdentityTaken):
        await link(accounts, ada, "bob", BOTH)
    assert (await log_in(accounts, "bob", BOTH)).user == bob.user


async def test_entries_under_two_keys_count_as_one_identity(accounts: Accounts, config: Config) -> None:
    ada = await log_in(accounts, "ada", BOTH)
    limit = config.limits.identities_per_user
    for number in range(limit - 1):
        await link(accounts, ada, f"work{number}", BOTH)
    with pytest.raises(LimitReached):
        await link(accounts, ada, "one too many", BOTH)


async def test_a_newer_generation_told_under_the_old_key_alone_is_known_under_the_new_one(accounts: Accounts) -> None:
    await accounts.sign_in(login_as("ada", generation=1), BOTH, device_name="laptop", device_id=None)
    await accounts.sign_in(login_as("ada", generation=2), KEYS, device_name="phone", device_id=None)
    with pytest.raises(LoginRefused, match="signed this account out"):
        await accounts.sign_in(login_as("ada", generation=1), BOTH, device_name="tablet", device_id=None)
