"""Browsers on a real Redis: who they are, what they have not taken yet, and when they go."""

from dataclasses import replace

import pytest
import trio

from pushctl import rotation
from pushctl.config.model import Config
from pushctl.errors import PushUrlGone, StoreUnavailable
from pushctl.identity.keys import Key, Keys
from pushctl.identity.principals import UAID, Principal
from pushctl.identity.sealing import Sealer
from pushctl.ids import ConnectionId, Cursor, MessageRef, PushUrlId, ServerId, SessionHash, UserId, new_id
from pushctl.inbox import Accounts, Browser, Browsers, Inbox
from pushctl.registry import Registry
from pushctl.registry.browsers import NO_SESSION, Undelivered
from pushctl.registry.messages import NewMessage, Stored
from pushctl.registry.records import PushUrlRecord
from pushctl.registry.store import DAY_MS
from roles.gc.census import Done, Idle, take_census
from tests.registry.conftest import Shift
from tests.registry.damage import NOUNS

CHANNEL = "52869f40-6148-475f-9b72-e7987bf4fe86"
SERVER = ServerId("s1")


class Firefox:
    """A browser that has subscribed, seen through the registry's methods."""

    def __init__(self, registry: Registry, keys: Keys) -> None:
        self.registry = registry
        self.keys = keys
        self.browsers = self.service(keys)
        self.browser: Browser
        self.push_url: PushUrlRecord

    def service(self, keys: Keys) -> Browsers:
        """Another role's view, with its keys file."""
        inbox = Inbox(self.registry, Sealer(keys), "https://push.example", count=lambda _stage, _count: None)
        return Browsers(self.registry, inbox, lambda: keys)

    async def prepare(self) -> None:
        self.browser = await self.browsers.store(await self.browsers.recognise(None))
        await self.subscribe()

    async def subscribe(self, vapid_key: str | None = None) -> None:
        self.push_url = await self.registry.browsers.subscribe(
            self.browser.user, CHANNEL, new_id=PushUrlId(new_id()), vapid_key=vapid_key, key_id="k1"
        )

    async def push(self, body: bytes = b"hi", push_url: PushUrlRecord | None = None) -> Stored:
        to = push_url or self.push_url
        message = NewMessage(to.id, to.number, 60_000, 2, None, "k1", body, None, body)
        return await self.registry.messages.append(self.browser.user, message)

    async def look(
        self, at: Cursor | None = None, after: int = 0, *, limit: int = 50, page_bytes: int = 100_000
    ) -> Undelivered:
        return await self.browsers.undelivered(self.browser.user, at, after, limit=limit, page_bytes=page_bytes)

    def key(self, noun: str) -> str:
        return self.registry.users._store.keys.user(self.browser.user, noun)

    async def connect(self, connection: str) -> None:
        await self.registry.presence.claim(
            self.browser.user,
            self.browser.device,
            ConnectionId(connection),
            session=NO_SESSION,
            server=SERVER,
            generation=1,
            rank=0,
        )


@pytest.fixture
async def firefox(registry: Registry) -> Firefox:
    firefox = Firefox(registry, Keys.generate())
    await firefox.prepare()
    return firefox


# --- who it is -------------------------------------------------------------------------------------------------------


async def test_nothing_is_stored_for_a_browser_that_only_says_hello(registry: Registry, config: Config) -> None:
    firefox = Firefox(registry, Keys.generate())
    before = await registry.link.ask_masters("KEYS", f"{config.redis.prefix}:*")
    first = await firefox.browsers.recognise(None)
    again = await firefox.browsers.recognise(first.uaid)
    assert not first.stored
    assert again.uaid != first.uaid
    assert await registry.link.ask_masters("KEYS", f"{config.redis.prefix}:*") == before


@pytest.mark.long
async def test_a_hundred_thousand_hellos_without_a_register_leave_no_key_behind(
    registry: Registry, config: Config
) -> None:
    firefox = Firefox(registry, Keys.generate())
    before = await registry.link.ask_masters("KEYS", f"{config.redis.prefix}:*")

    async def say_hello(first: int) -> None:
        for n in range(first, first + 500):
            browser = await firefox.browsers.recognise(None if n % 2 else f"{n:032x}")
            assert not browser.stored
            with pytest.raises(StoreUnavailable):  # nobody knows it: there is nothing that a lease could be of
                await registry.presence.claim(
                    browser.user,
                    browser.device,
                    ConnectionId(f"c{n}"),
                    session=NO_SESSION,
                    server=SERVER,
                    generation=1,
                    rank=0,
                )

    async with trio.open_nursery() as nursery:
        for first in range(0, 100_000, 500):
            nursery.start_soon(say_hello, first)
    assert await registry.link.ask_masters("KEYS", f"{config.redis.prefix}:*") == before


