"""What a long command is doing just now, and how far it is: what a progress bar shows.

Must not know: who works, who looks.
"""

from dataclasses import dataclass
from math import inf


@dataclass(slots=True)
class Phase:
    """What is going on, and how far it is. `total` 0: it only takes its time, until `ends_at` (trio.current_time)."""

    name: str
    total: int
    done: int = 0
    ends_at: float = inf
