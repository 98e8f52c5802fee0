"""How routers reach socket servers: one verb, three strategies (rpc.py, channel.py, broadcast.py).

Owns: the interface. Promises: delivering is a hint. What does not arrive is found in the log by reconcile; a message
with TTL 0 is handed over once and never again.
Must not know: streams of jobs (roles/router), connections (roles/socket).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pushctl.protocol.jobs import Job


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of some jobs. `hints`: batches that left for servers; `nobody`: jobs with nobody to tell; `pruned`:
    leases that nobody holds any more; `unheard`: batches nobody listened to; `detoured`: jobs that went by a channel
    because their server's internal listener does not answer, or it has none."""

    hints: int = 0
    nobody: int = 0
    pruned: int = 0
    unheard: int = 0
    detoured: int = 0


class Strategy(Protocol):
    async def deliver(self, jobs: Sequence[Job]) -> Delivered:
        """Bring jobs of one partition to whichever socket servers hold their users. Raises StoreUnavailable."""
        ...
