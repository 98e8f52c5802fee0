"""What happens to an installation while messages flow: faults by plan, or a change of strategy on live daemons.

Owns: the order of both. Promises: when a trouble is over, everything runs again. Must not know: who is served.
"""

import random

import trio

from tests.faults.deployment import Deployment
from tests.faults.plan import Lengths, Scene, Struck, faults_of, round_size
from tests.faults.run import Outcome, Trouble

STRATEGIES = ("rpc", "channel", "broadcast")

CALM_SECONDS = 3.5
"""Of each strategy, before the next: messages with TTL 0 only come if hints do."""


def faults(seconds: float, lengths: Lengths, chance: random.Random) -> Trouble:
    """One whole round of faults, and more until so many seconds are over."""

    async def trouble(deployment: Deployment, outcome: Outcome) -> None:
        scene = Scene(deployment, chance, lengths)
        until = trio.current_time() + seconds - lengths.recovery - lengths.after
        await outcome.calm_for(lengths.before)
        for number, fault in enumerate(faults_of(lengths, chance)):
            if number >= round_size(lengths) and trio.current_time() >= until:
                break
            outcome.struck.append(await fault.struck(scene))
            await trio.sleep(lengths.silence if fault.silent else lengths.rest)
        outcome.afterwards = trio.current_time()
        await trio.sleep(lengths.recovery)
        await outcome.calm_for(lengths.after)

    return trouble


def changes(*strategies: str) -> Trouble:
    """From one strategy to the next: routers, apis and socket servers are drained and started again with it, one after
    the other of each kind."""

    async def trouble(deployment: Deployment, outcome: Outcome) -> None:
        await outcome.calm_for(CALM_SECONDS)
        for strategy in strategies:
            began = trio.current_time()
            async with trio.open_nursery() as nursery:
                for role in ("router", "api", "socket"):
                    nursery.start_soon(_change, strategy, deployment, role)
            servers = deployment.labels("socket")
            outcome.struck.append(Struck(f"to {strategy}", "", began, trio.current_time(), began, servers))
            await outcome.calm_for(CALM_SECONDS)

    return trouble


async def _change(strategy: str, deployment: Deployment, role: str) -> None:
    for label in deployment.labels(role):
        process = deployment.roles[label]
        process.settings["routing.strategy"] = strategy
        await process.drain()
        await process.revive()
