"""A hello whose claim ran and whose answer never came, on another server than the device's older connection: in no
order of its steps and of two publishes is the older connection left without a lease, or loses a message.

Reconcile is off: that the older one is told, and what it finds when it looks, is all there is.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import trio

from pushctl.config.model import Config
from pushctl.errors import StoreUnavailable
from pushctl.points import Point, passed
from roles.socket.connection import Connection
from tests.interleavings.device import A_MOMENT, Device
from tests.interleavings.household import Household
from tests.interleavings.orders import Actor, Order, orders, play_all, told
from tests.interleavings.scene import Scene, Server, scene


class NeverHears(Connection):
    """Its claim runs, and nobody learns what it was answered."""

    async def _claim(self) -> None:
        self._claiming = True
        await self._role.registry.presence.claim(
            self.user,
            self.device,
            self.id,
            session=self.session,
            server=self._role.id,
            generation=self._role.generation,
            rank=0,
        )
        await passed(Point.CLAIMED)
        raise StoreUnavailable("no answer")


@dataclass(frozen=True)
class Holds:
    """Where the hello and the two publishes are held."""

    hello: frozenset[Point]
    publish: frozenset[Point]

    def orders(self) -> Iterator[Order]:
        hello, publish = len(self.hello) + 1, len(self.publish) + 1
        twins = ("publish 1", "publish 2")
        return orders({"hello": hello} | dict.fromkeys(twins, publish), twins=twins)


async def play(stage: Scene, servers: list[Server], holds: Holds, order: Order, nursery: trio.Nursery) -> str:
    """What is wrong; empty when nothing is."""
    home = Household(stage)
    session = await home.log_in()
    await home.allow()
    device, again = Device(session), Device(session)
    device.dial(servers[0], None)
    nursery.start_soon(device.stay)
    await device.settled()
    (ours,) = await home.leases()

    again.dial(servers[1], None, NeverHears)
    actors = {
        "hello": Actor(lambda _: again.stay(), holds=holds.hello),
        "publish 1": Actor(lambda passed: home.tell(home.publish, passed), holds=holds.publish),
        "publish 2": Actor(lambda passed: home.tell(home.publish, passed), holds=holds.publish),
    }
    for name in order:
        await actors[name].step(nursery)
    await again.over.wait()
    # A job each says that something was appended, and one that a lease was lost: in whichever order they were written.
    await stage.route(home.user)

    # Nobody else tells it what it missed than its own look, which the lease comes back with.
    while await home.leases() != [ours] or not await home.is_at_the_end(device):  # noqa: ASYNC110 - of Redis
        await trio.sleep(A_MOMENT)
    await device.settled()
    due = [("message", message) for message in home.messages]
    return "" if device.facts == due else f"owed {due} and learnt {device.facts}"


CLAIMED, LEFT, APPENDED = frozenset({Point.CLAIMED}), frozenset({Point.LEFT}), frozenset({Point.APPENDED})


@pytest.mark.parametrize(
    "holds",
    [
        pytest.param(Holds(hello=CLAIMED | LEFT, publish=APPENDED), id="closer"),
        pytest.param(
            Holds(hello=CLAIMED | LEFT | {Point.JOINED}, publish=APPENDED | {Point.LOCATED}),
            id="every-point",
            marks=pytest.mark.long,
        ),
    ],
)
async def test_in_no_order_does_a_given_up_claim_leave_the_device_offline(
    holds: Holds, config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    async with scene(config) as (stage, servers):
        count, wrong = await play_all(
            holds.orders(), lambda order, nursery: play(stage, servers, holds, order, nursery)
        )
    with capsys.disabled():
        print(f" {count} orders, {len(wrong)} wrong ", end="")
    assert not wrong, told(wrong)
