"""One order of a hello, publishes, a read mark and a disconnect, played and judged.

The phone says hello; the tablet of the same user has been connected to the same server. One of them is cut off, and
comes back with its cursor when all else is over.
"""

from collections.abc import Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Literal

import trio

from pushctl.clock import system_clock
from pushctl.ids import Cursor, SessionHash, UserId, new_id
from pushctl.inbox import Inbox, Session
from pushctl.points import Point, watcher
from pushctl.protocol.frames import Notification
from pushctl.registry.messages import Delta
from pushctl.webpush.request import Push
from roles.socket.connection import Connection
from tests.interleavings.device import Device
from tests.interleavings.orders import Actor, Order, orders
from tests.interleavings.scene import Scene, Server

PATIENCE_SECONDS = 10
AN_HOUR_MS = 3_600_000
PUSH = Push(
    body=b"",
    notification=Notification("news"),
    data=None,
    encoding=None,
    headers=None,
    ttl_seconds=3600,
    topic=None,
    urgency="normal",
    idempotency_key=None,
)


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
    hello_ends: Point = Point.LIVE

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
        self._scene = scene
        self._server = server
        self._plan = plan
        self._user = UserId(new_id(16))
        self._token = ""
        self._published: list[tuple[int, str]] = []
        """(sequence number, id) of each message."""

    async def run(self, order: Order) -> str:
        """What is wrong with what the devices learnt; empty when nothing is."""
        with trio.move_on_after(PATIENCE_SECONDS):
            async with trio.open_nursery() as nursery:
                wrong = await self._play(order, nursery)
                nursery.cancel_scope.cancel()
            return wrong
        return "it never ended"

    async def _play(self, order: Order, nursery: trio.Nursery) -> str:
        phone, tablet = await self._register(), await self._register()
        push_url, _ = await self._scene.inbox().allow(self._user, "https://news.example", None, None)
        self._token = push_url.url.rpartition("/")[2]
        await self._publish()
        cut = phone if self._plan.cut == "phone" else tablet
        disconnect = Actor(lambda _: self._cut_off(cut), holds=self._plan.disconnect)
        tablet.dial(self._server, None)
        nursery.start_soon(_watched, disconnect, tablet)
        await tablet.settled()

        phone.dial(self._server, tablet.cursor if self._plan.knows_cursor else None, self._plan.connection)
        hello = Actor(lambda _: phone.stay(), holds=self._plan.hello, until=self._plan.hello_ends)
        read = Actor(lambda passed: self._tell(self._mark_read, passed), holds=self._plan.read)
        actors = {"hello": hello, "read": read, "disconnect": disconnect}
        for name in self._plan.publishers:
            actors[name] = Actor(lambda passed: self._tell(self._publish, passed), holds=self._plan.publish)
        for name in order:
            await actors[name].step(nursery)

        await cut.over.wait()
        cut.dial(self._server, cut.cursor or (tablet.cursor if self._plan.knows_cursor else None))
        nursery.start_soon(cut.stay)
        await phone.settled()
        await tablet.settled()
        found = [await self._wrong(phone, knew_first=self._plan.knows_cursor), await self._wrong(tablet)]
        return "; ".join(f"{who}: {what}" for who, what in zip(("phone", "tablet"), found, strict=True) if what)

    # --- what the actors do ------------------------------------------------------------------------------------------

    async def _register(self) -> Device:
        session = SessionHash(new_id())
        made = await self._scene.registry.users.register(
            self._user, device=None, name="", session=session, identity=self._user
        )
        return Device(Session(self._user, made.device, session, system_clock() + AN_HOUR_MS))

    async def _publish(self) -> None:
        published = await self._scene.inbox(self._plan.inbox).publish(self._token, PUSH)
        self._published.append((published.seq, published.message_id))

    async def _mark_read(self) -> None:
        assert await self._scene.inbox().read(self._user, ids=[self._published[0][1]]) == 1

    async def _tell(self, append: Callable[[], Awaitable[None]], passed: Collection[Point]) -> None:
        """The whole order on publish: append, then locate, if there is a job."""
        await append()
        if Point.JOB_WRITTEN in passed:
            await self._scene.route(self._user)

    async def _cut_off(self, device: Device) -> None:
        """The tablet's step is over when its lease is given back; the phone may be on its way to claim one."""
        device.hang_up()
        if self._plan.cut == "tablet":
            await device.over.wait()
            while device.id in await self._holding():
                pass

    async def _holding(self) -> list[str]:
        (holders,) = await self._scene.registry.presence.holders_of([self._user])
        return [holder.device for holder in holders]

    # --- what must be true at the end --------------------------------------------------------------------------------

    async def _wrong(self, device: Device, *, knew_first: bool = False) -> str:
        """The first message stood in the log before the phone came, and was read; then came the others."""
        first, *others = [message for _, message in sorted(self._published)]
        facts = device.facts
        if [what for what in facts if what[0] == "message" and what[1] != first] != [("message", m) for m in others]:
            return f"{len(others)} messages in this order: {others}; learnt {facts}"
        shown = knew_first + facts.count(("message", first))
        if shown > 1 or facts.count(("read", first)) != shown:
            return f"read: {first}; learnt {facts}"
        cursor = Cursor.parse(device.cursor or "")
        rest = await self._scene.registry.messages.sync(self._user, cursor, min_rank=0, page_bytes=100_000)
        return "" if rest == Delta(cursor, [], done=True) else f"believes to be at the log's end, and there is {rest}"


async def _watched(actor: Actor, device: Device) -> None:
    """A connection of its own that the actor's steps are held in."""
    watcher.set(actor.watch)
    await device.stay()
