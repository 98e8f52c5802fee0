"""Jobs as they travel to one socket server: batches of bounded size.

Owns: how large. Must not know: where they go.
"""

from collections.abc import Iterator, Sequence

from pushctl.protocol.jobs import Appended, Batch, Displaced, Ephemeral, Job, SessionEnds, encode

BATCH_BYTES = 1024 * 1024
"""Of a batch, about: well below what may wait for Redis (redis.queue_bytes) or for one of its subscribers."""

JOB_BYTES = 200
"""Of a job beside its frames, about."""


def batches(jobs: Sequence[Job]) -> Iterator[bytes]:
    """All of them, in order, encoded."""
    some: list[Job] = []
    size = 0
    for job in jobs:
        some.append(job)
        size += _size(job)
        if size >= BATCH_BYTES:
            yield encode(Batch(some))
            some, size = [], 0
    if some:
        yield encode(Batch(some))


def _size(job: Job) -> int:
    match job:
        case Appended(events=events):
            return sum(JOB_BYTES + len(event.frame) for event in events)
        case Ephemeral(frame=frame):
            return JOB_BYTES + len(frame)
        case Displaced(connections=connections):
            return JOB_BYTES * (1 + len(connections))
        case SessionEnds():
            return JOB_BYTES
