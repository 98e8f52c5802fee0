"""The key space: every key is on the map (registry/keys.py), of its type, no larger and for no longer than it says."""

import fnmatch
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pushctl import registry as registry_package
from pushctl.config.model import Config
from pushctl.errors import Problem
from pushctl.ids import START, ConnectionId, Cursor, MessageRef, PushUrlId, ServerId, SessionHash, UserId
from pushctl.inbox.accounts import Accounts
from pushctl.rates import Rate
from pushctl.registry import Registry, keys, open_registry
from pushctl.registry.broadcasts import MAX_BROADCASTS
from pushctl.registry.identities import SETTLE_IDENTITY
from pushctl.registry.key_holders import About, Report
from pushctl.registry.keys import MAX_STUBS, shard_of
from pushctl.registry.offices import Seats
from pushctl.registry.presence import LEASE_MS
from pushctl.registry.processes import ProcessRow
from pushctl.registry.servers import Row as ServerRow
from pushctl.registry.store import DAY_MS, LOG_MARGIN_MS, TOMBSTONE_MS
from pushctl.registry.wishes import Wish
from roles.api.receipts import LASTS_MS
from roles.gc import sweeps
from roles.gc.census import take_census
from roles.gc.repair import repair_all
from tests.registry.test_messages import ADA, Inbox

# --- the walker ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A line of the map."""

    pattern: str
    kind: str
    lives: str


MAP = [
    Row(*row) for row in re.findall(r"^  P:(\S+) +(\S+) +\S.*?  +(\S.*?)(?:  .*)?$", keys.__doc__ or "", re.MULTILINE)
]

COUNT = {"hash": "HLEN", "zset": "ZCARD", "set": "SCARD", "stream": "XLEN", "string": "STRLEN"}
MAX_STRING = 400
"""Bytes: a session, an identity, a census. Bodies are in hashes."""


