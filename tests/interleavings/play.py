"""One order of a hello, publishes, a read mark and a disconnect, played and judged.

The phone says hello; the tablet of the same user has been connected to the same server. One of them is cut off, and
comes back with its cursor when all else is over.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

import trio

from pushctl.inbox import Inbox
from pushctl.points import Point, watcher
from roles.socket.connection import Connection
from tests.interleavings.device import A_MOMENT, Device
from tests.interleavings.household import Household
from tests.interleavings.orders import Actor, Order, orders
from tests.interleavings.scene import Scene, Server


@dataclass(frozen=True)
class Plan:
    """Where each actor is held: it takes one step more than that."""

    hello: Collection[Point] = ()
    publish: Collection[Point] = ()
    read: Collection[Point] = ()
    disconnect: Collection[Point] = ()
    publishes: int = 2
    knows_cursor: bool = False
    """Whether the phone's hello has a cursor: it is then given a delta, not a snapshot."""
    cut: Literal["phone", "tablet"] = "tablet"
    connection: type[Connection] = Connection
    """Of the phone."""
    inbox: type[Inbox] = Inbox
    """Of the sender."""

    def orders(self) -> Iterator[Order]:
        held = dict.fromkeys(self.publishers, self.publish)
        held |= {"hello": self.hello, "read": self.read, "disconnect": self.disconnect}
        twins = ("publish 1", "publish 2") if self.publishes == 2 else None
        return orders({name: len(holds) + 1 for name, holds in held.items()}, twins=twins)

    @property
    def publishers(self) -> list[str]:
        return [f"publish {n}" for n in range(1, self.publishes + 1)]


class Play:
    def __init__(self, scene: Scene, server: Server, plan: Plan) -> None:
        self._server = server
        self._plan = plan
        self._home = Household(scene)

    async def run(self, order: Order, nursery: trio.Nursery) -> str:
        """What is wrong with what the devices learnt; empty when nothing is."""
        plan, home = self._plan, self._home
        phone, tablet = Device(await home.log_in()), Device(await home.log_in())
        await home.settle()
        cut = phone if plan.cut == "phone" else tablet
        disconnect = Actor(lambda _: self._cut_off(cut), holds=plan.disconnect)
        tablet.dial(self._server, None)
        nursery.start_soon(_watched, disconnect, tablet)
        await tablet.settled()

        known = tablet.cursor if plan.knows_cursor else None
        phone.dial(self._server, known, plan.connection)
        actors = {
            "hello": Actor(lambda _: phone.stay(), holds=plan.hello, until=Point.LIVE),
            "read": Actor(lambda passed: home.tell(home.read_first, passed), holds=plan.read),
            "disconnect": disconnect,
        }
        for name in plan.publishers:
            publish = Actor(lambda passed: home.tell(lambda: home.publish(plan.inbox), passed), holds=plan.publish)
            actors[name] = publish
        for name in order:
            await actors[name].step(nursery)

        await cut.over.wait()
        cut.dial(self._server, cut.cursor or (known if cut is phone else None))
        nursery.start_soon(cut.stay)
        await phone.settled()
        await tablet.settled()
        return await self._wrong("phone", phone, knew_first=plan.knows_cursor) or await self._wrong("tablet", tablet)

    async def _cut_off(self, device: Device) -> None:
        """The tablet's step is over when its lease is given back; the phone may be on its way to claim one."""
        device.hang_up()
        if self._plan.cut == "tablet":
            await device.over.wait()
            while device.id in [lease.device for lease in await self._home.leases()]:  # noqa: ASYNC110 - of Redis
                await trio.sleep(A_MOMENT)

    async def _wrong(self, who: str, device: Device, *, knew_first: bool = False) -> str:
        """The first message stood in the log before the phone came, and was read; then came the others."""
        first, *others = self._home.messages
        facts = device.facts
        if [id_ for what, id_ in facts if what == "message" and id_ != first] != others:
            return f"{who} was owed {others} and learnt {facts}"
        shown = knew_first + facts.count(("message", first))
        if shown > 1 or facts.count(("read", first)) != shown:
            return f"{who} was owed that {first} is read and learnt {facts}"
        return "" if await self._home.is_at_the_end(device) else f"{who} does not know that the log goes on"


async def _watched(actor: Actor, device: Device) -> None:
    """A connection of its own that the actor's steps are held in."""
    watcher.set(actor.watch)
    await device.stay()
