"""Real processes under faults, in short: nothing promised is lost. `make faults` is the long run of the same.

PUSHCTL_FAULTS_SEED repeats the decisions of a run; the seed of this one is printed.
"""

import faulthandler
import os
import random

import pytest
from rich.console import Console

from tests.faults.deployment import Pace
from tests.faults.households import Size
from tests.faults.plan import SHORT
from tests.faults.report import summary, table
from tests.faults.run import Outcome, run
from tests.faults.troubles import STRATEGIES, changes, faults


@pytest.fixture
def seed() -> str:
    faulthandler.cancel_dump_traceback_later()  # a run takes a minute, and bounds itself
    return os.environ.get("PUSHCTL_FAULTS_SEED") or str(random.SystemRandom().randrange(1_000_000))


def show(outcome: Outcome) -> None:
    Console(width=140).print(summary(outcome), table([outcome]))


@pytest.mark.slow
async def test_whatever_dies_freezes_or_is_cut_off_nothing_is_lost(seed: str) -> None:
    strategy = random.Random(seed).choice(STRATEGIES)
    outcome = await run(strategy, seed, faults(0, SHORT, random.Random(f"{seed} {strategy} faults")))
    show(outcome)
    assert outcome.problems == []


@pytest.mark.slow
async def test_the_strategy_is_changed_on_live_daemons_one_after_another_and_nothing_is_lost(seed: str) -> None:
    trouble = changes("rpc", "broadcast")
    outcome = await run("channel", seed, trouble, size=Size(users=10, unruly=2), pace=Pace(drain=1))
    show(outcome)
    assert outcome.problems == []
