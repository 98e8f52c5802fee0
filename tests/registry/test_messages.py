"""Messages and the event log on a real Redis."""

from dataclasses import replace

import msgspec
import pytest

from pushctl.config.model import Config
from pushctl.errors import (
    EncodingInvalid,
    IdempotencyMismatch,
    PushUrlGone,
    StoreUnavailable,
    VapidForbidden,
    VapidMissing,
    VapidRefused,
)
from pushctl.ids import START, Cursor, DeviceId, MessageRef, PushUrlId, SessionHash, UserId, new_id
from pushctl.registry import Registry, open_registry
from pushctl.registry import messages as messages_module
from pushctl.registry.messages import Delta, NewMessage, Snapshot, SnapshotLost, Stored
from pushctl.registry.records import DroppedEntry, MessageEntry, PushUrlEntry, ReadEntry, RevokedEntry
from pushctl.registry.store import AccountGone
from tests.registry.conftest import Shift
from tests.registry.damage import NOUNS

ADA = UserId("ada")
SITE = "https://news.example"
PAGE = 100_000


class Inbox:
    """One user with a push URL, seen through the registry's methods. `shift_ms` moves the scripts' clock."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.device = DeviceId("")
        self.url = PushUrlId("")
        self.number = 0

    async def prepare(self) -> None:
        registered = await self.registry.users.register(
            ADA, device=None, name="laptop", session=SessionHash("s1"), identity="i"
        )
        self.device = registered.device
        await self.allow(SITE)

    async def allow(self, site: str, icon: str | None = None) -> None:
        _, record, _ = await self.registry.push_urls.allow(
            ADA, new_id=PushUrlId(new_id()), site=site, vapid_key=None, icon=icon, key_id="k1"
        )
        self.url, self.number = record.id, record.number

    def message(self, body: bytes = b"hi", **changes: object) -> NewMessage:
        fresh = NewMessage(self.url, self.number, 60_000, 2, None, "k1", body, None, body)
        return msgspec.structs.replace(fresh, **changes)

    async def append(self, body: bytes = b"hi", **changes: object) -> Stored:
        return await self.registry.messages.append(ADA, self.message(body, **changes))

    async def sync(self, cursor: Cursor | None, min_rank: int = 0, page_bytes: int = PAGE) -> Delta | Snapshot:
        return await self.registry.messages.sync(ADA, cursor, min_rank=min_rank, page_bytes=page_bytes)

    async def here(self) -> Cursor:
        """The cursor at the end of the log."""
        page = await self.sync(None)
        assert isinstance(page, Snapshot)
        return page.next.pin

    def key(self, noun: str) -> str:
        return self.registry.users._store.keys.user(ADA, noun)

    async def lose(self, noun: str) -> None:
        """Redis loses this key of the user's."""
        assert await self.registry.link.ask("DEL", self.key(noun)) == 1

    async def copy(self) -> list[tuple[str, bytes]]:
        """What a replica has of the user now."""
        keys = [self.key(noun) for noun in NOUNS]
        dumps = await self.registry.link.ask_all([("DUMP", key) for key in keys])
        return [(key, dump) for key, dump in zip(keys, dumps, strict=True) if dump is not None]

    async def fail_over(self, copy: list[tuple[str, bytes]]) -> None:
        """Redis goes back to what the replica had."""
        await self.registry.link.ask_all([("DEL", self.key(noun)) for noun in NOUNS])
        await self.registry.link.ask_all([("RESTORE", key, 0, dump) for key, dump in copy])

    async def unread(self) -> list[bytes]:
        return [record.body for record in await self.registry.messages.unread(ADA, 0, 500)]


@pytest.fixture
async def inbox(registry: Registry) -> Inbox:
    inbox = Inbox(registry)
    await inbox.prepare()
    return inbox


async def test_a_stored_message_comes_with_its_place_in_the_log(inbox: Inbox) -> None:
    before = await inbox.here()
    stored = await inbox.append(b"one")
    assert stored.change.previous == before.position
    assert [entry.position.seq for entry in stored.change.entries] == [before.position.seq + 1]
    delta = await inbox.sync(before)
    assert isinstance(delta, Delta)
    assert delta.done
    (entry,) = delta.entries
    assert isinstance(entry, MessageEntry)
    assert (entry.message.body, entry.message.site, entry.message.ref) == (b"one", SITE, stored.ref)
    assert delta.cursor.position == stored.change.last


