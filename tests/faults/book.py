"""What one device received through its cursor, read from its side: history, connections, times.

Owns: what is at once seen to be wrong with it: what comes twice, out of order, or is another's. Promises: no I/O, and
time is a parameter, as in the ledger. Must not know: frames, other devices.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from tests.faults.ledger import EPHEMERAL_SECONDS, ON_ITS_WAY_SECONDS, Ledger, Message, Problem


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
            if seconds > EPHEMERAL_SECONDS + ON_ITS_WAY_SECONDS:
                yield Problem("late", f"{name} (TTL 0) came to {self.label} after {seconds:.2f} s", message.sent)