def longest_ms(row: Row, config: Config) -> int | None:
    """How much longer a key may live at most; None: it has no end of its own."""
    known = {
        "volatile": config.messages.max_lifetime_seconds * 1000 + LOG_MARGIN_MS + DAY_MS,
        "a day": TOMBSTONE_MS,
        "30 min": LEASE_MS,
        "a minute": 60_000,
        "5 min": 300_000,
        "the session": config.identity.session_ttl_seconds * 1000,
        "the assertion": 3_600_000,
        "a turn": 3_600_000,
        "while one": max(RATE.most_us // 1000, 60_000),
    }
    if row.lives.startswith(("until", "for good")):
        return None
    (longest,) = [ms for word, ms in known.items() if row.lives.startswith(word)]
    return longest


def most(row: Row, config: Config) -> int | None:
    """How many elements a key may have; None: bounded by how many users, servers or roles there are."""
    limits, noun = config.limits, row.pattern.rpartition(":")[2]
    if row.kind == "string":
        return MAX_STRING
    if row.pattern.startswith("{rates:"):
        return keys.MAX_BUCKETS
    return {
        "rates": limits.push_urls_per_user + 1,
        "meta": 9,
        "gone": 4,
        "identities": limits.identities_per_user,
        "lease": 3,
        "repair": 3,
        "broadcasts": MAX_BROADCASTS + 1,
        "devices": limits.devices_per_user,
        "ghosts": limits.log_events_per_user,
        "log": limits.log_events_per_user,
        "stubs": MAX_STUBS,
        "stub_expiry": MAX_STUBS,
        **dict.fromkeys(("push_urls", "push_url_order", "sites", "bytes_by_url"), limits.push_urls_per_user),
        **dict.fromkeys(("messages", "unread", "unread_by_url", "expiry", "topics"), limits.unread_per_user),
        "{route*}": config.routing.max_jobs,
    }.get(noun)


async def walk(registry: Registry, config: Config) -> dict[str, Row]:
    """Every key of the registry, without the prefix, and its row. Fails for one that is not what the map says."""
    prefix = config.redis.prefix
    replies = await registry.link.ask_masters("KEYS", f"{prefix}:*")
    found = {}
    for key in sorted(key for reply in replies.values() for key in reply):
        name = key.decode().removeprefix(f"{prefix}:")
        rows = [row for row in MAP if fnmatch.fnmatchcase(name, row.pattern)]
        assert len(rows) == 1, f"{name}: {len(rows)} rows of the map"
        (row,) = rows
        kind, left_ms = await registry.link.ask_all([("TYPE", key), ("PTTL", key)])
        if kind == b"none":
            continue  # it has just ended
        assert kind.decode() == row.kind, f"{name}: {kind}"
        longest = longest_ms(row, config)
        if longest is None or await may_wait(registry, row, key):
            assert left_ms == -1, f"{name} ends in {left_ms} ms"
        else:
            assert 0 <= left_ms <= longest, f"{name} lives {left_ms} ms longer, not {row.lives}"
        size, bound = await registry.link.ask(COUNT[row.kind], key), most(row, config)
        assert bound is None or size <= bound, f"{name} has {size} elements"
        found[name] = row
    return found


async def may_wait(registry: Registry, row: Row, key: bytes) -> bool:
    """Whether the key's time has not begun: a deletion is not finished, a stream has never had a job."""
    if row.pattern.endswith(":gone"):
        return bool(await registry.link.ask("HEXISTS", key, "epoch"))
    if row.pattern == "{route:*}":
        return not await registry.link.ask("XLEN", key)
    return False


# --- a registry with everything in it --------------------------------------------------------------------------------

RATE = Rate(1, 10)
SERVER, CONNECTION = ServerId("s1"), ConnectionId("c1")


async def populate(registry: Registry, config: Config) -> Inbox:
    """Everything the registry can write is there afterwards: ADA with all she can have, and bob, who deleted his
    account."""
    inbox = Inbox(registry)
    await registry.adopt("ours")
    await registry.sessions.user_of("i", ADA)
    await registry.sessions.first_use("d", 60_000)
    await inbox.prepare()
    await registry.sessions.begin(
        SessionHash("s1"), ADA, inbox.device, provider="browserid", expires_at_ms=1, lasts_ms=60_000
    )
    await inbox.append(b"one", topic="t", idempotency_key="k")
    waited_for = await inbox.append(b"two", topic="t")
    await registry.messages.awaited_state(ADA, waited_for.ref, registry.receipts.channel, LASTS_MS)
    await inbox.allow("https://b.example")
    revoked = inbox.url
    await inbox.allow("https://c.example")
    await inbox.append(b"three")
    await registry.push_urls.revoke(ADA, revoked)
    await registry.rates.charge("kind", 0, RATE, [("somebody", 1_000_000)])
    generation = await registry.servers.new_generation(SERVER)
    await registry.servers.heartbeat(SERVER, ServerRow("ready", "ws://s1/", 1, 10, generation, "0", "now"))
    report = Report(known=["AAAA", "index:"], seals=["AAAA"], opens=[], claims=["index:"])
    await registry.key_holders.report("api-1", report, About("api", "api", "host", 1, "0"))
    await registry.processes.report("api-1", ProcessRow("api", "api", "host", 1, "0", "now"))
    await registry.offices.look("office", [Seats(SERVER, 0, 1)])
    await registry.broadcasts.set("news", "1")
    await registry.wishes.wish(SERVER, generation, Wish(drain=True, by="ops", at_ms=0, over_ms=1000))
    await registry.presence.claim(
        ADA, inbox.device, CONNECTION, session=SessionHash("s1"), server=SERVER, generation=generation, rank=0
    )
    registry.jobs.put(ADA, b"job")
    await registry.jobs.join("router", registry.jobs.partition_of(ADA))
    registry.index.expires(ADA, 1)
    registry.index.expires(UserId("nobody"), 1)
    bob = UserId("bob")
    await registry.sessions.user_of("j", bob)
    await registry.users.register(bob, device=None, name="b", session=SessionHash("s2"), identity="j")
    await Accounts(registry, config).delete_account(bob)
    await sweeps.sweep(registry, "daemon", limit=1000)
    await take_census(registry, Accounts(registry, config))
    await registry.index.take_turn("census", 60_000)
    await registry.index.take_repair("daemon")
    return inbox


async def test_every_key_is_on_the_map_and_lives_as_long_as_it_says(registry: Registry, config: Config) -> None:
    await populate(registry, config)
    found = await walk(registry, config)
    assert len(MAP) > 30
    assert {row.pattern for row in found.values()} == {row.pattern for row in MAP}, "the map has keys nobody writes"


async def test_what_is_at_its_limit_is_within_the_bound(config: Config) -> None:
    limits = replace(
        config.limits,
        push_urls_per_user=3,
        devices_per_user=2,
        unread_per_user=5,
        unread_per_push_url=4,
        log_events_per_user=100,
    )
    small = replace(config, limits=limits)
    async with open_registry(small, name="test") as registry:
        inbox = await populate(registry, small)
        await registry.users.register(ADA, device=None, name="c", session=SessionHash("s3"), identity="i")
        await inbox.allow("https://d.example")
        for n in range(130):
            await inbox.append(b"%d" % n, topic=f"t{n % 9}")
        await walk(registry, small)
        keys_of = registry.users._store.keys
        full = await registry.link.ask_all(
            [
                ("HLEN", keys_of.user(ADA, "devices")),
                ("HLEN", keys_of.user(ADA, "push_urls")),
                ("ZCARD", keys_of.user(ADA, "unread_by_url")),
                ("XLEN", keys_of.user(ADA, "log")),
            ]
        )
        assert full == [2, 3, 5, 100]


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        (("SET", "secret", "x"), "0 rows"),
        (("SET", "{u:ada}:meta", "x"), "meta: b'string'"),
        (("PERSIST", "{u:ada}:messages"), "not volatile"),
        (("PEXPIRE", "{u:ada}:messages", 10**9), "not volatile"),
        (("PEXPIRE", "{u:ada}:devices", 10**9), "devices ends"),
        (("PERSIST", "{u:bob}:gone"), "not a day once finished"),
        (("HSET", "{u:ada}:meta", "email", "a@b"), "10 elements"),
    ],
)
async def test_the_walk_notices_what_the_map_does_not_say(
    registry: Registry, config: Config, command: tuple[str, str, str | int], complaint: str
) -> None:
    await populate(registry, config)
    name, key, *rest = command
    if key.endswith(":gone"):
        await registry.link.ask("PEXPIRE", f"{config.redis.prefix}:{key}", 5000)
    await registry.link.ask(name, f"{config.redis.prefix}:{key}", *rest)
    with pytest.raises(AssertionError, match=complaint):
        await walk(registry, config)