async def test_a_delta_tells_everything_in_order_once(inbox: Inbox) -> None:
    start = await inbox.here()
    one = await inbox.append(b"one")
    await inbox.append(b"two", topic="t")
    await inbox.append(b"three", topic="t")
    await inbox.registry.messages.read(ADA, [one.ref])
    await inbox.allow("https://shop.example", "https://shop.example/icon.png")
    await inbox.registry.push_urls.revoke(ADA, inbox.url)
    delta = await inbox.sync(start)
    assert isinstance(delta, Delta)
    kinds = [type(entry).__name__ for entry in delta.entries]
    # one is read and two is replaced: neither is told as a message any more, their ends are
    assert kinds == ["DroppedEntry", "MessageEntry", "ReadEntry", "PushUrlEntry", "RevokedEntry"]
    assert [entry.position.seq for entry in delta.entries] == [start.position.seq + n for n in (3, 4, 5, 6, 7)]


async def test_a_cursor_of_another_log_gets_a_snapshot(inbox: Inbox) -> None:
    await inbox.append(b"one")
    here = await inbox.here()
    other_tag = Cursor(here.epoch, replace(here.position, tag=here.position.tag ^ 1))
    other_epoch = Cursor("0" * 16, here.position)
    beyond = Cursor(here.epoch, replace(here.position, seq=here.position.seq + 5))
    for cursor in (None, other_tag, other_epoch, beyond, Cursor("", START)):
        page = await inbox.sync(cursor)
        assert isinstance(page, Snapshot), cursor
        assert page.done
        assert [record.body for record in page.messages] == [b"one"]
        assert [record.site for record in page.push_urls] == [SITE]
    assert isinstance(await inbox.sync(here), Delta)


async def test_the_beginning_of_an_epoch_is_a_provable_place(inbox: Inbox) -> None:
    here = await inbox.here()
    delta = await inbox.sync(Cursor(here.epoch, START))
    assert isinstance(delta, Delta)
    assert [type(entry) for entry in delta.entries] == [PushUrlEntry]


@pytest.mark.parametrize("which", ["first", "middle", "last"])
async def test_a_hole_in_the_log_gives_a_snapshot_never_silence(inbox: Inbox, which: str) -> None:
    start = await inbox.here()
    appended = [await inbox.append(body) for body in (b"one", b"two", b"three")]
    victim = appended[{"first": 0, "middle": 1, "last": 2}[which]].change.last
    link, keys = inbox.registry.link, inbox.registry.users._store.keys
    assert await link.ask("XDEL", keys.user(ADA, "log"), str(victim)) == 1
    page = await inbox.sync(start)
    assert isinstance(page, Snapshot)
    assert [record.body for record in page.messages] == [b"one", b"two", b"three"]


async def test_large_syncs_come_in_pages_that_add_up(inbox: Inbox) -> None:
    start = await inbox.here()
    bodies = [b"%03d" % n + b"x" * 300 for n in range(40)]
    for body in bodies:
        await inbox.append(body)
    cursor, got, pages = start, [], 0
    while True:
        page = await inbox.sync(cursor, page_bytes=2000)
        assert isinstance(page, Delta)
        got += [entry.message.body for entry in page.entries if isinstance(entry, MessageEntry)]
        cursor, pages = page.cursor, pages + 1
        if page.done:
            break
    assert got == bodies
    assert pages > 5

    got, pages = [], 0
    place = None
    while True:
        snapshot = await inbox.registry.messages.sync(ADA, place, min_rank=0, page_bytes=2000)
        assert isinstance(snapshot, Snapshot)
        got += [record.body for record in snapshot.messages]
        place, pages = snapshot.next, pages + 1
        if pages == 2:
            await inbox.append(b"later")  # behind the pin: comes as an event, not in the snapshot
        if snapshot.done:
            break
    assert got == bodies
    after = await inbox.sync(snapshot.next.pin)
    assert isinstance(after, Delta)
    assert len(after.entries) == 1


