"""Random operations on one user's inbox, against the real Redis and the model side by side (hypothesis, stateful).

`CalmInbox` loses nothing: every answer is known beforehand. Losses come in inbox_losses.py.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
import trio
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from pushctl.errors import LimitReached
from pushctl.ids import START, ConnectionId, Cursor, PushUrlId, ServerId, SessionHash, new_id
from pushctl.inbox.accounts import Accounts
from pushctl.registry.messages import NewMessage, Snapshot
from pushctl.registry.records import Change
from roles.gc import sweeps
from roles.gc.census import take_census
from tests.registry.inbox_model import HOUR_MS, PushUrl
from tests.registry.inbox_phone import name_of, told
from tests.registry.inbox_sight import ADA, InboxSight, anyone, recent


class CalmInbox(InboxSight):
    # --- the beginning -----------------------------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        self.do(self.keys.never_were)
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
                session=session,
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
        if special:
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
            message = msgspec.structs.replace(message, signed_by="another")
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
        fresh = PushUrlId(new_id())
        allow = partial(self.registry.push_urls.allow, ADA, new_id=fresh, site=named[0], vapid_key=vapid, key_id="k1")
        if before is None and len(self.model.push_urls) >= self.model.limits.push_urls:
            self.raises(LimitReached, allow, icon=icon)
            return
        outcome, record, change = self.do(allow, icon=icon)
        self.at_the_end(change.epoch, change.previous)
        url = PushUrl(record.id, record.number, record.site, record.vapid_key, record.icon)
        if before is None:
            assert outcome == "new"
            assert url == PushUrl(fresh, self.model.given + 1, named[0], vapid, icon)
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
            self.do(take_census, self.registry, Accounts(self.registry, self.config))
            self.do(sweeps.sweep, self.registry, "daemon", limit=1000)
            if not self.model.hurt:
                self.check_nothing_is_left()

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
