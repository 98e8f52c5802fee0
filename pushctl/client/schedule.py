"""What a load is, before any of it is sent: when each message is due, to whom it goes and how long it is.

Owns: the plan of moments and draws, both fixed beforehand. Promises: the n-th message is due n / rate after the start,
however those before it fare; the same seed draws the same targets and sizes, whatever became of them.
Must not know: clocks, HTTP, what is answered.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Final

MARK: Final = "{kind}{due_us:x}.{number:x}."
"""How a message begins: `w` of the warm-up or `m` measured, when it was due, which it is."""

LEAST_MARKED_BYTES: Final = 40
"""So long a message has room for its mark."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Of an open loop. `rate`: messages a second. `seconds` (math.inf: no bound) and `most` (None: no bound; one of the
    two is one) are without the warm-up."""

    rate: float
    seconds: float
    most: int | None = None
    warmup_seconds: float = 0.0

    @property
    def warm(self) -> int:
        """So many are sent first and not counted: those due before the warm-up is over."""
        return math.ceil(self.warmup_seconds * self.rate - 1e-9)

    @property
    def measured(self) -> int:
        within = self.seconds * self.rate - 1e-9
        return math.ceil(max(0.0, within) if self.most is None else min(max(0.0, within), self.most))

    @property
    def total(self) -> int:
        return self.warm + self.measured

    def due(self, number: int) -> float:
        """Seconds from the start to the message of this number, from 0."""
        return number / self.rate


@dataclass(frozen=True, slots=True)
class Draw:
    """`pick`: which of the targets there are, 0 <= pick < 1; `size`: bytes of the message."""

    number: int
    pick: float
    size: int


def draws(seed: int, sizes: tuple[int, int]) -> Iterator[Draw]:
    """Without end. `sizes`: the least and the most bytes."""
    random = Random(seed)  # noqa: S311 - a draw that can be repeated is the point
    least, most = sizes
    for number in count():
        yield Draw(number, random.random(), random.randint(least, most))


def marked(draw: Draw, due_us: int, *, warm: bool) -> bytes:
    """The text of a message: its mark, then as much as is missing to its size."""
    mark = MARK.format(kind="w" if warm else "m", due_us=due_us, number=draw.number).encode()
    return mark[: draw.size].ljust(draw.size, b"~")


def read_mark(text: str) -> tuple[int, bool] | None:
    """When a message was due, and whether it is of the warm-up. None: it has no mark of ours."""
    kind, moment = text[:1], text[1:LEAST_MARKED_BYTES].partition(".")[0]
    if kind not in ("w", "m"):
        return None
    try:
        return int(moment, 16), kind == "w"
    except ValueError:
        return None