async def test_a_read_mark_hits_only_the_message_it_names(inbox: Inbox) -> None:
    stored = await inbox.append(b"one")
    await inbox.append(b"two")
    forged = MessageRef(stored.ref.seq, stored.ref.tag ^ 1, "k1", stored.ref.expires_at_ms)
    count, change = await inbox.registry.messages.read(ADA, [forged])
    assert (count, change.entries) == (0, [])
    count, change = await inbox.registry.messages.read(ADA, [stored.ref, stored.ref])
    assert count == 1
    (entry,) = change.entries
    assert isinstance(entry, ReadEntry)
    assert entry.refs == [stored.ref]
    assert (await inbox.registry.messages.read(ADA, [stored.ref]))[0] == 0
    assert await inbox.unread() == [b"two"]


async def test_read_upto_never_reaches_what_came_since(inbox: Inbox) -> None:
    await inbox.append(b"one")
    here = await inbox.here()
    await inbox.append(b"two")
    wrong = Cursor(here.epoch, replace(here.position, tag=here.position.tag ^ 1))
    assert (await inbox.registry.messages.read_upto(ADA, wrong))[0] == 0
    assert (await inbox.registry.messages.read_upto(ADA, Cursor("0" * 16, here.position)))[0] == 0
    assert (await inbox.registry.messages.read_upto(ADA, here))[0] == 1
    assert await inbox.unread() == [b"two"]
    # Without the log only its end is known: another tag there is another log.
    end = await inbox.here()
    await inbox.registry.link.ask("DEL", inbox.registry.users._store.keys.user(ADA, "log"))
    wrong = Cursor(end.epoch, replace(end.position, tag=end.position.tag ^ 1))
    assert (await inbox.registry.messages.read_upto(ADA, wrong))[0] == 0
    assert (await inbox.registry.messages.read_upto(ADA, end))[0] == 1


async def test_a_message_past_its_moment_is_nowhere_before_gc_came(inbox: Inbox, shift: Shift) -> None:
    start = await inbox.here()
    stored = await inbox.append(b"short", lifetime_ms=20_000)
    long = await inbox.append(b"long")
    shift.ms = 22_000
    assert await inbox.unread() == [b"long"]
    delta = await inbox.sync(start)
    assert isinstance(delta, Delta)
    assert len(delta.entries) == 1
    snapshot = await inbox.sync(None)
    assert isinstance(snapshot, Snapshot)
    assert [record.body for record in snapshot.messages] == [b"long"]
    assert (await inbox.registry.messages.read(ADA, [stored.ref]))[0] == 0
    assert await inbox.registry.messages.cancel(ADA, stored.ref) is None
    dropped, next_ms = await inbox.registry.users.sweep(ADA, 100)  # the scripts dropped it on their way
    assert dropped == 0
    assert next_ms == long.ref.expires_at_ms


async def test_a_push_url_over_its_quota_evicts_its_own_oldest_and_tells(config: Config) -> None:
    limited = replace(config, limits=replace(config.limits, unread_per_push_url=3, unread_per_user=5))
    async with open_registry(limited, name="test") as registry:
        inbox = Inbox(registry)
        await inbox.prepare()
        first = await inbox.append(b"1")
        for body in (b"2", b"3"):
            await inbox.append(body)
        fourth = await inbox.append(b"4")
        dropped = fourth.change.entries[0]
        assert isinstance(dropped, DroppedEntry)
        assert (dropped.reason, dropped.refs) == ("evicted", [first.ref])
        assert await inbox.unread() == [b"2", b"3", b"4"]
        # over the user's quota, the push URL that holds most bytes gives way
        await inbox.allow("https://shop.example")
        for body in (b"5" * 100, b"6", b"7"):
            await inbox.append(body)
        assert await inbox.unread() == [b"2", b"3", b"4", b"6", b"7"]


async def test_a_byte_quota_evicts_as_many_as_it_takes(config: Config) -> None:
    limited = replace(config, limits=replace(config.limits, unread_bytes_per_push_url=4096))
    async with open_registry(limited, name="test") as registry:
        inbox = Inbox(registry)
        await inbox.prepare()
        for _ in range(4):
            await inbox.append(b"a" * 1000)
        await inbox.append(b"b" * 3000)
        assert [len(body) for body in await inbox.unread()] == [1000, 3000]


