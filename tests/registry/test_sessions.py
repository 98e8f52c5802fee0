"""How long sessions last, what ends them, and identities: on a real Redis, through the use cases that roles share."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from pushctl import rotation
from pushctl.clock import Clock, system_clock
from pushctl.config.model import Config
from pushctl.errors import IdentityTaken, LastIdentity, LimitReached, NotFound, Unauthenticated
from pushctl.identity.refusal import LoginRefused
from pushctl.identity.sealing import hash_session_token
from pushctl.ids import ConnectionId, DeviceId, ServerId, UserId
from pushctl.inbox.accounts import PUT_OFF_MS, RENEWAL_MS, Accounts, SignedIn
from pushctl.registry import Registry
from pushctl.registry.presence import SessionEnded
from tests.registry.conftest import Shift
from tests.registry.identity_people import KEYS, People, believing, login_as

DAY_MS = 86_400_000
SERVER = ServerId("s1")


@pytest.fixture
def people(registry: Registry, config: Config) -> People:
    return People(registry, config)


def row_of(registry: Registry, signed_in: SignedIn) -> str:
    return registry.users._store.keys.session(hash_session_token(signed_in.token))


async def left_ms(registry: Registry, signed_in: SignedIn) -> int:
    left: int = await registry.link.ask("PTTL", row_of(registry, signed_in))
    return left


async def unused_for(registry: Registry, signed_in: SignedIn, ms: int) -> None:
    """As if it had not been used for so long."""
    await registry.link.ask("PEXPIRE", row_of(registry, signed_in), await left_ms(registry, signed_in) - ms)


def later(ms: int) -> Clock:
    return lambda: system_clock() + ms


# --- how long --------------------------------------------------------------------------------------------------------


async def test_a_session_that_is_used_is_put_off_and_not_more_than_once_an_hour(
    registry: Registry, config: Config, people: People
) -> None:
    ttl_ms = config.identity.session_ttl_seconds * 1000
    ada = await people.log_in("ada")
    assert abs(ada.expires_at_ms - system_clock() - ttl_ms) < 60_000
    await unused_for(registry, ada, PUT_OFF_MS // 2)
    await people.accounts.session_of_token(ada.token)
    assert await left_ms(registry, ada) < ttl_ms - PUT_OFF_MS // 3
    await unused_for(registry, ada, 80 * DAY_MS)
    await people.accounts.session_of_token(ada.token)
    assert await left_ms(registry, ada) > ttl_ms - 60_000


async def test_a_session_of_an_open_connection_is_in_use(registry: Registry, config: Config, people: People) -> None:
    ada = await people.log_in("ada")
    session = await people.accounts.session_of_token(ada.token)
    await unused_for(registry, ada, 80 * DAY_MS)
    assert await people.accounts.still_stand([session.hash]) == [True]
    assert await left_ms(registry, ada) > 89 * DAY_MS


async def test_a_session_ends_a_year_after_its_log_in_however_it_is_used(
    registry: Registry, config: Config, people: People
) -> None:
    ada = await people.log_in("ada")
    max_age_ms = config.identity.session_max_age_seconds * 1000
    shortly_before = Accounts(registry, believing(config), later(max_age_ms - DAY_MS))
    session = await shortly_before.session_of_token(ada.token)
    await unused_for(registry, ada, 89 * DAY_MS + DAY_MS // 2)
    await shortly_before.session_of_token(ada.token)
    assert DAY_MS // 2 < await left_ms(registry, ada) <= DAY_MS
    assert abs(session.expires_at_ms - system_clock() - max_age_ms) < 60_000
    with pytest.raises(Unauthenticated):
        await Accounts(registry, believing(config), later(max_age_ms)).session_of_token(ada.token)


async def test_a_session_that_is_renewed_is_not_put_off_even_by_whoever_looked_before(
    registry: Registry, people: People
) -> None:
    ada = await people.log_in("ada")
    await people.log_in("ada", ada.device_id)
    assert await left_ms(registry, ada) <= RENEWAL_MS
    await people.accounts.session_of_token(ada.token)
    registry.sessions.put_off(hash_session_token(ada.token), 80 * DAY_MS)
    assert await left_ms(registry, ada) <= RENEWAL_MS


async def test_a_session_that_was_asked_for_lately_costs_one_round_trip(
    registry: Registry, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await people.log_in("ada")
    asked = 0
    answer = registry.link._answer

    async def count(questions: Any) -> Any:
        nonlocal asked
        asked += 1
        return await answer(questions)

    monkeypatch.setattr(registry.link, "_answer", count)
    for trips in (2, 1, 1):
        asked = 0
        await people.accounts.session_of_token(ada.token)
        assert asked == trips


async def test_a_session_lasts_only_as_long_as_its_provider_may_vouch_here(
    registry: Registry, config: Config, people: People
) -> None:
    by_dev_idp = await people.accounts.sign_in(
        login_as("x", provider="browserid-dev"), KEYS, device_name="d", device_id=None
    )
    by_nobody = await people.accounts.sign_in(login_as("y", provider="gone"), KEYS, device_name="d", device_id=None)
    by_browserid = await people.log_in("ada")
    identity = replace(
        config.identity, environment="development", dev_idp=replace(config.identity.dev_idp, enabled=True)
    )
    with_dev_idp = Accounts(registry, replace(config, identity=identity))
    session = await with_dev_idp.session_of_token(by_dev_idp.token)
    assert await with_dev_idp.still_stand([session.hash]) == [True]
    assert await people.accounts.still_stand([session.hash]) == [False]
    await people.accounts.session_of_token(by_browserid.token)
    for signed_in in (by_dev_idp, by_nobody):
        with pytest.raises(Unauthenticated):
            await people.accounts.session_of_token(signed_in.token)
        with pytest.raises(Unauthenticated):
            await people.accounts.session_to_claim(signed_in.token)


# --- what ends it ----------------------------------------------------------------------------------------------------


Ends = Callable[[People, SignedIn], Awaitable[object]]
ENDS: dict[str, Ends] = {
    "signed out": lambda people, ada: people.registry.users.end_session(
        ada.user, ada.device_id, hash_session_token(ada.token)
    ),
    "signed out everywhere": lambda people, ada: people.registry.users.end_sessions(ada.user),
    "device removed": lambda people, ada: people.registry.users.remove_device(ada.user, ada.device_id),
    "account deleted": lambda people, ada: people.registry.users.delete(ada.user),
}


@pytest.mark.parametrize("how", ENDS)
async def test_a_session_whose_row_survives_its_end_opens_nothing(
    registry: Registry, config: Config, people: People, how: str
) -> None:
    ada, presence = await people.log_in("ada"), registry.presence
    session = await people.accounts.session_of_token(ada.token)
    at = (ada.user, session.device)
    await presence.claim(*at, ConnectionId("a"), session=session.hash, server=SERVER, generation=1, rank=0)
    await ENDS[how](people, ada)
    assert await registry.sessions.live([session.hash]) == [True]
    for accounts in (people.accounts, Accounts(registry, believing(config))):
        with pytest.raises(Unauthenticated):
            await accounts.session_of_token(ada.token)
    with pytest.raises(Unauthenticated):
        await presence.claim(*at, ConnectionId("b"), session=session.hash, server=SERVER, generation=1, rank=0)
    connection = (ConnectionId("a"), session.device, session.hash)
    if how != "account deleted":
        found = await presence.reconcile({ada.user: [connection]}, server=SERVER, generation=1)
        assert found[ada.user].leases == ["no_device" if how == "device removed" else "ended"]


async def test_a_device_that_signed_out_keeps_its_place_and_logs_in_again(registry: Registry, people: People) -> None:
    ada = await people.log_in("ada")
    await people.accounts.sign_out(await people.accounts.session_of_token(ada.token))
    again = await people.log_in("ada", ada.device_id)
    (device,) = (await registry.users.devices(ada.user))[0].values()
    assert device.sessions == [hash_session_token(again.token)]
    with pytest.raises(SessionEnded):
        await registry.presence.claim(
            ada.user,
            ada.device_id,
            ConnectionId("c"),
            session=hash_session_token(ada.token),
            server=SERVER,
            generation=1,
            rank=0,
        )


async def test_an_account_that_is_made_anew_takes_no_session_of_the_one_before(people: People) -> None:
    ada = await people.log_in("ada")
    deleted = await people.registry.users.delete(ada.user)
    for step in people.registry.users.steps_after_delete(ada.user, deleted)[1:]:
        await step()  # all but the first: the session's row survives
    again = await people.log_in("ada")
    assert again.user == ada.user
    assert not await people.stands(ada)
    assert await people.stands(again)


# --- the provider's generation ---------------------------------------------------------------------------------------


async def test_a_larger_generation_ends_what_the_identity_opened_before_and_a_smaller_is_refused(
    people: People,
) -> None:
    before = await people.log_in("ada")  # when the provider was not asked for one yet
    first = await people.log_in("ada", generation=5)
    other = await people.log_in("ada", generation=5)
    await people.link(other, "work")
    by_work = await people.log_in("work")
    assert all([await people.stands(each) for each in (before, first, other, by_work)])
    newer = await people.log_in("ada", first.device_id, generation=6)
    assert [await people.stands(each) for each in (before, first, other, by_work)] == [False, False, False, True]
    assert await people.stands(newer)
    for refused in (people.log_in("ada", generation=5), people.link(by_work, "ada", generation=0)):
        with pytest.raises(LoginRefused) as caught:
            await refused
        assert (caught.value.code, caught.value.status) == ("token_superseded", 401)
    assert await people.stands(newer)
    await people.link(by_work, "ada", generation=7)  # a log-in there, too
    assert not await people.stands(newer)
    assert await people.stands(by_work)


@pytest.mark.parametrize("generation", [-1, 2**53])
async def test_a_generation_that_cannot_be_compared_is_refused(people: People, generation: int) -> None:
    with pytest.raises(LoginRefused) as caught:
        await people.log_in("ada", generation=generation)
    assert caught.value.code == "invalid_claim"


# --- identities ------------------------------------------------------------------------------------------------------


async def test_a_linked_identity_logs_in_to_the_same_account_until_it_is_unlinked(people: People) -> None:
    ada = await people.log_in("ada")
    session = await people.accounts.session_of_token(ada.token)
    identity, new = await people.link(ada, "work")
    assert new
    again, new = await people.link(ada, "work")
    assert (again.id, new) == (identity.id, False)
    by_work = await people.log_in("work")
    assert by_work.user == ada.user
    found = await people.accounts.identities(session)
    assert [(each.provider, each.current) for each in found] == [("browserid", True), ("browserid", False)]
    await people.accounts.unlink(ada.user, identity.id)
    assert not await people.stands(by_work)
    assert await people.stands(ada)
    assert (await people.log_in("work")).user != ada.user
    with pytest.raises(LastIdentity):
        await people.accounts.unlink(ada.user, found[0].id)
    with pytest.raises(NotFound):
        await people.accounts.unlink(ada.user, identity.id)
    with pytest.raises(IdentityTaken):
        await people.link(ada, "work")


async def test_the_identity_that_made_an_account_and_was_unlinked_never_comes_back_to_it(people: People) -> None:
    ada = await people.log_in("ada")
    await people.link(ada, "work")
    (made_it,) = await people.identity_ids(ada.user, "ada")
    await people.accounts.unlink(ada.user, made_it)
    stranger = await people.log_in("ada")
    assert stranger.user != ada.user
    assert (await people.log_in("ada")).user == stranger.user
    assert (await people.log_in("work")).user == ada.user
    await people.check(["ada", "work"], [ada.user, stranger.user])


async def test_the_same_assertion_does_not_log_in_and_link(people: People) -> None:
    ada = await people.log_in("ada")
    login = login_as(people.name("work"))
    session = await people.accounts.session_of_token(ada.token)
    await people.accounts.link(session, login, KEYS)
    for use in (
        lambda: people.accounts.link(session, login, KEYS),
        lambda: people.accounts.sign_in(login, KEYS, device_name="d", device_id=None),
    ):
        with pytest.raises(LoginRefused):
            await use()


async def test_an_account_has_a_bounded_number_of_identities(people: People, config: Config) -> None:
    ada = await people.log_in("ada")
    for n in range(config.limits.identities_per_user - 1):
        await people.link(ada, f"other-{n}")
    with pytest.raises(LimitReached):
        await people.link(ada, "one more")


async def test_a_signed_out_session_links_nothing(people: People) -> None:
    ada = await people.log_in("ada")
    session = await people.accounts.session_of_token(ada.token)
    await people.accounts.sign_out(session)
    with pytest.raises(Unauthenticated):
        await people.accounts.link(session, login_as(people.name("work")), KEYS)
    assert await people.owner("work") is None


async def test_a_deletion_takes_all_identities_and_sessions_with_it(people: People, registry: Registry) -> None:
    ada = await people.log_in("ada")
    await people.link(ada, "work")
    by_work = await people.log_in("work")
    await people.accounts.delete_account(ada.user)
    assert [await people.owner(name) for name in ("ada", "work")] == [None, None]
    assert await registry.sessions.live([hash_session_token(each.token) for each in (ada, by_work)]) == [False, False]
    assert (await people.log_in("work")).user != (await people.log_in("ada")).user == ada.user


async def test_an_account_of_before_there_were_lists_of_identities_goes_on(people: People, registry: Registry) -> None:
    ada = await people.log_in("ada")
    await registry.link.ask("DEL", registry.users._store.keys.user(ada.user, "identities"))
    assert (await people.log_in("ada")).user == ada.user
    await people.check(["ada"], [ada.user])


# --- beside keys that move, and browsers -----------------------------------------------------------------------------


async def entries_left(people: People, user: UserId) -> int:
    count: int = await people.registry.link.ask("HLEN", people.registry.users._store.keys.user(user, "identities"))
    return count


async def test_while_the_index_moves_an_identity_is_one_under_both_keys(people: People, registry: Registry) -> None:
    both, _ = rotation.with_new(KEYS, "identity_index")
    ada = await people.log_in("ada")
    session = await people.accounts.session_of_token(ada.token)
    login = login_as(people.name("work"))
    _, new = await people.accounts.link(session, login, both)
    assert new
    assert (await people.log_in("work")).user == ada.user  # by an api that has the old key only
    by_both = await people.accounts.sign_in(login_as(people.name("work")), both, device_name="d", device_id=None)
    assert by_both.user == ada.user
    assert len(await people.accounts.identities(session)) == 2
    assert await entries_left(people, ada.user) == 3
    (linked,) = await people.identity_ids(ada.user, "work")
    await people.accounts.unlink(ada.user, linked)
    entries = both.index_entries(login.principal)
    assert await registry.sessions.users_of(entries) == [None, None]
    assert await entries_left(people, ada.user) == 1


async def test_a_key_of_the_index_that_goes_takes_its_entries_out_of_the_lists_and_nobody_from_his_account(
    people: People, registry: Registry
) -> None:
    both, _ = rotation.with_new(KEYS, "identity_index")
    ada, bob = await people.log_in("ada"), await people.log_in("bob")
    moved = await people.accounts.sign_in(login_as(people.name("ada")), both, device_name="d", device_id=None)
    assert (moved.user, await entries_left(people, ada.user)) == (ada.user, 2)
    await rotation.retire_index(registry, both, rotation.FIRST, force=True, on_share=lambda _: None)
    assert [await entries_left(people, each.user) for each in (ada, bob)] == [1, 1]
    only_new = rotation.without(both, rotation.FIRST)
    for each, name in ((ada, "ada"), (bob, "bob")):  # bob made his account, though the index has lost him
        again = await people.accounts.sign_in(login_as(people.name(name)), only_new, device_name="d", device_id=None)
        assert again.user == each.user


async def test_a_user_who_has_signed_out_everywhere_is_no_browser_that_was_not_seen(
    people: People, shift: Shift
) -> None:
    ada = await people.log_in("ada")
    await people.accounts.sign_out_everywhere(ada.user)
    shift.ms = 100 * DAY_MS
    assert not await people.accounts.forget_browser(ada.user, 60 * DAY_MS)
    counts = await people.registry.users.count(ada.user)
    assert counts is not None
    assert counts.browser_unseen_ms is None


async def test_a_device_of_nobody_stands_for_nothing(registry: Registry) -> None:
    assert await registry.users.count(UserId("nobody")) is None
    session = hash_session_token("x")
    await registry.sessions.begin(
        session, UserId("nobody"), DeviceId("d"), provider="browserid", expires_at_ms=2**50, lasts_ms=60_000
    )
    with pytest.raises(Exception, match="cannot prove"):
        await registry.sessions.find(session)
