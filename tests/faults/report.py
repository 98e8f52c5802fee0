"""What a run was, as a table: per fault how often, how many messages, what was lost or doubled, how long until well.

Owns: what belongs to which fault, and the time to recover. Must not know: how a run is made.

A message belongs to the fault that was struck last before it was sent, or within IN_FLIGHT_SECONDS after that. The
time to recover is the longest that anybody waited: a device for a message after its 201, a site for an answer of 201;
counted from the fault's end at the earliest (kills and drains: from their begin), without the time that a device was
away by its own will; slow and unruly ones are left out. "unplugged": for some of this time it was not connected and
in sync, but looking for a server.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby

from rich.table import Table

from tests.faults.book import Book
from tests.faults.ledger import Message, Problem
from tests.faults.plan import Struck
from tests.faults.run import Outcome

IN_FLIGHT_SECONDS = 0.5
CALM = "(none)"


@dataclass(slots=True)
class Row:
    """Of one kind of fault."""

    times: int = 0
    messages: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    losses: int = 0
    """Connections that devices lost, of those that keep to the protocol."""
    recover_seconds: float = 0.0
    worst: str = ""
    """What was struck at that time, and who waited."""


class Account:
    """An outcome by faults."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome
        self._began = [struck.began - IN_FLIGHT_SECONDS for struck in outcome.struck]
        self.rows: dict[str, Row] = {CALM: Row()}
        for struck in sorted(outcome.struck, key=lambda struck: struck.name):
            self.rows.setdefault(struck.name, Row()).times += 1
        for problem in outcome.problems:
            self._row(problem.at).problems[problem.kind] += 1
        for loss in outcome.world.losses:
            self._row(loss.at).losses += 1
        for message in outcome.ledger.messages.values():
            if message.exists:
                self._row(message.sent).messages += 1
        for struck, seconds, who in (*self._waits(), *self._refusals()):
            row = self.rows[struck.name]
            if seconds > row.recover_seconds:
                row.recover_seconds, row.worst = seconds, f"{struck.what} {who}"

    def _struck(self, at: float) -> Struck | None:
        """The fault that was struck last; none before the first, and long after the last."""
        index = bisect_right(self._began, at) - 1
        return self._outcome.struck[index] if index >= 0 and at < self._outcome.afterwards else None

    def _row(self, at: float) -> Row:
        struck = self._struck(at)
        return self.rows[struck.name if struck else CALM]

    def _waits(self) -> Iterator[tuple[Struck, float, str]]:
        for book in self._outcome.ledger.books:
            if not book.punctual:
                continue
            for name, at in book.received.items():
                message = self._outcome.ledger.messages[name]
                if message.ttl and (struck := self._struck(message.sent)):
                    since = max(struck.reference, _promised(message), _back(book, at))
                    yield struck, at - since, book.label if book.was_connected(since, at) else f"{book.label} unplugged"

    def _refusals(self) -> Iterator[tuple[Struck, float, str]]:
        for at, answer in self._outcome.mail.refusals:
            if struck := self._struck(at):
                yield struck, at - struck.reference, answer


def _promised(message: Message) -> float:
    return message.answered or message.sent


def _back(book: Book, at: float) -> float:
    """When this device last came back of its own will, before this time."""
    return max((back for left, back in book.away if left <= at), default=0.0)


def table(outcomes: list[Outcome]) -> Table:
    result = Table("strategy", "fault", title="Faults")
    for column in ("times", "messages", "lost", "duplicate", "other", "connections lost", "recovered after"):
        result.add_column(column, justify="right")
    for outcome in outcomes:
        for name, row in Account(outcome).rows.items():
            other = sum(row.problems.values()) - row.problems["lost"] - row.problems["duplicate"]
            numbers = (row.times, row.messages, row.problems["lost"], row.problems["duplicate"], other, row.losses)
            worst = f"{row.recover_seconds:.1f} s ({row.worst.strip()})"
            result.add_row(outcome.strategy, name, *map(str, numbers), worst if row.worst else "")
        result.add_section()
    return result


def summary(outcome: Outcome) -> str:
    """A few lines: totals, and each thing that is wrong."""
    ledger = outcome.ledger
    existing = [message for message in ledger.messages.values() if message.answered is not None]
    ephemeral = [message for message in existing if not message.ttl]
    reached = sum(any(message.name in book.received for book in ledger.books) for message in ephemeral)
    read = sum(message.read_asked is not None for message in existing)
    refusals = Counter(what for _, what in outcome.mail.refusals)
    losses = Counter(loss.how for loss in outcome.world.losses)
    seconds = outcome.ended - outcome.began
    lines = [
        f"{outcome.strategy}, seed {outcome.seed}: {len(outcome.struck)} faults in {seconds:.0f} s",
        f"  accepted {len(existing)} messages, {len(ephemeral)} with TTL 0, {reached} of which came to somebody",
        f"  marked read {read}; POSTs not accepted {dict(refusals)}; connections lost {dict(losses)}",
        f"  this process did not listen for {outcome.lag_seconds:.2f} s at worst",
    ]
    problems = sorted(outcome.problems, key=lambda problem: problem.kind)
    for kind, some in groupby(problems, key=lambda problem: problem.kind):
        those = list(some)
        lines.append(f"  {kind}: {len(those)}")
        lines += [f"    {problem.at - outcome.began:7.2f} s  {problem.text}" for problem in _first(those)]
    return "\n".join(lines)


def _first(problems: list[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: problem.at)[:20]
