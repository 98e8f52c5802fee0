"""One ledger of every message: when it was accepted, which device received it when, who read it, and what is wrong.

Owns: messages, and the judgement. A message is known by its name, which is what it says; a device by its book.
Promises: no I/O, and time is a parameter: seconds of one monotonic clock, that of the process which sends and receives.
What is wrong is a Problem: told at once where that is possible, else by `missing` and `judge`.
Must not know: sockets, frames, what was done to the service.

What may be excused. A message not answered 201 may or may not exist, but if anybody has it everybody must. A message
that a device asked to be marked read need not come to devices that learn so first. Nothing else is excused.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tests.faults.book import Book

EPHEMERAL_SECONDS = 2.0
"""A message with TTL 0 never comes later than this after it was accepted."""

ON_ITS_WAY_SECONDS = 0.25
"""From a server that wrote in time to a device, on a machine with much to do."""

DEAF_SECONDS = 0.5
"""A silence during which this process itself did not listen for so long, all told, proves nothing."""

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
            problems += self._passed_by(book, calm, lag)
        problems += self._quarrels()
        return problems

    def _passed_by(
        self, book: "Book", calm: Sequence[tuple[float, float]], lag: Callable[[float, float], float]
    ) -> Iterator[Problem]:
        """Messages with TTL 0 that a connected device did not get, though nothing was wrong."""
        for message in self.messages.values():
            if message.ttl or message.user != book.user or message.answered is None or message.name in book.received:
                continue
            during = message.sent, message.answered + EPHEMERAL_SECONDS
            if lag(*during) > DEAF_SECONDS:
                continue  # what roles ask of Redis comes by way of us
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