async def test_the_same_idempotency_key_stores_once(inbox: Inbox) -> None:
    first = await inbox.append(b"one", idempotency_key="k")
    again = await inbox.append(b"one", idempotency_key="k")
    assert (again.ref, again.again, again.unread) == (first.ref, True, True)
    with pytest.raises(IdempotencyMismatch):
        await inbox.append(b"two", idempotency_key="k")
    assert await inbox.unread() == [b"one"]


async def test_a_push_url_bound_to_a_key_takes_nothing_else(inbox: Inbox) -> None:
    _, record, _ = await inbox.registry.push_urls.allow(
        ADA, new_id=PushUrlId(new_id()), site=SITE, vapid_key="key", icon=None, key_id="k1"
    )
    bound = msgspec.structs.replace(inbox.message(b"x"), push_url=record.id, number=record.number)
    refused: tuple[tuple[str | None, type[VapidRefused]], ...] = ((None, VapidMissing), ("other", VapidForbidden))
    for signed_by, error in refused:
        for send in (inbox.registry.messages.append, inbox.registry.messages.announce):
            with pytest.raises(error) as caught:
                await send(ADA, msgspec.structs.replace(bound, signed_by=signed_by))
            assert (caught.value.claim, caught.value.expected, caught.value.got) == ("k", "key", signed_by)
    await inbox.registry.messages.append(ADA, msgspec.structs.replace(bound, signed_by="key"))


async def test_the_push_url_of_a_browser_takes_nothing_that_the_browser_could_not_read(inbox: Inbox) -> None:
    _, record, _ = await inbox.registry.push_urls.allow(
        ADA, new_id=PushUrlId(new_id()), site="channel:abc", vapid_key=None, icon=None, key_id="k1"
    )
    to_browser = msgspec.structs.replace(inbox.message(b"x"), push_url=record.id, number=record.number)
    for send in (inbox.registry.messages.append, inbox.registry.messages.announce):
        with pytest.raises(EncodingInvalid):
            await send(ADA, msgspec.structs.replace(to_browser, plain=True))
        await send(ADA, to_browser)
        await send(ADA, msgspec.structs.replace(inbox.message(b"x"), plain=True))


async def test_an_announced_message_leaves_nothing_behind(inbox: Inbox) -> None:
    before = await inbox.here()
    await inbox.append(b"old", topic="t")
    announced = await inbox.registry.messages.announce(ADA, inbox.message(b"now", topic="t", lifetime_ms=0))
    assert announced.deliver
    assert announced.change is not None
    assert [type(entry) for entry in announced.change.entries] == [DroppedEntry]
    assert await inbox.unread() == []
    assert isinstance(await inbox.sync(before), Delta)


async def test_gone_is_said_only_on_proof(inbox: Inbox) -> None:
    old = inbox.message(b"x")
    await inbox.registry.push_urls.revoke(ADA, inbox.url)
    with pytest.raises(PushUrlGone):
        await inbox.registry.messages.append(ADA, old)
    # A push URL whose number this store never gave: its creation was lost, so nobody can say that it is gone.
    with pytest.raises(StoreUnavailable):
        await inbox.registry.messages.append(ADA, msgspec.structs.replace(old, push_url=PushUrlId("other"), number=99))
    with pytest.raises(StoreUnavailable):
        await inbox.registry.messages.append(UserId("nobody"), old)


async def test_a_deleted_account_leaves_a_tombstone_and_nothing_else(inbox: Inbox) -> None:
    await inbox.append(b"one")
    message = inbox.message(b"x")
    deleted = await inbox.registry.users.delete(ADA)
    assert deleted.sessions == ["s1"]
    with pytest.raises(PushUrlGone):
        await inbox.registry.messages.append(ADA, message)
    with pytest.raises(AccountGone):
        await inbox.sync(None)
    prefix = inbox.registry.users._store.keys.prefix
    found = await inbox.registry.link.ask_masters("KEYS", f"{prefix}:{{u:*")
    keys = [key for some in found.values() for key in some]
    assert [key.decode().rpartition(":")[2] for key in keys] == ["gone"]
    # The same principal may come back: a new epoch, and the old push URLs stay gone.
    await inbox.registry.users.register(ADA, device=None, name="new", session=SessionHash("s2"), identity="i")
    with pytest.raises(PushUrlGone):
        await inbox.registry.messages.append(ADA, message)


