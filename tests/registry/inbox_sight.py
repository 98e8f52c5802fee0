"""What is seen of an inbox, beside its model: lists, states, and the syncs of simulated devices.

The base of the machines: it asks and compares, and changes nothing. Hypothesis is synchronous, so a machine runs in a
thread, and `do` carries each question to the registry's Trio.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import trio
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from pushctl.config.model import Config
from pushctl.ids import START, Cursor, DeviceId, Position, UserId
from pushctl.registry import Registry
from pushctl.registry.messages import Delta, Snapshot, SnapshotLost, SnapshotPlace
from pushctl.registry.records import MessageRecord, PushUrlRecord
from tests.registry.conftest import Shift
from tests.registry.damage import UserKeys
from tests.registry.inbox_model import InboxModel, Limits, Message, PushUrl
from tests.registry.inbox_phone import Phone, told

T = TypeVar("T")
ADA = UserId("ada")
PATIENCE_SECONDS = 60
"""For one question, on a machine that may be busy."""

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
    config: Config

    def keys(self) -> UserKeys:
        return UserKeys(self.registry, self.registry.users._store.keys, ADA)


class InboxSight(RuleBasedStateMachine):
    def __init__(self, around: Surroundings) -> None:
        super().__init__()
        self.registry, self.shift, self.keys = around.registry, around.shift, around.keys()
        self.config = around.config
        self.shift.ms = 0
        self.model = InboxModel(around.limits)
        self.phones = [Phone(rank) for rank in RANKS]
        self.urls: list[PushUrl] = []
        self.sent: list[Message] = []
        self.cursors: list[Cursor] = [Cursor("0" * 16, START)]
        self.devices: list[DeviceId] = []
        self.fresh = 0

    def do(self, question: Callable[..., Awaitable[T]], *args: Any, **named: Any) -> T:
        async def ask() -> T:
            with trio.fail_after(PATIENCE_SECONDS):
                return await question(*args, **named)

        return trio.from_thread.run(ask)

    def at_the_end(self, epoch: str, position: Position) -> None:
        """The product says that the log ends here."""
        assert epoch == self.model.epoch
        if position != self.model.last and position not in [at for at, _, _ in self.model.log]:
            self.model.broken_at(position)
        assert position == self.model.last

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

    def turn_page(self, phone: Phone, page_bytes: int) -> Delta | Snapshot | None:
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
            if isinstance(page, Delta) and page.done:
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

    def check_nothing_is_left(self) -> None:
        """After gc: of what is no longer unread, no body and nothing that would find it."""
        live = [m.sent for m in self.model.unread]
        assert self.do(self.keys.count, "messages") == len(live)
        assert self.do(self.keys.count, "topics") <= len([sent for sent in live if sent.topic])
        assert self.do(self.keys.count, "bytes_by_url") <= len({sent.push_url for sent in live})

    def raises(
        self, error: type[Exception], question: Callable[..., Awaitable[object]], *args: Any, **more: Any
    ) -> None:
        try:
            self.do(question, *args, **more)
        except error:
            return
        raise AssertionError(f"no {error.__name__}")


def _url(record: PushUrlRecord) -> PushUrl:
    return PushUrl(record.id, record.number, record.site, record.vapid_key, record.icon)


def _seen(record: MessageRecord) -> tuple[object, ...]:
    return record.ref, record.rank, record.push_url, record.topic, record.body


def _expected(message: Message) -> tuple[object, ...]:
    sent = message.sent
    return message.ref, sent.rank, sent.push_url, sent.topic, sent.body
