"""One user's inbox, said in plain Python: what the registry's scripts promise, without keys, indexes or Lua.

Time is counted in hours. A place in the log is named by its position; the product chooses the tags, so each change is
told to the model together with what the product answered (`ref`, `wrote`). What Redis loses is told by the `lost_…`
methods; from then on the model says only what is still promised: whoever stood before the loss may get a snapshot.

Must not know: Redis, the registry's methods, hypothesis.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pushctl.errors import IdempotencyMismatch, PushUrlGone, StoreUnavailable, VapidForbidden, VapidMissing
from pushctl.ids import START, Cursor, DeviceId, MessageRef, Position, PushUrlId
from pushctl.registry.messages import NewMessage

Event = tuple[str, ...]
"""('message', ref) ('read', ref, …) ('dropped', reason, ref, …) ('push_url', id) ('revoked', id) ('broken',)"""

HOUR_MS = 3_600_000


@dataclass(frozen=True)
class Limits:
    messages: int
    bytes: int
    messages_per_url: int
    bytes_per_url: int
    push_urls: int
    log_events: int
    log_hours: int


@dataclass(frozen=True)
class PushUrl:
    id: PushUrlId
    number: int
    site: str
    vapid: str | None
    icon: str | None


@dataclass(frozen=True)
class Message:
    ref: MessageRef
    sent: NewMessage
    until: int
    """The hour at which it expires."""

    @property
    def name(self) -> Position:
        return Position(self.ref.seq, self.ref.tag)


class InboxModel:
    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.hour = 0
        self.begun = False

    def begin(self, epoch: str) -> None:
        """The user registers: a new epoch, in which nothing was before."""
        self.begun = True
        self.epoch = epoch
        self.push_urls: dict[PushUrlId, PushUrl] = {}
        self.given = 0
        self.kept: dict[Position, Message] = {}
        self.fates: dict[Position, str] = {}
        self.fading: dict[Position, str] = {}
        self.answers: dict[tuple[PushUrlId, str], tuple[bytes, MessageRef]] = {}
        self.filters: dict[DeviceId, int] = {}
        self.acknowledged: dict[DeviceId, int] = {}
        self.log: list[tuple[Position, Event, int]] = [(START, ("begin",), self.hour)]
        self.certain_from = 0
        self.holes = False
        self.hurt = False

    # --- what is there -----------------------------------------------------------------------------------------------

    @property
    def unread(self) -> list[Message]:
        """Oldest first; what is past its moment is not there, swept or not."""
        return sorted((m for m in self.kept.values() if m.until > self.hour), key=lambda m: m.ref.seq)

    def finds(self, name: Position) -> Message | None:
        message = self.kept.get(name)
        return message if message and message.until > self.hour else None

    def states(self, message: Message) -> set[str | None]:
        """What may be said of a message that was stored once, in this log or in one that was rolled back."""
        if message.until <= self.hour:
            return {"expired"}
        if self.finds(message.name):
            seen = any(
                at >= message.ref.seq and message.sent.rank >= self.filters[device]
                for device, at in self.acknowledged.items()
            )
            return {"delivered" if seen else "stored"}
        if message.name in self.fading:
            return {None, self.fading[message.name]}
        return {self.fates.get(message.name)}

    def refuses(self, message: NewMessage) -> type[Exception] | None:
        url = self.push_urls.get(message.push_url)
        if url is None:
            return PushUrlGone if message.number <= self.given else StoreUnavailable
        if url.vapid and url.vapid != message.signed_by:
            return VapidForbidden if message.signed_by else VapidMissing
        before = self.answers.get((message.push_url, message.idempotency_key or ""))
        return IdempotencyMismatch if before and before[0] != message.fingerprint else None

    def answered(self, message: NewMessage) -> MessageRef | None:
        """The answer that this idempotency key had before."""
        before = self.answers.get((message.push_url, message.idempotency_key or ""))
        return before[1] if before else None

    # --- changes: each returns the events it appends -----------------------------------------------------------------

    def append(self, message: NewMessage, ref: MessageRef) -> list[Event]:
        events = self._replace_topic(message)
        evicted: list[Message] = []
        url, size, limits = message.push_url, len(message.body), self.limits
        while _over(mine := self._of(url), size, limits.messages_per_url, limits.bytes_per_url):
            evicted.append(self._end(mine[0], "evicted"))
        while _over(self.unread, size, limits.messages, limits.bytes):
            fattest = max({m.sent.push_url for m in self.unread}, key=lambda one: (_bytes(self._of(one)), one))
            evicted.append(self._end(self._of(fattest)[0], "evicted"))
        if evicted:
            events.append(("dropped", "evicted", *(str(m.ref) for m in evicted)))
        stored = Message(ref, message, self.hour + message.lifetime_ms // HOUR_MS)
        self.kept[stored.name] = stored
        self._remember(message, ref)
        return [*events, ("message", str(ref))]

    def announce(self, message: NewMessage, ref: MessageRef) -> list[Event]:
        self._remember(message, ref)
        return self._replace_topic(message)

    def read(self, names: Iterable[Position]) -> list[Event]:
        read = [self._end(message, "read") for name in names if (message := self.finds(name))]
        return [("read", *(str(m.ref) for m in read))] if read else []

    def cancel(self, name: Position) -> list[Event]:
        message = self.finds(name)
        return [("dropped", "cancelled", str(self._end(message, "cancelled").ref))] if message else []

    def allow(self, url: PushUrl) -> list[Event]:
        """Of a new push URL, or of one whose icon changed."""
        self.push_urls[url.id] = url
        self.given = max(self.given, url.number)
        return [("push_url", url.id)]

    def revoke(self, push_url: PushUrlId) -> list[Event]:
        return [("revoked", push_url)] if self.push_urls.pop(push_url, None) else []

    def acknowledge(self, device: DeviceId, seq: int) -> None:
        if device in self.filters:
            self.acknowledged[device] = max(seq, self.acknowledged.get(device, 0))

    def _of(self, url: PushUrlId) -> list[Message]:
        return [m for m in self.unread if m.sent.push_url == url]

    def _end(self, message: Message, fate: str) -> Message:
        del self.kept[message.name]
        self.fates[message.name] = fate
        return message

    def _replace_topic(self, message: NewMessage) -> list[Event]:
        old = [m for m in self._of(message.push_url) if message.topic and m.sent.topic == message.topic]
        return [("dropped", "replaced", str(self._end(m, "replaced").ref)) for m in old]

    def _remember(self, message: NewMessage, ref: MessageRef) -> None:
        if message.idempotency_key:
            self.answers[message.push_url, message.idempotency_key] = (message.fingerprint, ref)

    # --- the log -----------------------------------------------------------------------------------------------------

    @property
    def last(self) -> Position:
        return self.log[-1][0]

    def wrote(self, events: list[Event], positions: list[Position]) -> None:
        """These events stand at these positions now. The log keeps so many, and for so long."""
        for event, position in zip(events, positions, strict=True):
            assert position.seq == self.last.seq + 1, "positions follow each other without a hole"
            self.log.append((position, event, self.hour))
        kept = max(len(self.log) - self.limits.log_events, 1)
        while kept < len(self.log) and self.log[kept][2] <= self.hour - self.limits.log_hours:
            kept += 1
        if events:
            self.certain_from = max(self.certain_from, kept - 1)

    def index(self, cursor: Cursor) -> int | None:
        """Where in the log a cursor stands; None when it is of another log: nothing may ever follow it."""
        places = (n for n, (at, _, _) in enumerate(self.log) if at == cursor.position)
        return next(places, None) if cursor.epoch == self.epoch else None

    def is_certain(self, cursor: Cursor) -> bool:
        """It can be proved that this cursor is of this log: it gets a delta, never a snapshot."""
        index = self.index(cursor)
        return index is not None and index >= self.certain_from and not self.hurt

    def between(self, after: Cursor, upto: Cursor, rank: int) -> list[tuple[Position, Event]]:
        """What a delta must tell on this way: all but messages that are no longer unread, or below the filter."""
        first, last = self.index(after), self.index(upto)
        assert first is not None, "a delta from a place that is not of this log"
        assert last is not None, "a cursor that is not of this log"
        way = [(at, event) for at, event, _ in self.log[first + 1 : last + 1]]
        assert ("broken",) not in [event for _, event in way], "a delta over a loss"
        hidden = {at for at, event in way if event[0] == "message" and not self._shown(at, rank)}
        return [(at, event) for at, event in way if at not in hidden]

    def _shown(self, name: Position, rank: int) -> bool:
        message = self.finds(name)
        return message is not None and message.sent.rank >= rank

    # --- what Redis lost ---------------------------------------------------------------------------------------------

    def lost_messages(self) -> None:
        self.kept.clear()
        self.hurt = True

    def lost_push_urls(self) -> None:
        self.push_urls.clear()
        self.hurt = True

    def lost_log(self, upto: int | None = None) -> None:
        """The entry of this index, or all. Whoever stands at the end needs none of them."""
        self.holes = True
        last = len(self.log) - 1
        self.certain_from = max(self.certain_from, last if upto is None else min(upto + 1, last))

    def lost_fates(self) -> None:
        self.fading |= self.fates
        self.fates = {}

    def lost_devices(self) -> None:
        self.filters.clear()
        self.acknowledged.clear()

    def broken_at(self, position: Position) -> None:
        """The product says that something was lost: a place of its own, and nobody passes it with a delta."""
        assert self.hurt, "nothing was lost, and yet the log was broken"
        self.hurt = False
        self.wrote([("broken",)], [position])
        self.certain_from = len(self.log) - 1


def _bytes(messages: list[Message]) -> int:
    return sum(len(m.sent.body) for m in messages)


def _over(messages: list[Message], more: int, count: int, size: int) -> bool:
    return bool(messages) and (len(messages) >= count or _bytes(messages) + more > size)
