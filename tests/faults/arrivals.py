"""How many clients come in a second: a counter of running processes, looked at again and again.

Owns: when it was looked at, and what that proves. Promises: what is said to be too many was too many, whenever within
a look the counter was read; a process that was started anew begins anew.
Must not know: who comes, or why.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import httpx
import trio

from pushctl.rates import Rate
from tests.faults.asking import ask
from tests.faults.processes import RoleProcess

LOOK_SECONDS = 0.2
ARRIVALS = "pushctl_arrivals_total"
REFUSALS = "pushctl_refusals_total"


@dataclass(frozen=True, slots=True)
class Look:
    """The counter stood at `count` at a moment between these two (trio.current_time)."""

    asked: float
    answered: float
    count: int


@dataclass(slots=True)
class Counted:
    """One counter of one process, while it lived. Looks are in order."""

    looks: list[Look] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.looks[-1].count - self.looks[0].count if self.looks else 0

    def excess(self, rate: Rate) -> float:
        """How many too many came at the worst time, by a bucket of this rate; 0 or less: it was never exceeded."""
        # burst + per_second * T, for every span of time: with each look, the least that the bound was before it.
        worst, least = -float(rate.burst), float("inf")
        for look in self.looks:
            if least < float("inf"):
                worst = max(worst, look.count - rate.per_second * look.answered - least - rate.burst)
            least = min(least, look.count - rate.per_second * look.asked)
        return worst

    def peak(self, seconds: float = 1.0) -> float:
        """The most per second, over spans of about so long."""
        return max(self.per_second(seconds), default=0.0)

    def per_second(self, seconds: float = 1.0) -> Iterator[float]:
        """Over spans of about so long, one for each look that ends one."""
        first = 0
        for look in self.looks:
            while look.asked - self.looks[first].asked > seconds + LOOK_SECONDS:
                first += 1
            span = look.asked - self.looks[first].asked
            if span >= seconds - LOOK_SECONDS:
                yield (look.count - self.looks[first].count) / span

    def between(self, begin: float, end: float) -> "Counted":
        return Counted([look for look in self.looks if begin <= look.asked <= end])


def together(counted: Sequence[Counted], begin: float, end: float) -> Counted:
    """The sum of several counters that were looked at in the same rounds."""
    rounds = [each.between(begin, end).looks for each in counted]
    return Counted(
        [
            Look(
                min(look.asked for look in looks),
                max(look.answered for look in looks),
                sum(look.count for look in looks),
            )
            for looks in zip(*rounds, strict=False)
        ]
    )


class Metrics:
    """Of processes, over HTTP."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def read(self, process: RoleProcess) -> dict[str, float]:
        """All that it says, by name and labels as they stand there. Raises httpx.TransportError."""
        answer = await ask(self._http, "GET", f"{process.admin}/metrics")
        lines = (line for line in answer.text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


class Watch:
    """Of the arrivals at some processes. `lives`: by label, one for each start; `refused`: of all lives, by reason."""

    def __init__(self, metrics: Metrics, processes: Sequence[RoleProcess]) -> None:
        self._metrics = metrics
        self._processes = processes
        self._admins: dict[str, str] = {}
        self._refusals: dict[tuple[str, str], float] = {}
        self.lives: dict[str, list[Counted]] = {process.label: [] for process in processes}

    async def run(self) -> None:
        """Until cancelled. Who does not answer is not looked at."""
        next_at = trio.current_time()
        while True:
            async with trio.open_nursery() as nursery:
                for process in self._processes:
                    nursery.start_soon(self._look, process)
            next_at = max(next_at + LOOK_SECONDS, trio.current_time())
            await trio.sleep_until(next_at)

    async def _look(self, process: RoleProcess) -> None:
        with suppress(httpx.TransportError):
            admin, asked = process.admin, trio.current_time()
            found = await self._metrics.read(process)
            if self._admins.get(process.label) != admin:
                self._admins[process.label] = admin
                self.lives[process.label].append(Counted())
            self.lives[process.label][-1].looks.append(Look(asked, trio.current_time(), int(found[ARRIVALS])))
            self._refusals |= {
                (admin, name): value for name, value in found.items() if name.startswith(f"{REFUSALS}{{")
            }

    def excess(self, rates: dict[str, Rate]) -> dict[str, float]:
        """Of those lives that were too fast for the rate of their label: how many too many."""
        found = {
            label: max((life.excess(rate) for life in self.lives[label]), default=0.0) for label, rate in rates.items()
        }
        return {label: excess for label, excess in found.items() if excess > 0}

    def refused(self, reason: str) -> int:
        """By all of them together."""
        wanted = f'{REFUSALS}{{reason="{reason}"}}'
        return int(sum(value for (_, name), value in self._refusals.items() if name == wanted))
