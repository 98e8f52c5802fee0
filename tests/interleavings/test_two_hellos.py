"""No order of two hellos of one device and a publish leaves two connections of it, or loses the newer one a message.

This is why a connection joins the hub before it claims: whoever claims next learns of its lease and sends word that it
is displaced, and that word must find it.
"""

import pytest
import trio

from pushctl.config.model import Config
from pushctl.points import Point
from pushctl.protocol.frames import ErrorFrame
from tests.interleavings.device import Device
from tests.interleavings.household import Household
from tests.interleavings.orders import Actor, Order, orders, play_all, told
from tests.interleavings.scene import Scene, Server, scene

HELLO = {Point.JOINED, Point.CLAIMED}


async def play(stage: Scene, servers: list[Server], order: Order, nursery: trio.Nursery) -> str:
    """What is wrong; empty when nothing is. Word of who was displaced is routed as soon as there is any."""
    home = Household(stage)
    session = await home.log_in()
    await home.allow()
    devices = [Device(session), Device(session)]
    for device, server in zip(devices, servers, strict=True):
        device.dial(server, None)
    hellos = [Actor(lambda _, device=device: device.stay(), holds=HELLO, until=Point.LIVE) for device in devices]  # type: ignore[misc]
    publish = Actor(lambda passed: home.tell(home.publish, passed), holds={Point.APPENDED})
    actors = {"hello 1": hellos[0], "hello 2": hellos[1], "publish": publish}
    claimed: list[Device] = []
    for name in order:
        await actors[name].step(nursery)
        for device, hello in zip(devices, hellos, strict=True):
            if Point.CLAIMED in hello.passed and device not in claimed:
                claimed.append(device)
                if len(claimed) == 2 and servers[0] is not servers[1]:
                    await stage.route(home.user)

    older, newer = claimed
    await older.over.wait()
    await newer.settled()
    if not (isinstance(older.told[-1], ErrorFrame) and older.told[-1].code == "replaced"):
        return f"the older connection was told {older.told}"
    if newer.facts != [("message", message) for message in home.messages] or not await home.is_at_the_end(newer):
        return f"the newer connection was owed {home.messages} and learnt {newer.facts}"
    leases = [(lease.server, lease.device) for lease in await home.leases()]
    return "" if leases == [(servers[devices.index(newer)].id, newer.id)] else f"leases {leases}"


@pytest.mark.parametrize("same", [True, False], ids=["one-server", "two-servers"])
async def test_of_two_hellos_in_any_order_the_one_that_claimed_last_stays(
    same: bool, config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    async with scene(config) as (stage, (one, two)):
        servers = [one, one if same else two]
        todo = orders({"hello 1": 3, "hello 2": 3, "publish": 2}, twins=("hello 1", "hello 2") if same else None)
        count, wrong = await play_all(todo, lambda order, nursery: play(stage, servers, order, nursery))
    with capsys.disabled():
        print(f" {count} orders, {len(wrong)} wrong ", end="")
    assert not wrong, told(wrong)
