"""A simulated device beside the model: it applies deltas and snapshots as a client would, and knows nothing else."""

from pushctl.ids import Cursor, MessageRef, Position, PushUrlId
from pushctl.registry.messages import Delta, Snapshot, SnapshotPlace
from pushctl.registry.records import (
    DroppedEntry,
    Entry,
    MessageEntry,
    MessageRecord,
    PushUrlEntry,
    PushUrlRecord,
    ReadEntry,
    RevokedEntry,
)
from tests.registry.inbox_model import Event


def told(entry: Entry) -> Event:
    """An entry of the log in the model's words."""
    match entry:
        case MessageEntry():
            return ("message", str(entry.message.ref))
        case ReadEntry():
            return ("read", *map(str, entry.refs))
        case DroppedEntry():
            return ("dropped", entry.reason, *map(str, entry.refs))
        case PushUrlEntry():
            return ("push_url", entry.push_url.id)
        case RevokedEntry():
            return ("revoked", entry.push_url)


def name_of(ref: MessageRef) -> Position:
    return Position(ref.seq, ref.tag)


class Phone:
    """`rank`: its urgency filter; `cursor`: what it would say hello with; `place`: where its sync goes on."""

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.cursor: Cursor | None = None
        self.push_urls: dict[PushUrlId, PushUrlRecord] = {}
        self.messages: dict[Position, MessageRecord] = {}
        self.hang_up()

    def hang_up(self) -> None:
        """The connection is gone, and with it the pages of a snapshot that was not done."""
        self.pages: list[Snapshot] = []

    @property
    def place(self) -> Cursor | SnapshotPlace | None:
        return self.pages[-1].next if self.pages else self.cursor

    def take(self, page: Delta | Snapshot) -> None:
        if isinstance(page, Delta):
            assert not self.pages, "a delta in the middle of a snapshot"
            for entry in page.entries:
                self._apply(entry)
            self.cursor = page.cursor
            return
        self.pages.append(page)
        if page.done:
            self.push_urls = {url.id: url for one in self.pages for url in one.push_urls}
            self.messages = {name_of(m.ref): m for one in self.pages for m in one.messages}
            self.cursor = page.next.pin
            self.hang_up()

    def _apply(self, entry: Entry) -> None:
        match entry:
            case MessageEntry():
                self.messages[name_of(entry.message.ref)] = entry.message
            case ReadEntry() | DroppedEntry():
                for ref in entry.refs:
                    self.messages.pop(name_of(ref), None)
            case PushUrlEntry():
                self.push_urls[entry.push_url.id] = entry.push_url
            case RevokedEntry():
                self.push_urls.pop(entry.push_url, None)