# --- after a deletion ------------------------------------------------------------------------------------------------


def calls(inbox: Inbox) -> dict[str, Callable[[], Awaitable[object]]]:
    """Every script that is given a user's meta, called through its method."""
    registry, message, ref = inbox.registry, inbox.message(b"x", idempotency_key="again"), MessageRef(1, 1, "k1", 2**50)
    identities = registry.identities
    messages, presence, users, push_urls = registry.messages, registry.presence, registry.users, registry.push_urls
    cursor, device, session = Cursor("0" * 16, START), inbox.device, SessionHash("s1")
    return {
        "acknowledge": lambda: messages.acknowledge(ADA, [(device, cursor)]),
        "allow": lambda: inbox.allow("https://new.example"),
        "announce": lambda: messages.announce(ADA, message),
        "append": lambda: messages.append(ADA, message),
        "await_receipt": lambda: messages.awaited_state(ADA, ref, "channel", 1000),
        "browser": lambda: registry.browsers.find(ADA),
        "cancel": lambda: messages.cancel(ADA, ref),
        "claim": lambda: presence.claim(ADA, device, CONNECTION, session=session, server=SERVER, generation=1, rank=0),
        "count": lambda: users.count(ADA),
        "delete_user": lambda: users.delete(ADA),
        "device_remove": lambda: users.remove_device(ADA, device),
        "devices": lambda: users.devices(ADA),
        "end_session": lambda: users.end_session(ADA, device, session),
        "end_sessions": lambda: users.end_sessions(ADA),
        "fade": lambda: registry.keyspace.fade([ADA]),
        "forget_browser": lambda: registry.browsers.forget_idle(ADA, 0),
        "identities": lambda: identities.all(ADA, device),
        "idle_devices": lambda: users.remove_idle_devices(ADA, 0),
        "inspect_message": lambda: registry.inspection.message(ADA, 1, 1, 2**50),
        "inspect_push_url": lambda: registry.inspection.push_url(ADA, inbox.url),
        "inspect_user": lambda: registry.inspection.user(ADA),
        "link_identity": lambda: identities.link(
            ADA, "k", device=device, session=session, provider="browserid", generation=None
        ),
        "message_state": lambda: messages.state(ADA, ref),
        "push_urls": lambda: push_urls.all(ADA),
        "read": lambda: messages.read(ADA, [ref]),
        "reconcile": lambda: presence.reconcile({ADA: [(CONNECTION, device, session)]}, server=SERVER, generation=1),
        "register": lambda: users.register(ADA, device=device, name="x", session=SessionHash("s1"), identity="i"),
        "revoke": lambda: push_urls.revoke(ADA, inbox.url),
        "settle": lambda: registry.browsers.settle(ADA, [ref]),
        "settle_identity": lambda: registry.users._store.run(SETTLE_IDENTITY, ADA, rest=["k"], ours=1),
        "subscribe": lambda: registry.browsers.subscribe(
            ADA, "c", new_id=PushUrlId("new"), vapid_key=None, key_id="k1"
        ),
        "sweep": lambda: users.sweep(ADA, 100),
        "sync": lambda: inbox.sync(cursor),
        "undelivered": lambda: registry.browsers.undelivered(ADA, None, 0, limit=10, page_bytes=10_000),
        "unlink_identity": lambda: identities.unlink(ADA, "x"),
        "unsubscribe": lambda: registry.browsers.unsubscribe(ADA, "c"),
        "unread": lambda: messages.unread(ADA, 0, 100),
        "withdraw": lambda: presence.withdraw(ADA, device, CONNECTION),
    }


