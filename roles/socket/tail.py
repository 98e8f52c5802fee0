"""Tailing one user's event log for one connection: what to send next, without I/O.

Owns: the connection's place in the log, the frames prepared for it, and the decision when the log must be read.
Promises:
- Logged events leave in log order, none left out, none twice. A hint is only believed when it begins exactly where the
  connection stands; anything else makes the connection `behind`, and then only the log is believed.
- At most `outbox_bytes` of prepared frames. Past that the connection is merely behind: it costs no memory, and its log
  is read again when the socket drains.
Must not know: sockets, Redis, time. A hole between hints is waited for by the caller (`has_hole`).

Why no interleaving loses an event. The steps are named in pushctl/points.py, and tests/interleavings takes them in
every order. A connection joins the hub (JOINED), claims presence (CLAIMED), reads the log (READ), and goes on from
where that read ended (LIVE). A publisher appends (APPENDED); the same script says who has claimed, and if anybody
has, a job is written (JOB_WRITTEN); the router takes these, or looks up who has claimed later still (LOCATED), and the
hint is heard.
- The append is before the read of the log: the read sees the event. Hints of it are late; they name nothing new.
- It is after that read, so after CLAIMED: the append finds this connection, so a job is written; its server is in the
  job, and a look-up, later still, finds it, too; the hint is heard after JOINED, so by this tail. Before LIVE,
  `heard_before` notes that something came which the read may lack, and the tail stays behind until a later read. After
  LIVE, it follows here.
So both JOINED and CLAIMED must come before the log is read, and APPENDED before anybody is located. JOINED comes
before CLAIMED for another reason: from CLAIMED on, a newer connection of the device may displace this one, and word of
that must find it.
"""

import math
from collections import deque
from dataclasses import dataclass

from pushctl.ids import Cursor, Position
from pushctl.protocol.jobs import Appended, HintedEvent

MAX_HELD = 16
"""Hints that wait for the hole before them to close."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A frame ready to be sent. `cursor`: the place it brings the device to, None for what is in no log; `until`: when
    it is too late to send it, by the caller's clock; `trace`: of a message that is followed."""

    frame: bytes
    cursor: Cursor | None
    is_message: bool
    until: float = math.inf
    trace: bytes | None = None
    accepted_ms: int = 0
    """When a message was accepted, by the registry's time; 0: not known, or no message."""


class Tail:
    """`cursor`: the place up to which everything was prepared or sent; None before the first read."""

    __slots__ = (
        "_heard_epoch",
        "_heard_seq",
        "_held",
        "_limit",
        "_offers",
        "_outbox",
        "_outbox_bytes",
        "behind",
        "cursor",
        "live",
        "min_rank",
        "sent",
    )

    def __init__(self, *, outbox_bytes: int, min_rank: int, cursor: Cursor | None) -> None:
        self._limit = outbox_bytes
        self.min_rank = min_rank
        self.cursor = cursor
        self.sent: Cursor | None = None
        """How far a client may acknowledge."""
        self.behind = True
        self.live = False
        """The first sync is complete: from here on events go out as frames of their own."""
        self._outbox: deque[Prepared] | None = None
        """None while it is empty: a deque takes 600 bytes."""
        self._outbox_bytes = 0
        self._held: dict[int, Appended] = {}
        self._offers = 0
        self._heard_epoch, self._heard_seq = "", 0
        """The last place that any hint named, fitting or not."""

    def has_hole(self) -> bool:
        """Hints have come whose predecessors have not: worth waiting a moment before reading the log."""
        return bool(self._held) and not self.behind

    def has_work(self) -> bool:
        """There is something to send, to read or to wait for."""
        return bool(self._outbox) or self.behind or bool(self._held)

    # --- hints -------------------------------------------------------------------------------------------------------

    def offer(self, job: Appended) -> None:
        """A hint that events were appended."""
        last = job.events[-1]
        self._offers += 1
        self._heard_seq = max(self._heard_seq, last.seq) if job.epoch == self._heard_epoch else last.seq
        self._heard_epoch = job.epoch
        if self.behind or self.cursor is None:
            return
        here = self.cursor.position
        if job.epoch != self.cursor.epoch or (last.seq == here.seq and last.tag != here.tag):
            self.fall_behind()
        elif last.seq <= here.seq:
            return
        elif Position(job.previous_seq, job.previous_tag) == here:
            self._follow(job)
        elif job.previous_seq > here.seq and len(self._held) < MAX_HELD:
            self._held[job.previous_seq] = job
        else:
            self.fall_behind()

    def _follow(self, job: Appended | None) -> None:
        while job is not None:
            for event in job.events:
                if not self._prepare(job, event):
                    self.fall_behind()
                    return
            assert self.cursor is not None
            job = self._held.pop(self.cursor.position.seq, None)
            if job is not None and job.previous_tag != self.cursor.position.tag:
                self.fall_behind()
                return

    def _prepare(self, job: Appended, event: HintedEvent) -> bool:
        if not event.frame:
            return False
        cursor = Cursor(job.epoch, Position(event.seq, event.tag))
        is_message = event.rank >= 0
        wanted = not 0 <= event.rank < self.min_rank
        if wanted:
            is_message = event.rank >= 0
            trace = job.trace if is_message else None
            prepared = Prepared(event.frame, cursor, is_message, accepted_ms=event.accepted_ms, trace=trace)
            if not self._put(prepared):
                return False
        self.cursor = cursor
        return True

    def offer_ephemeral(
        self, rank: int, frame: bytes, until: float, accepted_ms: int = 0, trace: bytes | None = None
    ) -> None:
        """A message in no log: before `until` or never. Nothing comes of it when there is no room for it, or before the
        first sync."""
        if self.live and not 0 <= rank < self.min_rank:
            self._put(Prepared(frame, None, is_message=True, until=until, accepted_ms=accepted_ms, trace=trace))

    def fall_behind(self) -> None:
        """Only the log is believed until it was read to its end."""
        self.behind = True
        self._held.clear()

    def is_at(self, last: Cursor) -> bool:
        """Whether nothing is missing if the log ends at `last`."""
        return self.behind or self.cursor == last

    @property
    def outbox_bytes(self) -> int:
        """Of frames that are prepared."""
        return self._outbox_bytes

    # --- sending -----------------------------------------------------------------------------------------------------

    def _put(self, prepared: Prepared) -> bool:
        size = len(prepared.frame)
        if self._outbox_bytes + size > self._limit and self._outbox:
            return False
        self._outbox = self._outbox or deque()
        self._outbox.append(prepared)
        self._outbox_bytes += size
        return True

    def take(self) -> Prepared | None:
        """The next prepared frame, which the caller is about to send."""
        if not self._outbox:
            return None
        prepared = self._outbox.popleft()
        self._outbox_bytes -= len(prepared.frame)
        self._outbox = self._outbox or None
        self.sent = prepared.cursor or self.sent
        return prepared

    # --- reading the log ---------------------------------------------------------------------------------------------

    def begin_read(self) -> int:
        """Before a read of the log is sent: hints that came so far are answered by that read, whatever it says."""
        return self._offers

    def end_read(self, cursor: Cursor, *, done: bool, heard_before: int) -> None:
        """A page was read and sent; `cursor` is the place after it. Behind no longer if it was the last page, and every
        hint that came meanwhile was of something it has."""
        self.cursor = self.sent = cursor
        if done:
            self.live = True
            covered = self._heard_epoch == cursor.epoch and self._heard_seq <= cursor.position.seq
            self.behind = self._offers > heard_before and not covered
