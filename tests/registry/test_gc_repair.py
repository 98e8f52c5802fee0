"""The count and the slow repair: what the indexes lost comes back, what leads to nobody goes, idle devices go."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import trio

from pushctl.config.model import Config
from pushctl.errors import StoreUnavailable
from pushctl.ids import ConnectionId, DeviceId, ServerId, SessionHash, UserId
from pushctl.inbox.accounts import Accounts
from pushctl.protocol import jobs
from pushctl.registry import Registry, open_registry
from pushctl.registry.index import Census
from pushctl.registry.keys import Keys, shard_of
from pushctl.registry.store import DAY_MS
from roles.gc import repair, run_once
from roles.gc.census import Done, Idle, take_census
from roles.gc.repair import Repaired, Rounds, Walk, repair_all
from roles.gc.serve import GcRole
from tests.metrics import values
from tests.registry.conftest import Shift
from tests.registry.test_gc import sweep
from tests.registry.test_messages import ADA, Inbox


@pytest.fixture
async def inbox(registry: Registry) -> Inbox:
    """ADA's, who has logged in as the principal 'i'."""
    await registry.sessions.user_of("i", ADA)
    inbox = Inbox(registry)
    await inbox.prepare()
    return inbox


@pytest.fixture
def keys(config: Config) -> Keys:
    return Keys(config.redis.prefix)


async def count(registry: Registry, config: Config, idle_device_days: float = 0) -> tuple[Census, Done]:
    idle = Idle.configured(replace(config.gc, idle_device_days=idle_device_days))
    return await take_census(registry, Accounts(registry, config), idle)


async def listed(registry: Registry) -> Sequence[UserId]:
    return (await registry.users.listing.some(shard_of(ADA), 0, 1000))[1]


# --- the count -------------------------------------------------------------------------------------------------------


async def test_the_census_counts_what_is_there(registry: Registry, config: Config, inbox: Inbox, shift: Shift) -> None:
    await inbox.append(b"one")
    await inbox.append(b"short", lifetime_ms=20_000)
    shift.ms = 22_000
    census, done = await count(registry, config)
    assert (census.users, census.devices, census.push_urls, census.unread) == (1, 1, 1, 1)
    assert await registry.index.census() == census
    assert done == Done()


async def test_the_census_repairs_an_index_that_lost_its_hint(
    registry: Registry, config: Config, inbox: Inbox, shift: Shift
) -> None:
    await inbox.append(b"short", lifetime_ms=20_000)  # and nobody told the index
    await count(registry, config)
    shift.ms = 22_000
    swept = await sweep(registry)
    assert (swept.users, swept.messages) == (1, 1)


async def test_one_daemon_at_a_time_takes_a_turn(registry: Registry) -> None:
    assert await registry.index.take_turn("census", 60_000)
    assert not await registry.index.take_turn("census", 60_000)


async def test_a_user_who_was_lost_leaves_the_index(
    registry: Registry, config: Config, inbox: Inbox, keys: Keys
) -> None:
    await registry.link.ask("DEL", keys.user(ADA, "meta"))
    census, done = await count(registry, config)
    assert (census.users, done.unlisted) == (0, 1)
    assert await listed(registry) == []


# --- indexes that agree with what is there ---------------------------------------------------------------------------


async def test_whoever_writes_an_index_looks_again(registry: Registry, inbox: Inbox, keys: Keys) -> None:
    """As if a log-in had come between the look that said 'gone' and the writing, and the other way round."""
    await registry.users.listing.agree(ADA, "i", there=False)
    assert await listed(registry) == [ADA]
    assert await registry.link.ask("GET", keys.identity("i")) == b"ada"
    await registry.users.delete(ADA)
    await registry.users.listing.agree(ADA, "i", there=True)
    assert await listed(registry) == []
    assert await registry.link.ask("GET", keys.identity("i")) is None


async def test_an_identity_that_leads_to_another_user_is_left_alone(
    registry: Registry, inbox: Inbox, keys: Keys
) -> None:
    await registry.users.register(UserId("bob"), device=None, name="b", session=SessionHash("s2"), identity="j")
    await registry.link.ask("SET", keys.identity("i"), "bob")  # linked, after the keys were rotated
    assert (await repair_all(registry)).identities == 0
    deleted = await registry.users.delete(ADA)
    await registry.users.finish_deletion(ADA, deleted)
    assert await registry.link.ask("GET", keys.identity("i")) == b"bob"


# --- the slow repair -------------------------------------------------------------------------------------------------


async def test_a_user_whom_no_index_names_is_found(registry: Registry, inbox: Inbox, keys: Keys) -> None:
    assert await repair_all(registry) == Repaired()
    await registry.link.ask("SREM", keys.shard(shard_of(ADA), "users"), ADA)
    await registry.link.ask("DEL", keys.identity("i"))
    assert await repair_all(registry) == Repaired(users=1, identities=1)
    assert await listed(registry) == [ADA]
    assert await registry.sessions.user_of("i", UserId("another")) == ADA
    assert await repair_all(registry) == Repaired()


