"""Three socket servers drained and started anew, one after another, while messages flow: nothing is lost, and nobody
comes to the others faster than the drain's pace. PUSHCTL_FAULTS_USERS: how many households of two devices (40)."""

import faulthandler
import os
import random

import pytest
import trio
from rich.console import Console

from tests.faults.deployment import PREFIX, Deployment
from tests.faults.households import Size
from tests.faults.plan import Struck
from tests.faults.processes import PUSHCTL
from tests.faults.report import summary
from tests.faults.run import Outcome, run

OVER_SECONDS = 6
BURST_SECONDS = 1.0


async def drain(deployment: Deployment, label: str) -> None:
    """`pushctl drain`, until the server is empty."""
    sets = [f"--set=redis.url={deployment.redis.url}", f"--set=redis.prefix={PREFIX}"]
    command = [PUSHCTL, "drain", label, "--over", f"{OVER_SECONDS}s", *sets]
    with trio.fail_after(OVER_SECONDS + 30):
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


async def rolling_restart(deployment: Deployment, outcome: Outcome) -> None:
    await outcome.calm_for(2)
    for label in deployment.labels("socket"):
        began = trio.current_time()
        await drain(deployment, label)
        process = deployment.roles[label]
        await process.drain()
        await process.start()
        outcome.struck.append(Struck("drained", label, began, trio.current_time(), began, {label}))
        await outcome.calm_for(3)


def most_at_once(moments: list[float]) -> int:
    """The most of these within BURST_SECONDS."""
    return max((sum(at <= each < at + BURST_SECONDS for each in moments) for at in moments), default=0)


@pytest.mark.long
async def test_three_servers_are_restarted_and_nothing_is_lost_and_nobody_comes_faster_than_the_pace() -> None:
    faulthandler.cancel_dump_traceback_later()  # a run takes a minute, and bounds itself
    users = int(os.environ.get("PUSHCTL_FAULTS_USERS", "40"))
    seed = str(random.SystemRandom().randrange(1_000_000))
    outcome = await run("channel", seed, rolling_restart, size=Size(users=users, unruly=0))
    Console(width=140).print(summary(outcome))
    assert outcome.problems == []
    for struck in outcome.struck:
        sent_away = [
            loss.at for loss in outcome.world.losses if loss.how == "4001" and struck.began <= loss.at <= struck.ended
        ]
        assert len(sent_away) > users / 6, "a third of all devices, but those that vanish by themselves"
        pace = len(sent_away) / (OVER_SECONDS * 0.9 - 2)
        assert most_at_once(sent_away) <= 3 * pace * BURST_SECONDS + 2