async def test_a_browser_is_recognised_whichever_key_made_its_user(firefox: Firefox) -> None:
    old = firefox.keys
    both = replace(old, user_id_keys=(Key.generate(), *old.user_id_keys))
    fresh_only = replace(old, user_id_keys=both.user_id_keys[:1])
    for keys in (old, both, fresh_only):
        assert await firefox.service(keys).recognise(firefox.browser.uaid) == firefox.browser
    # Without its entry in the index the known keys are tried, each of them.
    identity = firefox.registry.users._store.keys.identity(firefox.browser.identity)
    await firefox.registry.link.ask("DEL", identity)
    assert await firefox.service(both).recognise(firefox.browser.uaid) == firefox.browser


async def test_a_browser_that_moved_to_a_new_key_of_the_index_leaves_nothing_there_when_it_goes(
    firefox: Firefox, registry: Registry, shift: Shift
) -> None:
    both = rotation.with_new(firefox.keys, "identity_index")[0]
    entries = both.index_entries(Principal(UAID, "", firefox.browser.uaid))
    assert (await firefox.service(both).recognise(firefox.browser.uaid)).user == firefox.browser.user
    assert await registry.sessions.users_of(entries) == [firefox.browser.user] * 2
    shift.ms = 100 * DAY_MS
    deleted = await registry.browsers.forget_idle(firefox.browser.user, 0)
    assert deleted is not None
    await registry.users.finish_deletion(firefox.browser.user, deleted)
    assert await registry.sessions.users_of(entries) == [None, None]


async def test_the_uaid_stands_nowhere_in_the_registry_nor_in_a_repr(firefox: Firefox, config: Config) -> None:
    uaid = firefox.browser.uaid
    assert uaid not in repr(firefox.browser)
    replies = await firefox.registry.link.ask_masters("KEYS", f"{config.redis.prefix}:*")
    for key in (key for reply in replies.values() for key in reply):
        dump = await firefox.registry.link.ask("DUMP", key)
        assert uaid.encode() not in key + dump
        assert bytes.fromhex(uaid) not in key + dump


async def test_a_first_subscription_that_is_cut_off_may_be_repeated(registry: Registry) -> None:
    firefox = Firefox(registry, Keys.generate())
    fresh = await firefox.browsers.recognise(None)
    for _ in range(2):
        firefox.browser = await firefox.browsers.store(fresh)
    assert (await registry.users.devices(fresh.user))[0].keys() == {fresh.device}
    assert await firefox.browsers.recognise(fresh.uaid) == firefox.browser


async def test_a_browser_whose_device_was_lost_is_still_itself(firefox: Firefox) -> None:
    await firefox.registry.link.ask("DEL", firefox.key("devices"))
    found = await firefox.browsers.recognise(firefox.browser.uaid)
    assert (found.uaid, found.user, found.stored) == (firefox.browser.uaid, firefox.browser.user, False)
    await firefox.browsers.store(found)
    await firefox.push()
    assert len((await firefox.look()).messages) == 1


# --- channels --------------------------------------------------------------------------------------------------------


async def test_a_channel_has_one_push_url_and_an_old_one_never_comes_back(firefox: Firefox) -> None:
    first = firefox.push_url
    await firefox.subscribe()
    assert firefox.push_url == first
    await firefox.subscribe("B" * 87)
    bound = firefox.push_url
    assert bound.id != first.id
    with pytest.raises(PushUrlGone):
        await firefox.push(push_url=first)
    assert await firefox.registry.browsers.unsubscribe(firefox.browser.user, CHANNEL)
    assert not await firefox.registry.browsers.unsubscribe(firefox.browser.user, CHANNEL)
    await firefox.subscribe()
    for gone in (first, bound):
        with pytest.raises(PushUrlGone):
            await firefox.push(push_url=gone)
    await firefox.push()


@pytest.mark.parametrize("index", ["push_url_order", "sites"])
async def test_a_lost_index_of_channels_is_made_anew(firefox: Firefox, index: str) -> None:
    await firefox.subscribe("B" * 87)
    before = firefox.push_url
    await firefox.registry.link.ask("DEL", firefox.key(index))
    await firefox.subscribe("B" * 87)
    assert firefox.push_url == before
    await firefox.registry.link.ask("DEL", firefox.key(index))
    assert await firefox.registry.browsers.unsubscribe(firefox.browser.user, CHANNEL)


# --- what it has not taken -------------------------------------------------------------------------------------------


def bodies(page: Undelivered) -> list[bytes]:
    return [message.body for message in page.messages]


async def test_pages_follow_each_other_in_order_and_end(firefox: Firefox) -> None:
    for n in range(7):
        await firefox.push(b"%d" % n)
    seen, page = [], await firefox.look(limit=3)
    seen += bodies(page)
    while page.more:
        page = await firefox.look(page.end, page.after, limit=3)
        seen += bodies(page)
    assert seen == [b"%d" % n for n in range(7)]
    assert (await firefox.look(page.end, page.after)).messages == []
    await firefox.push(b"later")
    assert bodies(await firefox.look(page.end, page.after)) == [b"later"]
    big = await firefox.look(page_bytes=1)
    assert (bodies(big), big.more) == ([b"0"], True)


