"""What the devices of a swarm were told: enough to find whatever was lost, came twice or out of order, and no more.

Owns: for each device its cursor and the reads it owes; for each user which unread messages which of the devices have.
Promises: a message costs one entry per user, not per device; a device that was told nothing costs a few hundred bytes.
The same seam as a store (intake.Keeper), so a device of a swarm takes frames in exactly as a phone does.
Must not know: sockets, when to acknowledge.

A cursor is opaque to clients. Here, and only here, a client looks into it: within a connection each logged event comes
once and in order, none left out (docs/protocol.md, section 4), so the numbers in live cursors must go up by one. Where
a cursor has another form, or a filter leaves messages out, holes cannot be seen; the final look at what the service
still holds unread (verdict.py) then finds what is missing.
"""

from collections.abc import Callable, Sequence

from pushctl.client import events
from pushctl.client.report import Tally
from pushctl.clock import Clock, parse_rfc3339
from pushctl.ids import Cursor
from pushctl.protocol import frames
from pushctl.protocol.frames import FrameInvalid, Message, Urgency

MOST_HOLES = 10_000
"""Numbers remembered as left out, per device. More are counted, but would count as duplicates if they came late."""

MOST_EPHEMERAL = 64
"""TTL 0 messages remembered per user, to notice one that comes twice. It is due within two seconds."""


Heard = Callable[["DeviceLedger", Message], None]


def hear_nothing(device: "DeviceLedger", message: Message) -> None:
    """Nobody wants to know of single messages."""


class UserLedger:
    """What the devices of one user share."""

    __slots__ = ("_ephemeral", "_unread")

    def __init__(self) -> None:
        self._unread: dict[str, int] = {}
        self._ephemeral: dict[str, int] = {}

    def has(self, message_id: str, bit: int) -> bool:
        return bool(self._unread.get(message_id, 0) & bit)

    def add(self, message_id: str, bit: int) -> bool:
        """False if this device had it."""
        before = self._unread.get(message_id, 0)
        self._unread[message_id] = before | bit
        return not before & bit

    def add_ephemeral(self, message_id: str, bit: int) -> bool:
        before = self._ephemeral.pop(message_id, 0)
        self._ephemeral[message_id] = before | bit
        if len(self._ephemeral) > MOST_EPHEMERAL:
            del self._ephemeral[next(iter(self._ephemeral))]
        return not before & bit

    def remove(self, message_id: str) -> None:
        """Read or dropped. A device that learns of the message only now adds it again, and then learns of that."""
        self._unread.pop(message_id, None)

    def keep_only(self, ids: set[str], bit: int) -> None:
        """After a snapshot: of what this device had, only these are unread still."""
        for message_id, mask in list(self._unread.items()):
            if mask & bit and message_id not in ids:
                if mask == bit:
                    del self._unread[message_id]
                else:
                    self._unread[message_id] = mask & ~bit