async def test_the_log_is_bounded_and_an_old_cursor_then_gets_a_snapshot(config: Config) -> None:
    limited = replace(config, limits=replace(config.limits, log_events_per_user=100, unread_per_push_url=1000))
    async with open_registry(limited, name="test") as registry:
        inbox = Inbox(registry)
        await inbox.prepare()
        old = await inbox.here()
        for n in range(150):
            await inbox.append(b"%d" % n)
        length = await registry.link.ask("XLEN", registry.users._store.keys.user(ADA, "log"))
        assert length <= 100
        assert isinstance(await inbox.sync(old), Snapshot)


async def test_topics_have_an_end_though_the_first_comes_after_other_messages(inbox: Inbox) -> None:
    await inbox.append(b"one")
    await inbox.append(b"two", topic="t")
    assert await inbox.registry.link.ask("PTTL", inbox.registry.users._store.keys.user(ADA, "topics")) > 0


async def test_the_gc_index_hears_of_a_message_that_nothing_of_the_users_expires_before(inbox: Inbox) -> None:
    async def expires_first(lifetime_ms: int) -> bool:
        message = msgspec.structs.replace(inbox.message(b"x"), lifetime_ms=lifetime_ms)
        return (await inbox.registry.messages.append(ADA, message)).expires_first

    assert [await expires_first(ms) for ms in (60_000, 90_000, 30_000, 40_000)] == [True, False, True, False]
    await inbox.registry.messages.read_upto(ADA, await inbox.here())
    assert await expires_first(90_000)


async def test_state_tells_what_became_of_a_message(inbox: Inbox) -> None:
    messages = inbox.registry.messages
    stored = await inbox.append(b"one", topic="t")
    assert (await messages.state(ADA, stored.ref) or ("", 0))[0] == "stored"
    await messages.acknowledge(ADA, [(inbox.device, await inbox.here())])
    assert (await messages.state(ADA, stored.ref) or ("", 0))[0] == "delivered"
    second = await inbox.append(b"two", topic="t")
    assert (await messages.state(ADA, stored.ref) or ("", 0))[0] == "replaced"
    await messages.cancel(ADA, second.ref)
    assert (await messages.state(ADA, second.ref) or ("", 0))[0] == "cancelled"
    third = await inbox.append(b"three")
    await messages.read(ADA, [third.ref])
    assert (await messages.state(ADA, third.ref) or ("", 0))[0] == "read"


async def test_a_revoked_push_url_is_still_told_before_its_end(inbox: Inbox) -> None:
    start = await inbox.here()
    await inbox.allow("https://shop.example", "data:image/png;base64,AAAA")
    await inbox.registry.push_urls.revoke(ADA, inbox.url)
    delta = await inbox.sync(start)
    assert isinstance(delta, Delta)
    made, revoked = delta.entries
    assert isinstance(made, PushUrlEntry)
    assert (made.push_url.site, made.push_url.icon) == ("https://shop.example", None)
    assert isinstance(revoked, RevokedEntry)


async def test_min_rank_leaves_messages_out_but_not_their_ends(inbox: Inbox) -> None:
    start = await inbox.here()
    low = await inbox.append(b"low", rank=1)
    await inbox.append(b"high", rank=3)
    await inbox.registry.messages.cancel(ADA, low.ref)
    delta = await inbox.sync(start, min_rank=2)
    assert isinstance(delta, Delta)
    assert [type(entry) for entry in delta.entries] == [MessageEntry, DroppedEntry]


# --- what Redis lost: found by the model (test_model.py), named here --------------------------------------------------


INDEXES = ["unread", "unread_by_url", "bytes_by_url", "expiry", "topics"]


