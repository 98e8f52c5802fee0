"""Random operations on one user's inbox, against the real Redis and the model side by side (hypothesis, stateful).

`CalmInbox` loses nothing: every answer is known beforehand, and after a sync a phone holds what the store holds. Losses
come in inbox_losses.py.

Hypothesis is synchronous: a machine runs in a thread, and `do` carries each question to the registry's Trio.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import trio
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from pushctl.errors import LimitReached
from pushctl.ids import START, ConnectionId, Cursor, Position, PushUrlId, ServerId, SessionHash, UserId, new_id
from pushctl.registry import Registry
from pushctl.registry.messages import NewMessage, Snapshot, SnapshotLost, SnapshotPlace
from pushctl.registry.records import Change, MessageRecord, PushUrlRecord
from roles.gc import sweeps
from tests.registry.conftest import Shift
from tests.registry.damage import UserKeys
from tests.registry.inbox_model import HOUR_MS, InboxModel, Limits, Message, PushUrl
from tests.registry.inbox_phone import Phone, name_of, told

T = TypeVar("T")
ADA = UserId("ada")
RANKS = (0, 2)
"""The filters of the two phones."""

anyone = st.integers(0, 1000)
"""Picks one of however many there are."""
recent = st.integers(-4, -1)
page_sizes = st.sampled_from([1, 150, 400, 100_000])


@dataclass(frozen=True)
class Surroundings:
    """What a machine is run in: one registry for all its examples."""

    registry: Registry
    shift: Shift
    limits: Limits

    def keys(self) -> UserKeys:
        return UserKeys(self.registry, self.registry.users._store.keys, ADA)


class CalmInbox(RuleBasedStateMachine):
    def __init__(self, around: Surroundings) -> None:
        super().__init__()
        self.registry, self.shift, self.keys = around.registry, around.shift, around.keys()
        self.shift.ms = 0
        self.model = InboxModel(around.limits)
        self.phones = [Phone(rank) for rank in RANKS]
        self.urls: list[PushUrl] = []
        self.sent: list[Message] = []
        self.cursors: list[Cursor] = [Cursor("0" * 16, START)]
        self.devices: list[Any] = []
        self.fresh = 0

    def do(self, question: Callable[..., Awaitable[T]], *args: Any, **named: Any) -> T:
        async def ask() -> T:
            with trio.fail_after(10):
                return await question(*args, **named)

        return trio.from_thread.run(ask)

    # --- the beginning -----------------------------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        self.do(self.keys.wipe)
        self.register()

    def register(self) -> None:
        """The user logs in on every phone; what is known of the epoch is learnt from the first sync."""
        for phone in self.phones:
            self.fresh += 1
            session = SessionHash(f"s{self.fresh}")
            registered = self.do(
                self.registry.users.register, ADA, device=None, name="phone", session=session, identity="i"
            )
            if registered.new_user:
                page = self.do(self.registry.messages.sync, ADA, None, min_rank=0, page_bytes=1)
                assert isinstance(page, Snapshot)
                assert page.next.pin.position == START
                self.model.begin(page.next.pin.epoch)
                self.cursors.append(page.next.pin)
            self.do(
                self.registry.presence.claim,
                ADA,
                registered.device,
                ConnectionId(f"c{self.fresh}"),
                server=ServerId("s"),
                generation=1,
                rank=phone.rank,
            )
            self.model.filters[registered.device] = phone.rank
            self.devices.append(registered.device)
        self.new_push_url(0, None)

    # --- changes -----------------------------------------------------------------------------------------------------

    def wrote(self, change: Change, events: list[tuple[str, ...]]) -> None:
        """A change is exactly these events, right behind the end of the log."""
        self.at_the_end(change.epoch, change.previous)
        assert [told(entry) for entry in change.entries] == events
        self.model.wrote(events, [entry.position for entry in change.entries])
        self.cursors.append(Cursor(change.epoch, change.last))

    def at_the_end(self, epoch: str, position: Position) -> None:
        assert epoch == self.model.epoch
        if position != self.model.last and position not in [at for at, _, _ in self.model.log]:
            self.model.broken_at(position)
        assert position == self.model.last

    def push_url(self, which: int) -> PushUrl:
        """Mostly one that is live."""
        if not self.model.push_urls:
            self.new_push_url(which, None)
        some = [self.urls[-1], *self.model.push_urls.values()]
        return some[which % len(some)]

    def new_message(self, which: int, lifetime_hours: int, **more: Any) -> NewMessage:
        url = self.push_url(which)
        self.fresh += 1
        return NewMessage(
            push_url=url.id,
            number=url.number,
            lifetime_ms=lifetime_hours * HOUR_MS,
            key_id="k1",
            signed_by=url.vapid,
            **more,
        )

    def note_mark(self, message: NewMessage) -> None:
        special, _ = self.registry.messages._idempotency(ADA, message)
        self.keys.marks.add(special["idem"])

    @rule(
        which=recent,
        hours=st.integers(1, 8),
        rank=st.integers(0, 3),
        topic=st.sampled_from([None, None, "t", "u"]),
        body=st.sampled_from([0, 1, 1, 5, 20, 40, 60]).map(lambda n: b"b" * n),
        key=st.sampled_from([None, None, None, "one", "two"]),
        forged=st.sampled_from([False, False, False, True]),
    )
    def append(
        self, which: int, hours: int, rank: int, topic: str | None, body: bytes, key: str | None, forged: bool
    ) -> None:
        message = self.new_message(
            which, hours, rank=rank, topic=topic, body=body, idempotency_key=key, fingerprint=b"store " + body
        )
        if forged:
            message = replace(message, signed_by="another")
        self.note_mark(message)
        if refusal := self.model.refuses(message):
            self.raises(refusal, self.registry.messages.append, ADA, message)
            return
        stored = self.do(self.registry.messages.append, ADA, message)
        if before := self.model.answered(message):
            assert (stored.again, stored.ref) == (True, before)
            self.wrote(stored.change, [])
            assert stored.unread == (self.model.finds(name_of(before)) is not None)
            return
        assert not stored.again
        self.at_the_end(stored.change.epoch, stored.change.previous)
        self.wrote(stored.change, self.model.append(message, stored.ref))
        self.sent.append(self.model.kept[name_of(stored.ref)])
        trio.from_thread.run_sync(self.registry.index.expires, ADA, stored.ref.expires_at_ms)

    @rule(which=recent, hours=st.integers(1, 8), count=st.integers(1, 5), rank=st.integers(0, 3))
    def append_some(self, which: int, hours: int, count: int, rank: int) -> None:
        for n in range(count):
            self.append(which, hours, rank, None, b"b" * n, None, forged=False)

    @rule(which=recent, topic=st.sampled_from([None, "t", "u"]), key=st.sampled_from([None, "one"]))
    def announce(self, which: int, topic: str | None, key: str | None) -> None:
        message = self.new_message(
            which, 0, rank=2, topic=topic, body=b"now", idempotency_key=key, fingerprint=b"now now"
        )
        self.note_mark(message)
        if refusal := self.model.refuses(message):
            self.raises(refusal, self.registry.messages.announce, ADA, message)
            return
        announced = self.do(self.registry.messages.announce, ADA, message)
        if before := self.model.answered(message):
            assert (announced.deliver, announced.ref, announced.change) == (False, before, None)
            return
        assert announced.deliver
        assert announced.change is not None
        assert announced.ref.seq == 0
        self.at_the_end(announced.change.epoch, announced.change.previous)
        self.wrote(announced.change, self.model.announce(message, announced.ref))

    @rule(which=st.lists(recent | anyone, min_size=1, max_size=3))
    def read(self, which: list[int]) -> None:
        if not self.sent:
            return
        refs = [self.sent[n % len(self.sent)].ref for n in which]
        count, change = self.do(self.registry.messages.read, ADA, refs)
        self.at_the_end(change.epoch, change.previous)
        events = self.model.read([name_of(ref) for ref in refs])
        self.wrote(change, events)
        assert count == sum(len(event) - 1 for event in events)

    @rule(which=recent | anyone)
    def read_upto(self, which: int) -> None:
        cursor = self.cursors[which % len(self.cursors)]
        count, change = self.do(self.registry.messages.read_upto, ADA, cursor)
        self.at_the_end(change.epoch, change.previous)
        events = []
        if self.model.is_certain(cursor) or (count and self.model.index(cursor) is not None):
            events = self.model.read([m.name for m in self.model.unread if m.ref.seq <= cursor.position.seq])
        self.wrote(change, events)
        assert count == sum(len(event) - 1 for event in events)

    @rule(which=recent | anyone)
    def cancel(self, which: int) -> None:
        if not self.sent:
            return
        ref = self.sent[which % len(self.sent)].ref
        change = self.do(self.registry.messages.cancel, ADA, ref)
        assert (change is not None) == (self.model.finds(name_of(ref)) is not None)
        if change is not None:
            self.at_the_end(change.epoch, change.previous)
            self.wrote(change, self.model.cancel(name_of(ref)))

    @rule(
        site=st.integers(0, 4),
        icon=st.sampled_from([None, "https://icon.example/1", "data:image/png,2"]),
        revoke=st.booleans(),
    )
    def push_urls_change(self, site: int, icon: str | None, revoke: bool) -> None:
        if revoke:
            self.revoke(site)
        else:
            self.new_push_url(site, icon)

    def new_push_url(self, site: int, icon: str | None) -> None:
        vapid = "key" if site == 4 else None
        named = (f"https://site{site}.example", vapid)
        before = next((url for url in self.model.push_urls.values() if (url.site, url.vapid) == named), None)
        question = (self.registry.push_urls.allow, ADA)
        asked = {"new_id": PushUrlId(new_id()), "site": named[0], "vapid_key": vapid, "icon": icon, "key_id": "k1"}
        if before is None and len(self.model.push_urls) >= self.model.limits.push_urls:
            self.raises(LimitReached, *question, **asked)
            return
        outcome, record, change = self.do(*question, **asked)
        self.at_the_end(change.epoch, change.previous)
        url = PushUrl(record.id, record.number, record.site, record.vapid_key, record.icon)
        if before is None:
            assert outcome == "new"
            assert url == PushUrl(asked["new_id"], self.model.given + 1, named[0], vapid, icon)
        else:
            changed = icon is not None and icon != before.icon
            assert outcome == ("changed" if changed else "same")
            assert url == replace(before, icon=icon if changed else before.icon)
        self.wrote(change, [] if outcome == "same" else self.model.allow(url))
        self.urls.append(url)

    def revoke(self, which: int) -> None:
        url = self.push_url(which)
        change = self.do(self.registry.push_urls.revoke, ADA, url.id)
        assert (change is not None) == (url.id in self.model.push_urls)
        if change is not None:
            self.at_the_end(change.epoch, change.previous)
            self.wrote(change, self.model.revoke(url.id))

    @rule(device=st.sampled_from([-1, -2, 0]), which=recent | anyone)
    def acknowledge(self, device: int, which: int) -> None:
        who, cursor = self.devices[device], self.cursors[which % len(self.cursors)]
        self.do(self.registry.messages.acknowledge, ADA, [(who, cursor)])
        if self.model.is_certain(cursor):
            self.model.acknowledge(who, cursor.position.seq)
        elif who in self.model.filters and self.model.index(cursor) is not None:  # it may count, it need not
            devices, _ = self.do(self.registry.users.devices, ADA)
            assert devices[who].acked in (self.model.acknowledged.get(who, 0), cursor.position.seq)
            self.model.acknowledge(who, devices[who].acked)

    @rule(hours=st.integers(1, 3), gc=st.booleans())
    def hours_pass(self, hours: int, gc: bool) -> None:
        self.model.hour += hours
        self.shift.ms = self.model.hour * HOUR_MS
        if gc:
            self.do(sweeps.take_census, self.registry)
            self.do(sweeps.sweep, self.registry, limit=1000)
            if not self.model.hurt:
                self.check_nothing_is_left()

    def check_nothing_is_left(self) -> None:
        """After gc: of what is no longer unread, nothing that would find it."""
        live = [m.sent for m in self.model.unread]
        assert self.do(self.keys.count, "messages") == len(live)
        assert self.do(self.keys.count, "topics") == len([sent for sent in live if sent.topic])
        assert self.do(self.keys.count, "bytes_by_url") == len({sent.push_url for sent in live})

    # --- what is seen ------------------------------------------------------------------------------------------------

    @rule(which=recent | anyone)
    def state(self, which: int) -> None:
        if not self.sent:
            return
        self.check_state(self.sent[which % len(self.sent)])

    def check_state(self, message: Message) -> None:
        found = self.do(self.registry.messages.state, ADA, message.ref)
        assert (found and found[0]) in self.model.states(message)

    @rule(limit=st.sampled_from([1, 2, 100]))
    def look(self, limit: int = 100) -> None:
        """What the store lists is what the model has: push URLs and unread messages, oldest first."""
        urls = self.do(self.registry.push_urls.all, ADA)
        assert [_url(url) for url in urls] == list(self.model.push_urls.values())
        listed: list[MessageRecord] = []
        while page := self.do(self.registry.messages.unread, ADA, listed[-1].ref.seq if listed else 0, limit):
            assert len(page) <= limit
            listed += page
        assert [_seen(m) for m in listed] == [_expected(m) for m in self.model.unread]
        for message in self.sent[-3:]:
            self.check_state(message)
        log = self.do(self.keys.log)
        assert len(log) <= self.model.limits.log_events
        if not self.model.holes:
            at = set(log)
            revoked = [event for position, event, _ in self.model.log if event[0] == "revoked" and position in at]
            assert self.do(self.keys.count, "ghosts") == len(revoked)

    @rule(phone=st.sampled_from(range(len(RANKS))), page_bytes=page_sizes, hung_up=st.booleans())
    def sync_one_page(self, phone: int, page_bytes: int, hung_up: bool) -> None:
        """Before the next page the connection may break, and other things happen."""
        if hung_up:
            self.phones[phone].hang_up()
        self.turn_page(self.phones[phone], page_bytes)

    @rule(phone=st.sampled_from(range(len(RANKS))), page_bytes=page_sizes)
    def sync(self, phone: int, page_bytes: int) -> None:
        self.catch_up(self.phones[phone], page_bytes)

    @rule(which=recent | anyone, nonsense=st.integers(0, 9), rank=st.integers(0, 3), page_bytes=page_sizes)
    def sync_from_anywhere(self, which: int, nonsense: int, rank: int, page_bytes: int) -> None:
        """A phone that is set up from a backup: its cursor is old, or of another log, or was never one."""
        cursor = self.cursors[which % len(self.cursors)]
        at = cursor.position
        if nonsense == 0:
            cursor = replace(cursor, position=replace(at, tag=at.tag ^ 1))
        elif nonsense == 1:
            cursor = replace(cursor, position=replace(at, seq=at.seq + 1))
        phone = Phone(rank)
        phone.cursor = cursor
        page = self.turn_page(phone, page_bytes)
        if isinstance(page, Snapshot):
            self.catch_up(phone, page_bytes)

    def turn_page(self, phone: Phone, page_bytes: int) -> object:
        """One page, which is what the model says; returns it, None when its snapshot was lost."""
        before = phone.place
        try:
            page = self.do(self.registry.messages.sync, ADA, before, min_rank=phone.rank, page_bytes=page_bytes)
        except SnapshotLost:
            assert isinstance(before, SnapshotPlace)
            assert not self.model.is_certain(before.pin)
            phone.hang_up()
            return None
        if isinstance(page, Snapshot):
            self.check_snapshot(before, page)
        else:
            assert isinstance(before, Cursor)
            told_now = [(entry.position, told(entry)) for entry in page.entries]
            assert told_now == self.model.between(before, page.cursor, phone.rank)
            assert page.done == (page.cursor.position == self.model.last)
            assert page.done or page.cursor != before, "a page that goes nowhere"
            self.cursors.append(page.cursor)
        phone.take(page)
        return page

    def check_snapshot(self, before: Cursor | SnapshotPlace | None, page: Snapshot) -> None:
        pin = page.next.pin
        if isinstance(before, SnapshotPlace):
            assert pin == before.pin
            assert page.done or page.next != before, "a page that goes nowhere"
        else:
            assert before is None or not self.model.is_certain(before), "a snapshot where a delta was owed"
            self.at_the_end(pin.epoch, pin.position)
        assert self.model.index(pin) is not None, "a snapshot pinned to a log that is no more"
        assert all(m.ref.seq <= pin.position.seq for m in page.messages)
        if page.done:
            self.cursors.append(pin)

    def catch_up(self, phone: Phone, page_bytes: int) -> None:
        """A whole sync: afterwards the phone holds what the store holds."""
        for _ in range(300):
            page = self.turn_page(phone, page_bytes)
            if page is not None and not isinstance(page, Snapshot) and page.done:  # type: ignore[attr-defined]
                break
        else:
            raise AssertionError("a sync without an end")
        assert {id_: _url(url) for id_, url in phone.push_urls.items()} == self.model.push_urls
        held = sorted((m for m in phone.messages.values() if self.lives(m)), key=lambda m: m.ref.seq)
        wanted = [m for m in self.model.unread if m.sent.rank >= phone.rank]
        assert [_seen(m) for m in held] == [_expected(m) for m in wanted]

    def lives(self, message: MessageRecord) -> bool:
        """By the phone's own clock: a message that it holds expires without being told."""
        until = next(m.until for m in self.sent if m.ref == message.ref)
        return until > self.model.hour

    def raises(
        self, error: type[Exception], question: Callable[..., Awaitable[object]], *args: Any, **more: Any
    ) -> None:
        try:
            self.do(question, *args, **more)
        except error:
            return
        raise AssertionError(f"no {error.__name__}")

    def teardown(self) -> None:
        """Whatever happened: phones that come back catch up, and the user is as usable as on the first day."""
        if not self.model.begun:
            return
        for phone in self.phones:
            phone.hang_up()
            self.catch_up(phone, 400)
        self.look()
        self.new_push_url(1, None)
        self.append_some(-1, 1, 1, 2)
        for phone in self.phones:
            self.catch_up(phone, 100_000)
        self.look()


def _url(record: PushUrlRecord) -> PushUrl:
    return PushUrl(record.id, record.number, record.site, record.vapid_key, record.icon)


def _seen(record: MessageRecord) -> tuple[object, ...]:
    return record.ref, record.rank, record.push_url, record.topic, record.body


def _expected(message: Message) -> tuple[object, ...]:
    sent = message.sent
    return message.ref, sent.rank, sent.push_url, sent.topic, sent.body
