"""Jobs as they travel to one socket server: batches of bounded size.

Owns: how large. Must not know: where they go.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from pushctl.protocol.jobs import Appended, Batch, Displaced, Ephemeral, Job, SessionEnds, encode

BATCH_BYTES = 1024 * 1024
"""Of a batch, about: well below what may wait for Redis (redis.queue_bytes) or for one of its subscribers."""

JOB_BYTES = 200
"""Of a job beside its frames, about."""

T = TypeVar("T")


def batches(jobs: Sequence[Job]) -> Iterator[bytes]:
    """All of them, in order, encoded."""
    for some in parts(jobs, _size):
        yield encode(Batch(some))


def parts(things: Iterable[T], size_of: Callable[[T], int]) -> Iterator[list[T]]:
    """The things in order, in lists of about BATCH_BYTES: each ends with the one that reaches it."""
    some: list[T] = []
    size = 0
    for thing in things:
        some.append(thing)
        size += size_of(thing)
        if size >= BATCH_BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some


def _size(job: Job) -> int:
    match job:
        case Appended(events=events):
            return sum(JOB_BYTES + len(event.frame) for event in events)
        case Ephemeral(frame=frame):
            return JOB_BYTES + len(frame)
        case Displaced(connections=connections):
            return JOB_BYTES * (1 + len(connections))
        case SessionEnds(sessions=sessions):
            return JOB_BYTES * (1 + len(sessions))
