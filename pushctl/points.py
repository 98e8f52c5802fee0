"""Named moments between two steps whose order matters, where a test may hold whoever passes.

Owns: their names, and the watcher of the current task. Promises: without a watcher, which is always so outside of
tests, passing costs one look-up and is no checkpoint: nothing else runs in between, nothing is cancelled there.
Must not know: what the steps are. The argument why no order of them loses a message stands in roles/socket/tail.py;
tests/interleavings runs them in every order.
"""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from enum import StrEnum


class Point(StrEnum):
    """On hello: JOINED, CLAIMED, READ, LIVE. On publish, and on whatever else appends: APPENDED, JOB_WRITTEN,
    ACKNOWLEDGED, LOCATED, DELIVERED. On disconnect: LEFT."""

    JOINED = "joined"
    """A connection can be found by hints that reach its server."""
    CLAIMED = "claimed"
    """Its lease stands: whoever looks the user up finds its server."""
    READ = "read"
    """A page of the log was answered, and nothing made of it yet."""
    LIVE = "live"
    """The connection knows where it stands in the log; hints of what follows go out as events."""
    APPENDED = "appended"
    """Events stand in the log, and nobody was told."""
    JOB_WRITTEN = "job_written"
    """Somebody was connected at the append: a router is asked to tell them."""
    ACKNOWLEDGED = "acknowledged"
    """What a router may deliver only once (TTL 0) is out of the stream, and nobody was told of it."""
    LOCATED = "located"
    """A router knows which servers hold the user, and has told none of them."""
    DELIVERED = "delivered"
    """Socket servers were told, and the jobs still stand in the stream."""
    LEFT = "left"
    """A connection hears no hints any more, and its lease still stands."""


Watcher = Callable[[Point], Awaitable[None]]

watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)
"""Called at each point that the current task, or a task it started, passes."""


async def passed(point: Point) -> None:
    """The current task has just taken the step that `point` names."""
    watching = watcher.get()
    if watching is not None:
        await watching(point)
