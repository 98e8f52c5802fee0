"""Words that every report shares: spans of time, numbers of things, and what is said of somebody who is not there.

Must not know: where facts come from, terminals.
"""

from typing import Final

from pushctl.clock import rfc3339
from pushctl.errors import Failed
from pushctl.ids import UserId
from pushctl.registry.facts import Nobody

_UNITS: Final = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s"))


def span(ms: int) -> str:
    """`3 d`, `2 h`, `90 min`, `12 s`: whole units, rounded down, at least two of a larger one."""
    for size, unit in _UNITS:
        if ms >= 2 * size:
            return f"{ms // size} {unit}"
    return f"{max(ms, 0) // 1000} s"


def ago(ms: int) -> str:
    return f"{span(ms)} ago" if ms >= 1000 else "just now"


def when(ms: int) -> str:
    """A moment from now, on either side of it."""
    return f"in {span(ms)}" if ms >= 0 else ago(-ms)


def many(number: int, thing: str) -> str:
    """`1 event`, `12 events`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def moment(ms: int | None) -> str | None:
    return None if ms is None else rfc3339(ms)


def nobody(user: UserId, found: Nobody) -> Failed:
    """What is known of a user that is not there."""
    if found.deleted_until_ms is not None:
        until = f"{rfc3339(found.deleted_until_ms)} ({when(found.deleted_until_ms - found.now_ms)})"
        return Failed(f"user {user}: the account was deleted; its tombstone stays until {until}, senders get 410")
    left = f"; {many(found.keys_left, 'key')} of it are left without its meta" if found.keys_left else ""
    return Failed(f"the registry knows nothing of user {user}: never there, or lost; senders get 503{left}")