async def test_a_batch_of_expired_messages_does_not_end_the_pages(firefox: Firefox, shift: Shift) -> None:
    for n in range(20):
        await firefox.push(b"%d" % n)
    shift.ms = 61_000
    # An append throws a few expired ones away on its way: this one stands behind the others.
    await firefox.push(b"alive")
    seen, page = [], await firefox.look(limit=1)
    seen += bodies(page)
    while page.more:
        page = await firefox.look(page.end, page.after, limit=1)
        seen += bodies(page)
    assert seen == [b"alive"]


async def test_what_is_settled_goes_at_once_without_an_event_and_never_hits_another_message(firefox: Firefox) -> None:
    stored = [await firefox.push(b"%d" % n) for n in range(3)]
    at = (await firefox.look()).end
    user, ref = firefox.browser.user, stored[1].ref
    stranger = replace(stored[0].ref, tag=stored[0].ref.tag ^ 1)
    assert await firefox.browsers.settle(user, [ref, stranger]) == 1
    assert await firefox.browsers.settle(user, [ref]) == 0
    page = await firefox.look()
    assert bodies(page) == [b"0", b"2"]
    assert page.end == at
    found = await firefox.registry.messages.state(user, ref)
    assert found is not None
    assert found[0] == "delivered"


async def test_after_a_failover_that_took_numbers_back_everything_unread_comes(firefox: Firefox) -> None:
    copy = [(key, await firefox.registry.link.ask("DUMP", key)) for key in (firefox.key(noun) for noun in NOUNS)]
    lost = await firefox.push(b"lost")
    page = await firefox.look()
    assert bodies(page) == [b"lost"]
    await firefox.registry.link.ask_all([("DEL", key) for key, _ in copy])
    await firefox.registry.link.ask_all([("RESTORE", key, 0, dump) for key, dump in copy if dump is not None])
    again = await firefox.push(b"with its number")
    assert again.ref.seq == lost.ref.seq
    assert bodies(await firefox.look(page.end, page.after)) == [b"with its number"]
    # What was acknowledged was the other one.
    assert await firefox.browsers.settle(firefox.browser.user, [lost.ref]) == 0


# --- and when it goes ------------------------------------------------------------------------------------------------


async def gone(registry: Registry, config: Config, days: float = 60) -> Done:
    idle = Idle.configured(replace(config.gc, idle_browser_days=days))
    return (await take_census(registry, Accounts(registry, config), idle))[1]


async def test_a_browser_not_seen_for_60_days_goes_and_is_then_certainly_gone(
    firefox: Firefox, registry: Registry, config: Config, shift: Shift
) -> None:
    assert config.gc.idle_browser_days == 60
    shift.ms = 59 * DAY_MS
    assert (await gone(registry, config)).browsers == 0
    await firefox.connect("c1")
    await registry.presence.release([(firefox.browser.user, ConnectionId("c1"))])
    shift.ms = 118 * DAY_MS
    assert (await gone(registry, config)).browsers == 0
    shift.ms = 120 * DAY_MS
    assert (await gone(registry, config, days=0)).browsers == 0
    assert (await gone(registry, config)).browsers == 1
    with pytest.raises(PushUrlGone):
        await firefox.push()
    assert (await firefox.browsers.recognise(firefox.browser.uaid)).uaid != firefox.browser.uaid
    assert await registry.users.listing.lacking([firefox.browser.user]) == []


async def test_a_browser_that_stays_connected_for_months_does_not_go_when_it_leaves(
    firefox: Firefox, registry: Registry, config: Config, shift: Shift
) -> None:
    await firefox.connect("c1")
    user = firefox.browser.user
    shift.ms = 100 * DAY_MS
    await registry.presence.reconcile(
        {user: [(ConnectionId("c1"), firefox.browser.device, NO_SESSION)]}, server=SERVER, generation=1
    )
    assert (await gone(registry, config)).browsers == 0
    await registry.presence.release([(user, ConnectionId("c1"))])
    assert (await gone(registry, config)).browsers == 0
    assert (await registry.browsers.forget_idle(user, 0)) is not None


async def test_whoever_logged_in_and_whoever_is_connected_is_never_taken_for_an_idle_browser(
    firefox: Firefox, registry: Registry, config: Config, shift: Shift
) -> None:
    await firefox.connect("c1")
    shift.ms = 100 * DAY_MS
    assert await registry.browsers.forget_idle(firefox.browser.user, DAY_MS) is None
    assert (await gone(registry, config)).browsers == 0
    ada, session = UserId("ada"), SessionHash("s")
    await registry.users.register(ada, device=None, name="laptop", session=session, identity="i")
    shift.ms = 300 * DAY_MS
    assert await registry.browsers.forget_idle(ada, DAY_MS) is None
    assert (await gone(registry, config)).browsers == 0


async def test_a_browser_that_the_registry_lost_is_not_known_to_be_gone_to_senders(firefox: Firefox) -> None:
    await firefox.registry.link.ask_all([("DEL", firefox.key(noun)) for noun in NOUNS])
    with pytest.raises(StoreUnavailable):
        await firefox.push()
    ref = MessageRef(1, 1, "k1", 2**50)
    with pytest.raises(StoreUnavailable):
        await firefox.browsers.settle(firefox.browser.user, [ref])