async def test_an_identity_goes_only_when_its_user_is_proved_to_be_no_more(
    registry: Registry, config: Config, inbox: Inbox, keys: Keys
) -> None:
    await registry.sessions.user_of("j", UserId("bob"))  # a log-in that went no further, or a user who was lost
    assert await repair_all(registry) == Repaired()
    await Accounts(registry, config).delete_account(ADA)
    await registry.sessions.user_of("i", ADA)
    assert await repair_all(registry) == Repaired(strays=1)
    assert await registry.link.ask("EXISTS", keys.identity("i")) == 0
    assert await registry.link.ask("EXISTS", keys.identity("j")) == 1


async def test_the_identity_of_an_unfinished_deletion_waits_for_its_turn(registry: Registry, inbox: Inbox) -> None:
    """Else the index of users would forget a user whose sessions have not ended."""
    await registry.users.delete(ADA)
    assert await registry.users.listing.stray(["i"]) == []
    assert (await repair_all(registry)).deletions == 1
    assert await registry.users.listing.stray(["i"]) == []


async def test_keys_without_their_user_get_an_end_and_are_not_deleted(
    registry: Registry, config: Config, inbox: Inbox, keys: Keys
) -> None:
    lasting = [keys.user(ADA, noun) for noun in ("devices", "push_urls", "push_url_order", "sites")]
    assert await registry.keyspace.fade([ADA]) == 0
    assert [await registry.link.ask("PTTL", key) for key in lasting] == [-1] * 4
    await registry.link.ask("DEL", keys.user(ADA, "meta"))
    assert (await repair_all(registry)).faded == 5
    longest = config.messages.max_lifetime_seconds * 1000 + 2 * DAY_MS
    left = [await registry.link.ask("PTTL", key) for key in lasting]
    assert all(DAY_MS < ms < longest for ms in left), left
    assert (await repair_all(registry)).faded == 0
    # Who comes back begins anew, with keys that last.
    await registry.users.register(ADA, device=None, name="b", session=SessionHash("s9"), identity="i")
    assert await registry.link.ask("PTTL", lasting[0]) == -1
    assert await registry.push_urls.all(ADA) == []


async def test_other_installations_are_none_of_its_business(
    registry: Registry, inbox: Inbox, config: Config, keys: Keys
) -> None:
    other = Keys(f"{config.redis.prefix}:{{u:x}}")
    await registry.link.ask("SET", f"{config.redis.prefix}x:identity:k", "nobody")
    await registry.link.ask("HSET", f"{config.redis.prefix}x:{{u:bob}}:devices", "d", "x")
    await registry.link.ask("HSET", other.user(ADA, "devices"), "d", "x")
    assert await repair_all(registry) == Repaired()