@pytest.mark.parametrize("index", INDEXES)
async def test_an_index_that_was_lost_is_made_anew_and_nobody_notices(config: Config, index: str) -> None:
    limited = replace(config, limits=replace(config.limits, unread_per_push_url=3, unread_per_user=3))
    async with open_registry(limited, name="test") as registry:
        inbox = Inbox(registry)
        await inbox.prepare()
        start = await inbox.here()
        for body in (b"one", b"two", b"three"):
            await inbox.append(body, topic="t" if body == b"two" else None)
        copy = await inbox.copy()
        await inbox.lose(index)
        snapshot = await inbox.sync(None)
        assert isinstance(snapshot, Snapshot)
        assert [record.body for record in snapshot.messages] == [b"one", b"two", b"three"]
        assert isinstance(await inbox.sync(start), Delta)
        await inbox.fail_over(copy)
        await inbox.lose(index)
        assert await inbox.unread() == [b"one", b"two", b"three"]
        await inbox.fail_over(copy)
        await inbox.lose(index)
        stored = await inbox.append(b"four", topic="t")
        assert [type(entry) for entry in stored.change.entries] == [DroppedEntry, MessageEntry]
        assert await inbox.unread() == [b"one", b"three", b"four"]
        await inbox.lose(index)
        await inbox.append(b"five")  # over both quotas
        assert await inbox.unread() == [b"three", b"four", b"five"]
        await inbox.lose(index)
        assert (await registry.messages.read_upto(ADA, await inbox.here()))[0] == 3


@pytest.mark.parametrize("heal", ["append", "announce", "read", "cancel", "sync"])
async def test_after_a_loss_of_messages_nobody_gets_a_delta_from_before(inbox: Inbox, heal: str) -> None:
    stored = await inbox.append(b"one")
    here = await inbox.here()
    await inbox.lose("messages")
    match heal:
        case "append":
            await inbox.append(b"two")
        case "announce":
            await inbox.registry.messages.announce(ADA, inbox.message(b"now", lifetime_ms=0))
        case "read":
            assert (await inbox.registry.messages.read(ADA, [stored.ref]))[0] == 0
        case "cancel":
            assert await inbox.registry.messages.cancel(ADA, stored.ref) is None
    page = await inbox.sync(here)
    assert isinstance(page, Snapshot)
    assert [record.body for record in page.messages] == ([b"two"] if heal == "append" else [])
    assert isinstance(await inbox.sync(page.next.pin), Delta)  # once is enough
    await inbox.append(b"three")
    assert isinstance(await inbox.sync(page.next.pin), Delta)


async def test_push_urls_that_were_lost_are_taken_off_the_devices(inbox: Inbox) -> None:
    here = await inbox.here()
    await inbox.lose("push_urls")
    assert await inbox.registry.push_urls.all(ADA) == []
    page = await inbox.sync(here)
    assert isinstance(page, Snapshot)
    assert page.push_urls == []
    await inbox.allow(SITE)  # and may be made again
    await inbox.append(b"one")


@pytest.mark.parametrize("index", ["push_url_order", "sites"])
async def test_a_site_has_one_push_url_even_after_its_index_was_lost(inbox: Inbox, index: str) -> None:
    here, url = await inbox.here(), inbox.url
    await inbox.lose(index)
    page = await inbox.sync(None)
    assert isinstance(page, Snapshot)
    assert [record.id for record in page.push_urls] == [url]
    await inbox.lose(index)
    await inbox.allow(SITE)
    assert inbox.url == url
    assert [record.id for record in await inbox.registry.push_urls.all(ADA)] == [url]
    assert isinstance(await inbox.sync(here), Delta)


async def test_a_log_that_was_lost_begins_anew_behind_those_who_had_it_all(inbox: Inbox) -> None:
    behind = await inbox.here()
    await inbox.append(b"one")
    here = await inbox.here()
    await inbox.lose("log")
    await inbox.append(b"two")
    delta = await inbox.sync(here)
    assert isinstance(delta, Delta)
    assert len(delta.entries) == 1
    assert isinstance(await inbox.sync(behind), Snapshot)


async def test_an_acknowledgement_of_a_log_that_was_taken_back_delivers_nothing(inbox: Inbox) -> None:
    copy = await inbox.copy()
    await inbox.append(b"lost")
    seen = await inbox.here()
    await inbox.fail_over(copy)
    stored = await inbox.append(b"new")
    assert stored.ref.seq == seen.position.seq
    await inbox.registry.messages.acknowledge(ADA, [(inbox.device, seen)])
    assert (await inbox.registry.messages.state(ADA, stored.ref) or ("", 0))[0] == "stored"


