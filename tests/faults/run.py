"""One run: an installation, its devices and sites, faults in turn, and then the books are balanced.

Owns: the order of things. Promises: the same seed makes the same decisions (not the same timing); what is wrong at the
end is in the outcome, nothing is raised for it.
Must not know: how results are shown.
"""

import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import trio

from tests.faults.deployment import QUICK, Deployment, Pace, deployed
from tests.faults.households import MANY, SITES, Size, households, patient
from tests.faults.ledger import Ledger, Problem
from tests.faults.plan import Struck
from tests.faults.senders import Mail, Site
from tests.faults.swarm import World
from tests.faults.verdict import Lag, compare_unread, leftovers, settle, unexplained


@dataclass(slots=True)
class Outcome:
    """What a run was and what is wrong. Times of one monotonic clock."""

    strategy: str
    seed: str
    ledger: Ledger
    mail: Mail
    world: World
    began: float
    struck: list[Struck] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    calm: list[tuple[float, float]] = field(default_factory=list)
    """When nothing was wrong with the service."""
    afterwards: float = math.inf
    """From here on nothing was struck any more."""
    ended: float = 0.0
    lag_seconds: float = 0.0

    async def calm_for(self, seconds: float) -> None:
        """Let messages flow; nothing is wrong with the service."""
        began = trio.current_time()
        await trio.sleep(seconds)
        self.calm.append((began, trio.current_time()))


Trouble = Callable[[Deployment, Outcome], Awaitable[None]]
"""What happens while messages flow. It notes in the outcome what it struck."""


async def run(
    strategy: str,
    seed: str,
    trouble: Trouble,
    *,
    size: Size = MANY,
    pace: Pace = QUICK,
    keep: Path | None = None,
) -> Outcome:
    """From the first start to the last leftover. `keep`: an empty folder for logs and data of all processes."""
    chance = random.Random(f"{seed} {strategy}")
    async with deployed(strategy, pace, keep) as deployment:
        ledger = Ledger()
        async with households(deployment, ledger, size, chance) as (world, devices, mail):
            outcome = Outcome(strategy, seed, ledger, mail, world, trio.current_time())
            lag = Lag()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lag.watch)
                async with trio.open_nursery() as sites:
                    for number in range(SITES):
                        sites.start_soon(Site(f"site{number}", mail, random.Random(chance.random())).run)
                    await trouble(deployment, outcome)
                    mail.over = True
                await settle(world, devices, ledger)
                nursery.cancel_scope.cancel()
            await compare_unread(devices, ledger)
            outcome.problems = ledger.judge(lag.between, outcome.calm)
            outcome.problems += unexplained(deployment, world.losses, outcome.struck, lag, patient(size))
            outcome.lag_seconds = lag.worst
        outcome.problems += await leftovers(deployment)
        await deployment.stop()
        outcome.problems += [Problem("process", text, trio.current_time()) for text in deployment.problems()]
        outcome.ended = trio.current_time()
        return outcome