async def test_a_round_is_spread_over_its_time(
    registry: Registry, inbox: Inbox, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(3000):
        registry.link.post("SET", f"{keys.prefix}:session:{n}", "x", "PX", 60_000)
    walk = Walk(registry, await registry.keyspace.masters())
    await walk.step()
    assert 0 < walk.share < 1
    assert not walk.finished
    # At the start one step is due, however much there is; when the time is over, all of them, STEPS in one go.
    slow = Rounds(registry, 86_400)
    await slow.catch_up()
    assert slow._walk is not None
    assert slow._walk._taken == 1
    monkeypatch.setattr(repair, "STEPS", 2)
    await slow.catch_up()
    assert slow._walk._taken == 1
    await registry.link.ask("SREM", keys.shard(shard_of(ADA), "users"), ADA)
    quick = Rounds(registry, 0.001)
    repaired = Repaired()
    took = 0
    while quick._walk is None or not quick._walk.finished:
        repaired += await quick.catch_up()
        took += 1
        assert took < 1000  # keys of other tests are walked through, too
    assert repaired == Repaired(users=1)
    assert took >= 3


async def test_a_round_that_redis_interrupted_goes_on_where_it_was(
    registry: Registry, inbox: Inbox, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(3000):
        registry.link.post("SET", f"{keys.prefix}:session:{n}", "x", "PX", 60_000)
    monkeypatch.setattr(repair, "STEPS", 1)
    rounds = Rounds(registry, 0.001)
    await rounds.catch_up()
    walk = rounds._walk
    assert walk is not None
    master, walk._left[0] = walk._left[0], "nowhere"
    with pytest.raises(StoreUnavailable):
        await rounds.catch_up()
    walk._left[0] = master
    before = walk.share
    await rounds.catch_up()
    assert rounds._walk is walk
    assert walk.share > before
    # On another master the cursor means nothing.
    walk.masters = {"elsewhere": 1}.keys()
    await rounds.catch_up()
    assert rounds._walk is not walk


async def test_a_prefix_is_taken_word_by_word(config: Config) -> None:
    odd = replace(config, redis=replace(config.redis, prefix=f"{config.redis.prefix}[*?]\\"))
    async with open_registry(odd, name="test") as registry:
        await Inbox(registry).prepare()
        await registry.link.ask("SREM", Keys(odd.redis.prefix).shard(shard_of(ADA), "users"), ADA)
        assert (await repair_all(registry)).users == 1


# --- idle devices ----------------------------------------------------------------------------------------------------


async def test_idle_devices_go_but_never_a_connected_one_nor_the_last(
    registry: Registry, config: Config, inbox: Inbox, keys: Keys, shift: Shift
) -> None:
    users = registry.users

    async def add(name: str) -> DeviceId:
        session = SessionHash(f"of {name}")
        await registry.sessions.begin(
            session, ADA, DeviceId(name), provider="browserid", expires_at_ms=1, lasts_ms=60_000
        )
        await users.register(ADA, device=None, new_device=DeviceId(name), name=name, session=session, identity="i")
        return DeviceId(name)

    phone, tablet = await add("phone"), await add("tablet")
    await registry.presence.claim(
        ADA, tablet, ConnectionId("c"), session=SessionHash("of tablet"), server=ServerId("s"), generation=1, rank=0
    )
    shift.ms = 10 * DAY_MS
    watch = await add("watch")
    assert (await count(registry, config))[1].devices == 0  # off by default
    assert (await count(registry, config, idle_device_days=11))[1].devices == 0
    census, done = await count(registry, config, idle_device_days=9)
    assert (census.devices, done.devices) == (2, 2)
    assert (await users.devices(ADA))[0].keys() == {tablet, watch}
    assert await registry.sessions.live([SessionHash(f"of {each}") for each in (phone, tablet, watch)]) == [
        False,
        True,
        True,
    ]
    partition = shard_of(ADA, registry.jobs.partitions)
    stream = await registry.link.ask("XRANGE", keys.route(partition, registry.jobs.partitions), "-", "+")
    told = [jobs.decode_job(fields[1]) for _, fields in stream]
    assert {session for job in told if isinstance(job, jobs.SessionEnds) for session in job.sessions} == {
        "s1",
        "of phone",
    }
    # All are idle: the one that was seen last stays.
    await registry.presence.release([(ADA, ConnectionId("c"))])
    shift.ms = 100 * DAY_MS
    assert (await count(registry, config, idle_device_days=9))[1].devices == 1
    assert (await users.devices(ADA))[0].keys() == {watch}
    assert (await count(registry, config, idle_device_days=9))[1].devices == 0
    assert len(await registry.push_urls.all(ADA)) == 1


# --- the role and --once ---------------------------------------------------------------------------------------------


async def test_once_does_all_of_it(registry: Registry, config: Config, inbox: Inbox, keys: Keys) -> None:
    bob = UserId("bob")
    await registry.sessions.user_of("j", bob)
    await registry.users.register(bob, device=None, name="b", session=SessionHash("s2"), identity="j")
    await registry.users.delete(bob)
    await registry.link.ask("SREM", keys.shard(shard_of(ADA), "users"), ADA)
    registry.index.expires(ADA, 1)
    await registry.link.ask("HSET", keys.servers("seen"), "long dead", 1)
    assert (await run_once(config)).users == 1
    assert await registry.link.ask("EXISTS", keys.servers("seen")) == 0
    assert await listed(registry) == [ADA]
    assert await registry.users.unfinished_deletion(bob) is None
    assert await registry.link.ask("EXISTS", keys.identity("j")) == 0
    assert await registry.index.census() is not None


async def test_a_daemon_repairs_and_counts_what_it_did(
    registry: Registry, config: Config, inbox: Inbox, keys: Keys
) -> None:
    await registry.users.delete(ADA)
    await registry.users.register(UserId("bob"), device=None, name="b", session=SessionHash("s2"), identity="i2")
    for user in (ADA, UserId("bob")):  # the count finds nobody: it would finish the deletion, too, and say so
        await registry.link.ask("SREM", keys.shard(shard_of(user), "users"), user)
    role = GcRole(replace(config, gc=replace(config.gc, tick_seconds=0.1, repair_seconds=0.1)))

    def done() -> bool:
        repaired = values(role.metrics)
        return all(repaired.get(("pushctl_gc_repaired_total", (what,))) == 1 for what in ("listing", "deletion"))

    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: role.serve(task_status=task_status))
        with trio.fail_after(10):
            while not done():  # noqa: ASYNC110 - what a daemon has done shows in its metrics
                await trio.sleep(0.01)
        await role.drain()
    assert await registry.users.unfinished_deletion(ADA) is None