class DeviceLedger:
    """One device's. `number`: which of the user's devices it is, from 0."""

    __slots__ = (
        "_bit",
        "_clock",
        "_heard",
        "_holes",
        "_reads",
        "_tally",
        "_user",
        "_wants_to_read",
        "cursor",
        "place",
        "unsaid",
    )

    def __init__(
        self,
        user: UserLedger,
        number: int,
        tally: Tally,
        *,
        clock: Clock,
        wants_to_read: Callable[[], bool],
        heard: Heard = hear_nothing,
    ) -> None:
        """`heard`: is told of each message that comes as it is sent, once."""
        self._user = user
        self._bit = 1 << number
        self._tally = tally
        self._clock = clock
        self._wants_to_read = wants_to_read
        self._heard = heard
        self._holes: set[int] | None = None
        self._reads: dict[str, int] = {}
        self.cursor: str | None = None
        """From where to go on. None = a snapshot is needed."""
        self.place: Cursor | None = None
        """The cursor taken apart; None if it has another form."""
        self.unsaid: list[str] = []
        """Messages read here of which this connection has not told the server."""

    def has(self, message_id: str) -> bool:
        return self._user.has(message_id, self._bit)

    def begin_connection(self) -> None:
        self.unsaid = []

    def repeat_reads(self) -> None:
        """What is read here and not confirmed is to be said again, once what was missed is known."""
        now = self._clock()
        self._reads = {message_id: until for message_id, until in self._reads.items() if until > now}
        self.unsaid = list(self._reads)

    # --- intake.Keeper -----------------------------------------------------------------------------------------------

    def apply_event(self, event: frames.Event, min_urgency: Urgency) -> list[events.Event]:
        if isinstance(event, frames.MessageEvent):
            self._tally.latency.add(self._clock() - _moment(event.message.sent_at))
        if event.cursor is None:
            assert isinstance(event, frames.MessageEvent)  # by its shape: no other has a null cursor
            new = self._user.add_ephemeral(event.message.id, self._bit)
            self._tally.received_live += new
            self._tally.duplicate += not new
            return []
        self._apply(event, event.cursor, live=True, whole=min_urgency == "very-low")
        return []

    def apply_delta(self, page: frames.DeltaFrame, min_urgency: Urgency) -> list[events.Event]:
        for event in page.events:
            if event.cursor is None:
                raise FrameInvalid("an event of a delta has no cursor", field="$.events")
            self._apply(event, event.cursor, live=False, whole=False)
        self.cursor, self.place = page.cursor, _parsed(page.cursor)
        if page.done:
            self._tally.deltas += 1
        return []

    def apply_snapshot(self, pages: Sequence[frames.SnapshotFrame]) -> list[events.Event]:
        cursor = pages[-1].cursor
        if cursor is None:
            raise FrameInvalid("the last page of a snapshot has no cursor", field="$.cursor")
        messages = [message for page in pages for message in page.messages]
        ids = {message.id for message in messages}
        self._tally.duplicate += len(messages) - len(ids)
        if not any(isinstance(page.min_urgency, str) for page in pages):
            self._user.keep_only(ids, self._bit)
            self._reads = {message_id: until for message_id, until in self._reads.items() if message_id in ids}
        for message in messages:
            if self._user.add(message.id, self._bit):
                self._received(message, live=False)
        self.cursor, self.place, self._holes = cursor, _parsed(cursor), None
        self._tally.snapshots += 1
        return []

    # --- inside ------------------------------------------------------------------------------------------------------

    def _apply(self, event: frames.Event, cursor: str, *, live: bool, whole: bool) -> None:
        """`whole`: no number may be left out."""
        message = event.message if isinstance(event, frames.MessageEvent) else None
        has_it = message is not None and self.has(message.id)
        here = _parsed(cursor)
        if self._is_behind(here):
            late = self._fills_a_hole(here) or (not whole and message is not None and not has_it)
            self._tally.reordered += late
            self._tally.duplicate += not late
            if not late:
                return
        else:
            if whole:
                self._note_holes(here)
            self.cursor, self.place = cursor, here
            self._tally.duplicate += has_it
        if message is not None and self._user.add(message.id, self._bit):
            self._received(message, live=live)
        if isinstance(event, frames.ReadEvent | frames.DroppedEvent):
            for message_id in event.ids:
                self._user.remove(message_id)
                self._tally.reads_confirmed += self._reads.pop(message_id, None) is not None

    def _is_behind(self, here: Cursor | None) -> bool:
        """Whether it is not after all that came before. What cannot be compared is not."""
        before = self.place
        if before is None or here is None or before.epoch != here.epoch:
            return False
        return here.position.seq <= before.position.seq

    def _note_holes(self, here: Cursor | None) -> None:
        before = self.place
        if before is None or here is None or before.epoch != here.epoch:
            return
        left_out = range(before.position.seq + 1, here.position.seq)
        if left_out:
            self._tally.skipped += len(left_out)
            self._holes = self._holes or set()
            self._holes.update(left_out[: MOST_HOLES - len(self._holes)])

    def _fills_a_hole(self, here: Cursor | None) -> bool:
        if here is None or not self._holes or here.position.seq not in self._holes:
            return False
        self._holes.discard(here.position.seq)
        self._tally.skipped -= 1
        return True

    def _received(self, message: Message, *, live: bool) -> None:
        if live:
            self._tally.received_live += 1
            self._heard(self, message)
        else:
            self._tally.received_later += 1
        if self._wants_to_read():
            self._reads[message.id] = _moment(message.expires_at)
            self.unsaid.append(message.id)
            self._tally.reads += 1


def _parsed(cursor: str) -> Cursor | None:
    try:
        return Cursor.parse(cursor)
    except ValueError:
        return None


def _moment(text: str) -> int:
    """Milliseconds since 1970. Raises FrameInvalid."""
    try:
        return parse_rfc3339(text)
    except ValueError as error:
        raise FrameInvalid(f"not a moment: {error}", field="$.message") from None
