"""Five hundred devices stop reading while thousands of messages flow: who pays for it?"""

from pathlib import Path

import pytest
import trio

from pushctl.config.model import Config
from tests.faults.hostile import Besieged, besieged, honest_device, kernel_bytes, median, worst
from tests.scenario.people import Person
from tests.scenario.raw_frames import RawPeer, raw_peer

pytestmark = pytest.mark.alone

USERS, DEVICES = 10, 50
MESSAGES, BODY = 120, "x" * 3500
STALL_SECONDS = 6


async def stop_reading(besieged: Besieged, person: Person) -> RawPeer:
    peer = await raw_peer(besieged.server.url, receive_buffer=4096)
    await peer.hello(person.token)
    return peer


async def flow(besieged: Besieged, urls: list[str], number: int) -> None:
    """To every user as many messages; each would go to all its devices."""
    for at in range(number):
        url = urls[at % len(urls)]
        answer = await besieged.town.push(url, {"body": BODY})
        assert answer.status_code == 201


@pytest.mark.slow
async def test_500_devices_that_stop_reading_cost_little_and_delay_nobody(config: Config, folder: Path) -> None:
    async with (
        besieged(config, folder, {"socket.stall_seconds": STALL_SECONDS, "socket.ping_seconds": 300}) as scene,
        honest_device(scene) as honest,
    ):
        people = [[await scene.town.login(f"slow-{n}") for _ in range(DEVICES)] for n in range(USERS)]
        urls = [(await devices[0].allow())["url"] for devices in people]

        async def run() -> list[float]:
            async with trio.open_nursery() as nursery:
                for first in range(2):
                    nursery.start_soon(flow, scene, urls[first::2], MESSAGES * USERS // 2)
                return await honest.latencies(60, pause=0.05)

        alone = await run()
        peers = [await stop_reading(scene, device) for devices in people for device in devices]
        idle, idle_kernel = scene.server.rss_bytes(), kernel_bytes()
        beside = await run()
        full, full_kernel = scene.server.rss_bytes(), kernel_bytes()

        async def all_closed() -> bool:
            return await scene.metric('pushctl_closes_total{code="4002"}') == USERS * DEVICES

        with trio.fail_after(30):
            while not await all_closed():  # noqa: ASYNC110 - nobody here can be told
                await trio.sleep(0.2)
        gone = scene.server.rss_bytes()
        after = await honest.latencies(30)
        print(
            f"\nlatency, median and worst, ms: alone {median(alone) * 1e3:.0f} {worst(alone) * 1e3:.0f}, "
            f"beside them {median(beside) * 1e3:.0f} {worst(beside) * 1e3:.0f}, "
            f"after them {median(after) * 1e3:.0f} {worst(after) * 1e3:.0f}; "
            f"MiB: idle {idle >> 20}, full {full >> 20}, gone {gone >> 20}; "
            f"in the kernel, of both ends, {(full_kernel - idle_kernel) >> 20}"
        )
        assert (full - idle) / (USERS * DEVICES) < 150_000
        assert median(beside) < 5 * median(alone) + 0.1
        for peer in peers:
            await peer.stream.aclose()
