"""Three socket servers restarted, one after another, drained first or just told to stop, while messages flow: nothing
is lost, nobody is sent away faster than the drain's pace, and nobody is let in faster than the configured rates.

PUSHCTL_FAULTS_USERS: how many households of two devices (40). `python -m tests.benchmarks.recovery` does the same with
thousands of devices of `pushctl client swarm`.
"""

import faulthandler
import os
import random

import httpx
import pytest
import trio
from rich.console import Console

from pushctl.rates import Rate
from tests.faults.arrivals import Metrics, Watch
from tests.faults.deployment import PREFIX, Deployment
from tests.faults.households import Size
from tests.faults.plan import Struck
from tests.faults.processes import drained_by_command
from tests.faults.report import summary
from tests.faults.run import Outcome, run

OVER_SECONDS = 6
BURST_SECONDS = 1.0
OFFICE = "boxoffice1"


class RollingRestart:
    """What happens while messages flow."""

    def __init__(self, users: int, *, drained: bool) -> None:
        # So low that a third of all devices, and those that come and go by themselves, come faster.
        self._let_in = {OFFICE: Rate(users / 5, users // 7)}
        self._server_rate = Rate(users / 7, users // 5)
        self._drained = drained
        self.watch: Watch

    async def __call__(self, deployment: Deployment, outcome: Outcome) -> None:
        office, servers = deployment.roles[OFFICE], [deployment.roles[label] for label in deployment.labels("socket")]
        rate = self._let_in[OFFICE]
        office.settings |= {
            "boxoffice.arrivals_per_second": f"{rate.per_second:g}",
            "boxoffice.arrivals_burst": f"{rate.burst}",
        }
        await office.drain()
        await office.start()
        async with httpx.AsyncClient(timeout=10, trust_env=False) as http, trio.open_nursery() as nursery:
            self.watch = Watch(Metrics(http), [office, *servers])
            nursery.start_soon(self.watch.run)
            await self._restart_all(deployment, outcome)
            nursery.cancel_scope.cancel()

    async def _restart_all(self, deployment: Deployment, outcome: Outcome) -> None:
        await outcome.calm_for(2)
        for label in deployment.labels("socket"):
            server = deployment.roles[label]
            began = trio.current_time()
            if self._drained:
                await drained_by_command(
                    label, over_seconds=OVER_SECONDS, redis_url=deployment.redis.url, prefix=PREFIX
                )
            await server.drain()
            server.settings |= {
                "socket.accept_rate": f"{self._server_rate.per_second:g}",
                "socket.accept_burst": f"{self._server_rate.burst}",
            }
            await server.start()
            outcome.struck.append(Struck("drained", label, began, trio.current_time(), began, {label}))
            await outcome.calm_for(3)

    def too_fast(self) -> dict[str, float]:
        """Where more were let in than may: how many. Of socket servers from their restart on."""
        found = self.watch.excess(self._let_in)
        for label in self.watch.lives.keys() - {OFFICE}:
            _, restarted = self.watch.lives[label]
            if (excess := restarted.excess(self._server_rate)) > 0:
                found[label] = excess
        return found


def most_at_once(moments: list[float]) -> int:
    """The most of these within BURST_SECONDS."""
    return max((sum(at <= each < at + BURST_SECONDS for each in moments) for at in moments), default=0)


def sent_away(outcome: Outcome, struck: Struck) -> list[float]:
    return [loss.at for loss in outcome.world.losses if loss.how == "4001" and struck.began <= loss.at <= struck.ended]


@pytest.mark.long
@pytest.mark.parametrize("drained", [True, False], ids=["drained first", "told to stop"])
async def test_three_servers_are_restarted_and_nothing_is_lost_and_nobody_comes_faster_than_the_pace(
    drained: bool,
) -> None:
    faulthandler.cancel_dump_traceback_later()  # a run takes a minute, and bounds itself
    users = int(os.environ.get("PUSHCTL_FAULTS_USERS", "40"))
    seed = str(random.SystemRandom().randrange(1_000_000))
    restart = RollingRestart(users, drained=drained)
    outcome = await run("channel", seed, restart, size=Size(users=users, unruly=0))
    Console(width=140).print(summary(outcome))
    assert outcome.problems == []
    assert restart.too_fast() == {}
    assert restart.watch.refused("arrivals"), "the rate is one that binds"
    for struck in outcome.struck:
        moments = sent_away(outcome, struck)
        assert len(moments) > users / 6, "a third of all devices, but those that vanish by themselves"
        pace = len(moments) / (OVER_SECONDS * 0.9 - 2)
        assert not drained or most_at_once(moments) <= 3 * pace * BURST_SECONDS + 2
