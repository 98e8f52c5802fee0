"""Taking keys out, and what hangs on them: push URLs, messages, entries of the identity index."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from pushctl import rotation
from pushctl.config.model import Config
from pushctl.errors import NotGood
from pushctl.identity.keys import Key, Keys
from pushctl.identity.principals import Principal
from pushctl.ids import PushUrlId, SessionHash, UserId, new_id
from pushctl.keyring import report_of
from pushctl.registry import Registry, open_registry
from pushctl.registry.key_holders import FRESH_MS, About
from pushctl.registry.store import DAY_MS

KEYS = Keys.generate()
OLD = KEYS.sealing_keys[0].id
ALICE, BOB = (Principal("browserid", "", f"{name}@idp.example") for name in ("alice", "bob"))
ADA = UserId("ada")


class Moved:
    ms = 0


@pytest.fixture
async def registry(config: Config) -> AsyncIterator[Registry]:
    Moved.ms = 0
    async with open_registry(config, name="test", shift_ms=lambda: Moved.ms) as registry:
        yield registry


async def report(registry: Registry, keys: Keys, role: str = "a") -> str | None:
    told = await registry.key_holders.report(role, report_of(keys), About("api", role, "host", 1, "0"))
    return told.seal_with


async def allow(registry: Registry, key_id: str, site: str = "https://a.example", user: UserId = ADA) -> PushUrlId:
    if await registry.users.count(user) is None:
        await registry.users.register(user, device=None, name="d", session=SessionHash(new_id()), identity=user)
    push_url = PushUrlId(new_id())
    await registry.push_urls.allow(user, new_id=push_url, site=site, vapid_key=None, icon=None, key_id=key_id)
    return push_url


async def rotated(registry: Registry) -> Keys:
    """A service whose sealing key was changed a week ago."""
    assert await report(registry, KEYS) == OLD
    brought, key = rotation.with_new(KEYS, "sealing")
    keys = rotation.promoted(brought, key.id)
    for _ in range(2 + FRESH_MS // 2000):
        Moved.ms += 2000
        await report(registry, keys)
    Moved.ms += 7 * DAY_MS
    assert await report(registry, keys) == key.id
    return keys


async def retire(registry: Registry, config: Config, key_id: str, *, force: bool = False) -> int:
    return await rotation.retire_sealing(registry, config, key_id, force=force, on_share=lambda _: None)


async def test_a_key_goes_when_nothing_hangs_on_it(registry: Registry, config: Config) -> None:
    keys = await rotated(registry)
    assert await retire(registry, config, OLD) == 0
    left = rotation.without(keys, OLD)
    assert [key.id for key in left.sealing_keys] == [keys.sealing_keys[0].id]
    assert await report(registry, left) == keys.sealing_keys[0].id


async def test_a_key_that_sealed_a_live_push_url_stays_and_a_role_without_it_does_not_start(
    registry: Registry, config: Config
) -> None:
    keys = await rotated(registry)
    push_url = await allow(registry, OLD)
    await allow(registry, keys.sealing_keys[0].id, "https://b.example")
    with pytest.raises(NotGood, match=f"1 live push URLs are sealed with {OLD}"):
        await retire(registry, config, OLD)
    without = report_of(rotation.without(keys, OLD))
    started = await registry.key_holders.report("b", without, About("api", "b", "host", 1, "0"), starting=True)
    assert started.refused
    await registry.push_urls.revoke(ADA, push_url)
    assert await retire(registry, config, OLD) == 0


async def test_no_index_that_lost_a_user_lets_a_key_go(registry: Registry, config: Config) -> None:
    await rotated(registry)
    await allow(registry, OLD)
    await registry.users.listing.agree(ADA, there=True)
    for shard in registry.index.shards:
        await registry.link.ask("DEL", registry.users._store.keys.shard(shard, "users"))
    with pytest.raises(NotGood, match="live push URLs"):
        await retire(registry, config, OLD)


async def test_the_key_in_use_is_not_retired(registry: Registry, config: Config) -> None:
    assert await report(registry, KEYS) == OLD
    with pytest.raises(NotGood, match=f"{OLD} seals: a use it"):
        await retire(registry, config, OLD)


async def test_a_key_stays_as_long_as_messages_may_be_sealed_with_it(registry: Registry, config: Config) -> None:
    keys = await rotated(registry)
    Moved.ms -= 5 * DAY_MS
    with pytest.raises(NotGood, match=r"messages may be sealed with \w{0,4}.*hours more"):
        await retire(registry, config, OLD)
    assert await report(registry, keys) == keys.sealing_keys[0].id


async def test_who_insists_is_told_what_it_took(registry: Registry, config: Config) -> None:
    await report(registry, KEYS)
    await allow(registry, OLD)
    assert await retire(registry, config, OLD, force=True) == 1
    assert await report(registry, KEYS) is None


async def test_a_rotation_goes_on_only_when_every_role_has_the_key(registry: Registry) -> None:
    with pytest.raises(NotGood, match="no new sealing key waits"):
        await rotation.pending(registry, KEYS)
    brought, key = rotation.with_new(KEYS, "sealing")
    await report(registry, brought)
    await report(registry, KEYS, "behind")
    assert await rotation.pending(registry, brought) == key
    await rotation.check_none_waits(registry, KEYS)
    with pytest.raises(NotGood, match=f"{key.id} was brought in before"):
        await rotation.check_none_waits(registry, brought)
    with pytest.raises(NotGood, match="these roles lack it: api behind@host/1"):
        await rotation.check_everybody_has(registry, key)
    await report(registry, brought, "behind")
    assert await rotation.check_everybody_has(registry, key) == 2
    states = {each.id: each.state for each in rotation.promoted(brought, key.id).sealing_keys}
    assert states == {key.id: "seals", OLD: "opens"}
    await rotation.check_none_waits(registry, rotation.promoted(brought, key.id))


async def test_status_says_of_each_key_who_has_it_and_who_seals(registry: Registry) -> None:
    brought, key = rotation.with_new(KEYS, "sealing")
    await report(registry, KEYS, "behind")
    await report(registry, brought)
    await allow(registry, OLD)
    counts = await rotation.count_push_urls(registry, lambda _: None)
    rows = {(row.kind, row.id): row for row in await rotation.status(registry, brought, counts)}
    assert rows.keys() == {
        ("sealing", OLD),
        ("sealing", key.id),
        ("user_id", KEYS.user_id_keys[0].id),
        ("identity_index", rotation.FIRST),
    }
    old, new = rows["sealing", OLD], rows["sealing", key.id]
    assert (old.state, len(old.sealing_roles), old.push_urls, old.roles_without) == ("seals", 2, 1, [])
    assert (new.state, new.sealing_roles, new.push_urls) == ("opens", [], 0)
    assert (new.roles_with, new.roles_without) == (["api a@host/1"], ["api behind@host/1"])
    assert new.used_since is None
    (lost,) = [row for row in await rotation.status(registry, rotation.without(brought, OLD)) if row.id == OLD]
    assert (lost.in_file, lost.state) == (False, "not in the file")


# --- the identity index ----------------------------------------------------------------------------------------------


def with_new_index(keys: Keys = KEYS) -> Keys:
    return rotation.with_new(keys, "identity_index")[0]


async def user_of(registry: Registry, keys: Keys, principal: Principal = ALICE) -> UserId:
    return await registry.sessions.user_of_any(keys.index_entries(principal), keys.user_id(principal))


async def test_whom_the_old_key_found_the_new_one_finds_after_a_login(registry: Registry) -> None:
    alice = await user_of(registry, KEYS)
    both = replace(with_new_index(), user_id_keys=(Key.generate(), *KEYS.user_id_keys))
    assert await user_of(registry, both) == alice
    only_new = rotation.without(both, rotation.FIRST)
    assert len(only_new.index_keys) == 1
    assert await user_of(registry, only_new) == alice
    assert await user_of(registry, only_new, BOB) != await user_of(registry, KEYS, BOB)  # who has not logged in since


@pytest.mark.parametrize("first", ["old", "both"])
@pytest.mark.parametrize("stop", range(4))
async def test_a_principal_has_one_user_whoever_is_in_between(registry: Registry, first: str, stop: int) -> None:
    """Two apis, of which one knows only the old key, at the first log-in of somebody: one is stopped after any of its
    steps, and the other comes in between. Each would make another id."""
    old = replace(KEYS, user_id_keys=(Key.generate(),))
    both = replace(with_new_index(), user_id_keys=(Key.generate(),))
    one, other = (old, both) if first == "old" else (both, old)

    async def steps(keys: Keys) -> AsyncIterator[UserId | None]:
        entries, user = keys.index_entries(ALICE), keys.user_id(ALICE)
        if entries[1:]:
            (newest,) = await registry.sessions.users_of(entries[:1])
            yield None
            if newest is not None:
                yield newest
                return
        for entry in reversed(entries):
            user = await registry.sessions.user_of(entry, user)
            yield user

    found: UserId | None = None
    between: UserId | None = None
    at = 0
    if stop == 0:
        between = await user_of(registry, other)
    async for user in steps(one):
        found, at = user, at + 1
        if at == stop:
            between = await user_of(registry, other)
    if between is None:
        between = await user_of(registry, other)
    assert found == between
    assert await user_of(registry, both) == await user_of(registry, old) == found
    assert await user_of(registry, rotation.without(both, rotation.FIRST)) == found


async def test_the_old_key_of_the_index_goes_when_everybody_has_logged_in(registry: Registry) -> None:
    both = with_new_index()
    await report(registry, both)
    alice, bob = await user_of(registry, KEYS), await user_of(registry, KEYS, BOB)
    assert await user_of(registry, both) == alice

    async def retire(force: bool = False) -> int:
        return await rotation.retire_index(registry, both, rotation.FIRST, force=force, on_share=lambda _: None)

    with pytest.raises(NotGood, match="1 users have not logged in since"):
        await retire()
    assert await user_of(registry, KEYS, BOB) == bob
    assert await user_of(registry, both, BOB) == bob
    await report(registry, KEYS, "behind")
    with pytest.raises(NotGood, match="have only the old key"):
        await retire()
    await registry.key_holders.leave("behind")
    assert await retire() == 0
    assert await registry.sessions.users_of([KEYS.index_entry(ALICE), KEYS.index_entry(BOB)]) == [None, None]
    only_new = rotation.without(both, rotation.FIRST)
    assert (await user_of(registry, only_new), await user_of(registry, only_new, BOB)) == (alice, bob)


def test_the_index_moves_to_one_new_key_at_a_time() -> None:
    with pytest.raises(NotGood, match="already moves"):
        with_new_index(with_new_index())
