"""One ledger of every message: when it was accepted, which device received it when, who read it, and what is wrong.

Owns: the judgement. A message is known by its name, which is what it says; a device by its book.
Promises: no I/O, and time is a parameter: seconds of one monotonic clock, that of the process which sends and receives.
What is wrong is a Problem: told at once where that is possible, else by `missing` and `judge`.
Must not know: sockets, frames, what was done to the service.

What may be excused. A message not answered 201 may or may not exist, but if anybody has it everybody must. A message
that a device asked to be marked read need not come to devices that learn so first. Nothing else is excused.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

EPHEMERAL_SECONDS = 2.0
"""A message with TTL 0 never comes later than this after it was accepted."""

Kind = Literal[
    "lost", "duplicate", "order", "foreign", "late", "read", "answer", "closed", "snapshot", "leftover", "process"
]


@dataclass(frozen=True, slots=True)
class Problem:
    kind: Kind
    text: str
    at: float
    """When the message it is about was sent, or when it happened."""


@dataclass(slots=True)
class Message:
    name: str
    user: str
    ttl: int
    sent: float
    """When its first POST began."""
    answered: float | None = None
    """When its 201 was there."""
    ids: set[str] = field(default_factory=set)
    """What the service calls it: one, if it was stored once."""
    read_asked: float | None = None
    """When a device first asked for it to be marked read."""

    @property
    def exists(self) -> bool:
        """It must be somewhere: promised, or seen."""
        return self.answered is not None or bool(self.ids)


class Ledger:
    def __init__(self) -> None:
        self.messages: dict[str, Message] = {}
        self.books: list[Book] = []
        self.problems: list[Problem] = []
        self._names: dict[str, str] = {}
        self._lasting: dict[str, list[Message]] = {}

    def note(self, kind: Kind, text: str, at: float) -> None:
        self.problems.append(Problem(kind, text, at))

    # --- senders -----------------------------------------------------------------------------------------------------

    def sending(self, name: str, user: str, ttl: int, at: float) -> None:
        message = self.messages[name] = Message(name, user, ttl, at)
        if ttl:
            self._lasting.setdefault(user, []).append(message)

    def accepted(self, name: str, id_: str, at: float) -> None:
        """A 201; of a retry, too."""
        message = self.messages[name]
        if message.answered is None:
            message.answered = at
        self.identify(message, id_)

    def identify(self, message: Message, id_: str) -> None:
        """Somebody calls this message so. A second name for it is a second copy."""
        if self._names.setdefault(id_, message.name) != message.name:
            self.note("duplicate", f"{message.name} and {self._names[id_]} have one id", message.sent)
        if id_ not in message.ids:
            message.ids.add(id_)
            if len(message.ids) > 1:
                self.note("duplicate", f"{message.name} was stored twice", message.sent)

    # --- readers -----------------------------------------------------------------------------------------------------

    def asked_to_read(self, id_: str, at: float) -> None:
        message = self.messages[self._names[id_]]
        if message.read_asked is None:
            message.read_asked = at

    def message_of(self, id_: str) -> Message | None:
        name = self._names.get(id_)
        return self.messages[name] if name else None

    # --- at the end --------------------------------------------------------------------------------------------------

    def lasting(self, user: str) -> list[Message]:
        """This user's messages with a TTL that exist."""
        return [message for message in self._lasting.get(user, []) if message.exists]

    def missing(self) -> Iterator[tuple[Message, "Book"]]:
        """Messages that a device has not, and has no excuse for not having."""
        for book in self.books:
            yield from ((message, book) for message in self.lasting(book.user) if not book.has(message))

    def judge(self, lag: Callable[[float, float], float], calm: Sequence[tuple[float, float]] = ()) -> list[Problem]:
        """Everything that is wrong, once all settled. `lag(a, b)`: for how long of that time this process, whose clock
        it is, was not listening. `calm`: begins and ends of times when nothing was wrong with the service."""
        problems = list(self.problems)
        for message, book in self.missing():
            problems.append(Problem("lost", f"{message.name} never came to {book.label}", message.sent))
        for book in self.books:
            problems += book.late(lag)
            problems += self._passed_by(book, calm)
        problems += self._quarrels()
        return problems

    def _passed_by(self, book: "Book", calm: Sequence[tuple[float, float]]) -> Iterator[Problem]:
        """Messages with TTL 0 that a connected device did not get, though nothing was wrong."""
        for message in self.messages.values():
            if message.ttl or message.user != book.user or message.answered is None or message.name in book.received:
                continue
            during = message.sent, message.answered + EPHEMERAL_SECONDS
            if book.was_connected(*during) and any(begin <= message.sent and during[1] <= end for begin, end in calm):
                yield Problem("lost", f"{message.name} (TTL 0) passed {book.label} by in a calm time", message.sent)

    def _quarrels(self) -> Iterator[Problem]:
        """Devices of a user that have seen the same messages in another order."""
        for one, other in pairwise(sorted(self.books, key=lambda book: book.user)):
            if one.user == other.user:
                common = one.history.keys() & other.history.keys()
                mine, theirs = ([name for name in book.history if name in common] for book in (one, other))
                if mine != theirs:
                    first = next(pair for pair in zip(mine, theirs, strict=True) if pair[0] != pair[1])
                    text = f"{one.label} and {other.label} differ from {first} on"
                    yield Problem("order", text, self.messages[first[0]].sent)

    def compare_unread(self, user: str, stored: dict[str, str], at: float) -> None:
        """What the service says is unread (id -> name) against what was sent, asked to be read, and what each of the
        user's devices shows. Before `judge`: a message that only the service has is expected at every device."""
        names: set[str] = set()
        for id_, name in stored.items():
            message = self.messages.get(name)
            if message is None or message.user != user:
                self.note("foreign", f"{name} is unread at {user}", at)
                continue
            self.identify(message, id_)
            names.add(name)
        for message in self.lasting(user):
            if message.read_asked is None and message.name not in names:
                self.note("lost", f"{message.name} is not among the unread, and nobody read it", message.sent)
            if message.read_asked is not None and message.name in names:
                self.note("read", f"{message.name} was marked read and is unread", message.sent)
        for book in self.books:
            if book.user == user and (differing := book.unread().keys() ^ names):
                for name in differing:
                    where = "shown by" if name in book.unread() else "unread, but not at"
                    self.note("read", f"{name} is {where} {book.label}", self.messages[name].sent)