async def of_ada(registry: Registry, config: Config) -> set[str]:
    """What is left of ADA, who has one device, in a key space that is as the map says."""
    listed = await registry.users.listing.some(shard_of(ADA), 0, 1000)
    hers = {name for name in await walk(registry, config) if f"{{u:{ADA}}}" in name or name.startswith("session:")}
    identity = await registry.link.ask("GET", registry.users._store.keys.identity("i"))
    return hers | ({"listed"} if ADA in listed[1] else set()) | ({"identity"} if identity else set())


GONE = f"{{u:{ADA}}}:gone"
LEASES = {f"{{u:{ADA}}}:presence", f"{{u:{ADA}}}:idem:"}
"""What goes by itself after minutes."""


def but_leases(names: set[str]) -> set[str]:
    return {name for name in names if not name.startswith(tuple(LEASES))}


async def test_no_script_leaves_anything_after_a_deletion(registry: Registry, config: Config) -> None:
    inbox = await populate(registry, config)
    await Accounts(registry, config).delete_account(ADA)
    before = await of_ada(registry, config)
    assert but_leases(before) == {GONE}
    scripts = Path(registry_package.__file__).with_name("scripts").glob("*.lua")
    takes_meta = {file.stem for file in scripts if re.search(r"^--!keys .*\bmeta\b", file.read_text(), re.MULTILINE)}
    every = calls(inbox)
    assert every.keys() == takes_meta
    for name, call in every.items():
        with suppress(Problem):  # gone, and each says so in its way
            await call()
        assert await of_ada(registry, config) == before, name
    presence = registry.presence
    await presence.release([(ADA, CONNECTION)])
    presence.prune(ADA, [])
    registry.index.expires(ADA, 1)
    await sweeps.sweep(registry, "daemon", limit=1000)
    await take_census(registry, Accounts(registry, config))
    assert but_leases(await of_ada(registry, config)) == {GONE}
    assert await registry.link.ask("HKEYS", registry.users._store.keys.user(ADA, "gone")) == [b"push_url_count"]


STEPS = range(5)


@pytest.mark.parametrize("done", STEPS)
@pytest.mark.parametrize("by", ["count", "repair"])
async def test_a_deletion_killed_after_any_step_is_finished_by_gc(
    registry: Registry, config: Config, done: int, by: str
) -> None:
    await populate(registry, config)
    deleted = await registry.users.delete(ADA)
    steps = registry.users.steps_after_delete(ADA, deleted)
    assert len(steps) == len(STEPS) - 1
    for step in steps[:done]:
        await step()
    left = but_leases(await of_ada(registry, config))
    assert len(left) == [4, 3, 2, 2, 1][done], left  # session, identity, listed; the tombstone
    if by == "repair":
        if done < 3:
            # As if the write into the index of users had been lost: only the walk over all keys finds the tombstone.
            await registry.link.ask("SREM", registry.users._store.keys.shard(shard_of(ADA), "users"), ADA)
        await repair_all(registry)
    if by == "count" or done >= 3:
        await take_census(registry, Accounts(registry, config))
    assert but_leases(await of_ada(registry, config)) == {GONE}
    assert 0 < await registry.link.ask("PTTL", registry.users._store.keys.user(ADA, "gone")) <= TOMBSTONE_MS


@pytest.mark.parametrize("done", STEPS)
async def test_an_account_begins_only_when_the_one_before_it_has_ended(
    registry: Registry, config: Config, done: int
) -> None:
    await populate(registry, config)
    old = SessionHash("s1")
    deleted = await registry.users.delete(ADA)
    steps = registry.users.steps_after_delete(ADA, deleted)
    for step in steps[:done]:
        await step()
    assert await registry.sessions.live([old]) == [done == 0]
    again = await registry.users.register(ADA, device=None, name="b", session=SessionHash("s4"), identity="i")
    assert again.new_user
    # Old session tokens would open the new account.
    assert await registry.sessions.live([old]) == [False]
    # Whoever was frozen in the middle of the deletion goes on with it now, and hurts nothing.
    for step in steps[done:]:
        await step()
    await registry.sessions.begin(
        SessionHash("s4"), ADA, again.device, provider="browserid", expires_at_ms=1, lasts_ms=60_000
    )
    await take_census(registry, Accounts(registry, config))
    left = {name.rpartition(":")[2] for name in but_leases(await of_ada(registry, config))}
    assert left == {"meta", "devices", "identities", "s4", "listed", "identity"}
    # And what it left is no trace of a deletion that a later one could be taken for.
    later = await registry.users.delete(ADA)
    await registry.users._bury(ADA, deleted)
    assert await registry.users.unfinished_deletion(ADA) == later
