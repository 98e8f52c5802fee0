"""How routers reach socket servers: one verb, three strategies (rpc.py, channel.py, broadcast.py).

Owns: the interface. Promises: delivering is a hint. What does not arrive is found in the log by reconcile; a message
with TTL 0 is handed over once and never again.
Must not know: streams of jobs (roles/router), connections (roles/socket).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pushctl.protocol.jobs import Job
from pushctl.registry.jobs import HandedOver, Taken


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of some jobs. `hints`: batches that left for servers; `nobody`: jobs with nobody to tell; `pruned`:
    leases that nobody holds any more; `unheard`: batches nobody listened to; `detoured`: jobs that went by a channel
    because their server's internal listener does not answer, or it has none; `handed_over`: what became of `done`, if
    that was done."""

    hints: int = 0
    nobody: int = 0
    pruned: int = 0
    unheard: int = 0
    detoured: int = 0
    handed_over: HandedOver | None = None


class Strategy(Protocol):
    async def deliver(self, jobs: Sequence[Job], done: Sequence[Taken] = ()) -> Delivered:
        """Bring jobs of one partition to whichever socket servers hold their users. Raises StoreUnavailable.

        `done`: what is to be handed over once they were told. One that publishes does so in the same step as the last
        of it, others leave it to the caller."""
        ...