@dataclass(slots=True)
class _History:
    """What a device knows through its cursor: messages in the order they came, and what was read."""

    names: dict[str, str] = field(default_factory=dict)
    """name -> id"""
    gone: set[str] = field(default_factory=set)
    """ids"""
    latest_sent: float = 0.0
    """Of all these messages."""
    since: float | None = None
    """When the snapshot it began with was complete."""

    def copy(self) -> "_History":
        return _History(dict(self.names), set(self.gone), self.latest_sent, self.since)


class Book:
    """One device. `punctual`: it reads at once, so what comes late was sent late. Not `whole`: only what it received is
    judged, not what it did not."""

    def __init__(self, ledger: Ledger, user: str, label: str, *, punctual: bool = True, whole: bool = True) -> None:
        self._ledger = ledger
        self.user = user
        self.label = label
        self.received: dict[str, float] = {}
        """By name, the first time."""
        self.away: list[tuple[float, float]] = []
        """When it left by its own will, and when it began to look for a server again."""
        self.punctual = punctual
        self._connected: list[tuple[float, float]] = []
        self._came: float | None = None
        self._history = _History()
        self._saved = _History()
        self._ephemeral: dict[str, float] = {}
        if whole:
            ledger.books.append(self)

    @property
    def history(self) -> dict[str, str]:
        """What it got through its cursor: name -> id, in order."""
        return self._history.names

    # --- what it receives --------------------------------------------------------------------------------------------

    def message(self, id_: str, name: str, at: float, *, logged: bool) -> None:
        """`logged`: it has a place in the log, a cursor."""
        message = self._known(id_, name, at)
        if message is None:
            return
        self.received.setdefault(name, at)
        if logged is not bool(message.ttl):
            self._ledger.note("order", f"{name} with TTL {message.ttl} came to {self.label} {logged=}", message.sent)
        elif logged:
            self._next(message, id_)
        elif name in self._ephemeral:
            self._ledger.note("duplicate", f"{name} (TTL 0) came to {self.label} twice", message.sent)
        else:
            self._ephemeral[name] = at

    def snapshot(self, messages: Iterable[tuple[str, str]], at: float) -> None:
        """(id, name) of everything that is unread: whatever was before counts no more."""
        self._history = _History(since=at)
        for id_, name in messages:
            if message := self._known(id_, name, at):
                self.received.setdefault(name, at)
                self._next(message, id_)

    def gone(self, ids: Iterable[str], at: float) -> None:
        """Marked read."""
        self._history.gone.update(ids)
        for id_ in ids:
            message = self._ledger.message_of(id_)
            if message is not None and message.read_asked is None:
                self._ledger.note("read", f"{message.name} was read by nobody; {self.label} was told so", at)

    def _known(self, id_: str, name: str, at: float) -> Message | None:
        message = self._ledger.messages.get(name)
        if message is None or message.user != self.user:
            self._ledger.note("foreign", f"{name!r} came to {self.label}", at)
            return None
        self._ledger.identify(message, id_)
        return message

    def _next(self, message: Message, id_: str) -> None:
        history = self._history
        if message.name in history.names:
            self._ledger.note("duplicate", f"{message.name} came to {self.label} again", message.sent)
        elif id_ in history.gone:
            self._ledger.note("order", f"{message.name} came to {self.label} after it was read", message.sent)
        elif message.answered is not None and message.answered < history.latest_sent:
            # Accepted before another was even sent, which is here already: it stands before that one in the log.
            self._ledger.note("order", f"{message.name} came to {self.label} behind a later one", message.sent)
        history.names[message.name] = id_
        history.latest_sent = max(history.latest_sent, message.sent)

    # --- its connections ---------------------------------------------------------------------------------------------

    def came(self, at: float) -> None:
        """It is connected and in sync."""
        self._came = self._came or at

    def went(self, at: float) -> None:
        if self._came is not None:
            self._connected.append((self._came, at))
            self._came = None

    def was_connected(self, begin: float, end: float) -> bool:
        """And in sync, all of this time."""
        if self._came is not None and self._came <= begin:
            return True
        return any(came <= begin and end <= went for came, went in self._connected)

    # --- its cursor --------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """The device keeps its cursor as it is now."""
        self._saved = self._history.copy()

    def rewind(self) -> None:
        """It goes back to the cursor it kept: what came since will come again."""
        self._history = self._saved.copy()

    def forget(self) -> None:
        """It has no cursor any more."""
        self._history = _History()
        self._saved = _History()

    # --- what it has -------------------------------------------------------------------------------------------------

    def has(self, message: Message) -> bool:
        """Or knows that it was read; or was told everything that is unread, after somebody asked for it to be read."""
        history = self._history
        if message.name in history.names or not history.gone.isdisjoint(message.ids):
            return True
        return message.read_asked is not None and history.since is not None and message.read_asked < history.since

    def unread(self) -> dict[str, str]:
        """What it shows: name -> id."""
        return {name: id_ for name, id_ in self._history.names.items() if id_ not in self._history.gone}

    def late(self, lag: Callable[[float, float], float]) -> Iterator[Problem]:
        if not self.punctual:
            return
        for name, at in self._ephemeral.items():
            message = self._ledger.messages[name]
            if message.answered is None:
                continue  # nobody knows when it was accepted, if it was
            # It was accepted before it was answered, so this bound is too kind by the time of an answer on its way.
            seconds = at - message.answered - lag(message.answered, at)
            if seconds > EPHEMERAL_SECONDS:
                yield Problem("late", f"{name} (TTL 0) came to {self.label} after {seconds:.2f} s", message.sent)
