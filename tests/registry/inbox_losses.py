"""The inbox that Redis damages: `CalmInbox` with losses in between, at random or one by one.

Whatever is lost, every sync is right or a snapshot, no script fails, and the user stays usable.
"""

import copy

from hypothesis import strategies as st
from hypothesis.stateful import rule

from pushctl.errors import StoreUnavailable
from pushctl.ids import Cursor, PushUrlId
from pushctl.registry.messages import NewMessage
from tests.registry.inbox_machine import CalmInbox
from tests.registry.inbox_model import InboxModel
from tests.registry.inbox_sight import ADA, Surroundings

LOSABLE = [
    *("messages", "unread", "unread_by_url", "bytes_by_url", "expiry", "topics", "push_urls", "push_url_order"),
    *("sites", "log", "ghosts", "stubs", "stub_expiry", "presence", "devices", "idem"),
]


class HurtInbox(CalmInbox):
    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self.copy: tuple[InboxModel, list[tuple[str, bytes]]] | None = None

    @rule(wanted=st.sampled_from(LOSABLE))
    def lose_a_key(self, wanted: str) -> None:
        """This key, or the next that is there; one at a time."""
        if self.model.hurt:
            self.catch_up(self.phones[0], 100_000)
        there = [*self.do(self.keys.nouns), *(["idem"] if self.model.answers else [])]
        first = LOSABLE.index(wanted)
        noun = next(noun for noun in LOSABLE[first:] + LOSABLE[:first] if noun in there)
        self.lose(noun)

    def lose(self, noun: str) -> None:
        if noun == "idem":
            self.lose_an_idempotency_mark(*next(iter(self.model.answers)))
            return
        self.do(self.keys.lose, noun)
        match noun:
            case "messages":
                self.model.lost_messages()
            case "push_urls":
                self.model.lost_push_urls()
            case "log" | "ghosts":
                self.model.lost_log()
            case "stubs" | "stub_expiry":
                self.model.lost_fates()
            case "devices":
                self.model.lost_devices()
                self.register()

    lose_another_key = rule(wanted=st.sampled_from(LOSABLE))(lambda self, wanted: self.lose_a_key(wanted))
    """Twice as often as other things happen."""

    def lose_an_idempotency_mark(self, url: PushUrlId, key: str) -> None:
        message = NewMessage(url, 0, 0, 0, None, "", b"", key, b"")
        self.do(self.keys.lose_mark, self.registry.messages._idempotency(ADA, message)[0]["idem"])
        del self.model.answers[url, key]

    @rule(which=st.sampled_from(["first", "middle", "last"]))
    def lose_an_entry(self, which: str) -> None:
        entries = self.do(self.keys.log)
        if entries:
            position = {"first": entries[0], "middle": entries[len(entries) // 2], "last": entries[-1]}[which]
            self.do(self.keys.lose_entry, position)
            self.model.lost_log(self.model.index(Cursor(self.model.epoch, position)))

    @rule(back=st.booleans())
    def fail_over(self, back: bool) -> None:
        """A replica gets a copy; or it becomes the master, without the newest writes: sequence numbers will be used
        again, with other tags."""
        if self.copy is None or not back:
            self.copy = copy.deepcopy(self.model), self.do(self.keys.dump)
            return
        model, dump = self.copy
        self.do(self.keys.roll_back, dump)
        hour, self.model = self.model.hour, copy.deepcopy(model)
        self.model.hour = hour

    @rule(surely=st.sampled_from([False] * 5 + [True]))
    def lose_the_user(self, surely: bool) -> None:
        if surely:
            message = self.new_message(0, 1, rank=1, topic=None, body=b"", idempotency_key=None, fingerprint=b"")
            self.do(self.keys.lose, "meta")
            self.nothing_is_known(message)
            self.register()

    def nothing_is_known(self, message: NewMessage) -> None:
        """503, never 410 or 404; and nothing is made."""
        messages, push_urls = self.registry.messages, self.registry.push_urls
        cursor = self.cursors[-1]
        self.raises(StoreUnavailable, messages.append, ADA, message)
        self.raises(StoreUnavailable, messages.announce, ADA, message)
        self.raises(StoreUnavailable, messages.read, ADA, [m.ref for m in self.sent])
        self.raises(StoreUnavailable, messages.read_upto, ADA, cursor)
        self.raises(StoreUnavailable, messages.unread, ADA, 0, 10)
        self.raises(StoreUnavailable, messages.sync, ADA, cursor, min_rank=0, page_bytes=100)
        self.raises(StoreUnavailable, messages.acknowledge, ADA, [(self.devices[0], cursor)])
        self.raises(StoreUnavailable, push_urls.all, ADA)
        self.raises(StoreUnavailable, push_urls.revoke, ADA, message.push_url)
        for m in self.sent[-1:]:
            self.raises(StoreUnavailable, messages.state, ADA, m.ref)
            self.raises(StoreUnavailable, messages.cancel, ADA, m.ref)
        assert self.do(self.registry.users.count, ADA) is None
        assert "meta" not in self.do(self.keys.nouns)
