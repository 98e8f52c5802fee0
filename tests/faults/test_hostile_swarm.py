"""A thousand peers that mean harm, at one socket server: what an honest device notices, what the process keeps."""

from pathlib import Path

import pytest
import trio

from pushctl.config.model import Config
from tests.faults.hostile import besieged, honest_device, median, worst
from tests.faults.swarm_of_peers import ATTACKS, again_and_again

pytestmark = pytest.mark.alone

PEERS = 1000
DEVICES = 180
"""Ten for each way to attack; peers of one device throw each other out, too."""

STRICT = {"socket.handshake_seconds": 3, "socket.hello_seconds": 3, "limits.exempt_networks": "192.0.2.0/24"}
"""Everybody is counted: most come from addresses of their own, the others all from one."""


@pytest.mark.slow
async def test_a_thousand_hostile_peers_cost_bounded_memory_and_time(config: Config, folder: Path) -> None:
    counts: dict[str, int] = {}
    async with (
        besieged(config, folder, STRICT) as scene,
        honest_device(scene) as honest,
    ):
        people = [await scene.town.login(f"mallory-{n % 6}") for n in range(DEVICES)]
        alone = await honest.latencies(50)
        before = scene.server.rss_bytes()
        async with trio.open_nursery() as nursery:
            for number in range(PEERS):
                attack, person = ATTACKS[number % len(ATTACKS)], people[number % len(people)]
                source = f"127.1.{number // 250}.{number % 250 + 1}" if number % 3 else "127.2.0.1"
                nursery.start_soon(again_and_again, scene.server.url, source, attack, person, counts)
            await trio.sleep(5)
            early = scene.server.rss_bytes()
            beside = await honest.latencies(50)
            await trio.sleep(5)
            late = scene.server.rss_bytes()
            nursery.cancel_scope.cancel()
        after = await honest.latencies(50)

        async def only_honest() -> bool:
            return await scene.metric("pushctl_connections ") == 1

        with trio.fail_after(30):
            while not await only_honest():  # noqa: ASYNC110 - nobody here can be told
                await trio.sleep(0.2)
        gone = scene.server.rss_bytes()
        print(
            f"\n{sum(counts.values())} connections; latency, median and worst, ms: "
            f"alone {median(alone) * 1e3:.0f} {worst(alone) * 1e3:.0f}, "
            f"beside them {median(beside) * 1e3:.0f} {worst(beside) * 1e3:.0f}, "
            f"after them {median(after) * 1e3:.0f} {worst(after) * 1e3:.0f}; MiB: "
            f"before {before >> 20}, early {early >> 20}, late {late >> 20}, gone {gone >> 20}\n{counts}"
        )
        assert set(counts) == {attack.__name__ for attack in ATTACKS}
        assert await scene.metric('pushctl_refusals_total{reason="address') > 100
        assert "crashed" not in scene.server.said
        assert late - before < PEERS * 100_000
        assert late < 1.3 * early
        assert median(beside) < 30 * median(alone) + 1
        assert median(after) < 3 * median(alone) + 0.05