async def test_read_upto_a_place_that_was_taken_back_hits_nothing_even_when_the_log_is_gone(inbox: Inbox) -> None:
    copy = await inbox.copy()
    await inbox.append(b"lost")
    seen = await inbox.here()
    await inbox.fail_over(copy)
    await inbox.append(b"new")
    await inbox.append(b"newer")
    await inbox.lose("log")
    assert (await inbox.registry.messages.read_upto(ADA, seen))[0] == 0
    assert await inbox.unread() == [b"new", b"newer"]


async def test_a_snapshot_whose_log_was_taken_back_starts_over(inbox: Inbox) -> None:
    copy = await inbox.copy()
    for _ in range(3):
        await inbox.append(b"lost")
    page = await inbox.sync(None, page_bytes=1)
    assert isinstance(page, Snapshot)
    assert not page.done
    await inbox.fail_over(copy)
    for _ in range(4):
        await inbox.append(b"new")
    with pytest.raises(SnapshotLost):
        await inbox.registry.messages.sync(ADA, page.next, min_rank=0, page_bytes=PAGE)


async def test_states_stay_bounded_when_what_bounds_them_was_lost(inbox: Inbox) -> None:
    one, two = await inbox.append(b"one"), await inbox.append(b"two")
    await inbox.registry.messages.read(ADA, [one.ref])
    await inbox.lose("stub_expiry")
    await inbox.registry.messages.read(ADA, [two.ref])
    assert await inbox.registry.link.ask("HLEN", inbox.key("stubs")) == 1
    assert (await inbox.registry.messages.state(ADA, two.ref) or ("", 0))[0] == "read"


async def test_a_message_without_a_byte_is_a_message_like_any_other(config: Config) -> None:
    limited = replace(config, limits=replace(config.limits, unread_per_user=2))
    async with open_registry(limited, name="test") as registry:
        inbox = Inbox(registry)
        await inbox.prepare()
        for _ in range(2):
            await inbox.append(b"")
        await inbox.allow("https://shop.example")
        await inbox.append(b"")
        await inbox.append(b"four")
        assert await inbox.unread() == [b"", b"four"]
        assert (await registry.messages.read_upto(ADA, await inbox.here()))[0] == 2
        assert await registry.link.ask("EXISTS", inbox.key("bytes_by_url")) == 0


@pytest.mark.parametrize(("of_user", "of_push_url"), [(4096, 1_000_000), (1_000_000, 4096)])
async def test_nothing_unread_goes_while_something_expired_takes_its_place(
    config: Config, shift: Shift, of_user: int, of_push_url: int
) -> None:
    quotas = replace(config.limits, unread_bytes_per_user=of_user, unread_bytes_per_push_url=of_push_url)
    limited = replace(config, limits=quotas)
    async with open_registry(limited, name="test", shift_ms=lambda: shift.ms) as registry:
        inbox = Inbox(registry)
        await inbox.prepare()
        await inbox.append(b"live")
        for _ in range(20):
            await inbox.append(b"s" * 100, lifetime_ms=20_000)
        shift.ms = 22_000
        # What one script throws away on its way is not enough for this one.
        await inbox.append(b"l" * 3500)
        assert [len(body) for body in await inbox.unread()] == [4, 3500]


@pytest.mark.parametrize("lost", [False, True])
async def test_a_topic_names_its_newest_while_older_ones_wait_for_gc(inbox: Inbox, shift: Shift, lost: bool) -> None:
    for _ in range(9):
        await inbox.append(b"short", lifetime_ms=20_000)
    await inbox.append(b"old", lifetime_ms=20_001, topic="t")
    shift.ms = 22_000
    await inbox.append(b"new", topic="t")
    if lost:
        await inbox.lose("topics")
    await inbox.append(b"newest", topic="t")
    assert await inbox.unread() == [b"newest"]


async def test_a_filter_that_leaves_pages_empty_ends_them_and_the_snapshot_is_whole(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages_module, "PAGE_COUNT", 3)
    for n in range(40):
        await inbox.append(b"%d" % n, rank=3 if n == 39 else 1)
    place, got, pages = None, [], 0
    while True:
        page = await inbox.registry.messages.sync(ADA, place, min_rank=3, page_bytes=PAGE)
        assert isinstance(page, Snapshot)
        got += [record.body for record in page.messages]
        place, pages = page.next, pages + 1
        if page.done:
            break
    assert got == [b"39"]
    assert pages >= 40 // (4 * 3)
