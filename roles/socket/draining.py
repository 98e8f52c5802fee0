"""How a socket server sends everybody elsewhere, at a pace; and how it is taken back.

Owns: whether this server drains, since when and for whom; the pace. Promises: that it drains stands in the registry
before anybody is sent away; devices are asked in random order, spread evenly over the time there is, and each may stay
until its moment has come; whoever is still there a little later is closed (4001); told to stop, it is empty in time,
whether or not peers answer.
Must not know: frames, how a connection closes, what an operator typed.

The registry brings wishes with every answer to a heartbeat (registry/wishes.py). A wish is carried out until a newer
one comes. A server that drained keeps running, empty, and refuses upgrades; it is ready again when somebody wishes so,
or when it is started anew.
"""

import math
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from pushctl.errors import StoreUnavailable
from pushctl.registry.servers import Drain
from pushctl.registry.wishes import Wish
from roles.socket.wire import CLOSE_SECONDS

if TYPE_CHECKING:
    from roles.socket.held import Held
    from roles.socket.serve import SocketRole

SLICE_SECONDS = 1.0
"""Those who are asked together leave at random moments within so long; longer when there are few."""

SETTLE_SECONDS = 1.5
"""For the Box Offices to look, before the first is sent back to them."""

GRACE_SECONDS = 2.0
"""For a device to go by itself when its moment has come."""

RETURNS_PER_SECOND = 100
"""Devices of one server come back to the Box Office at this rate, at most, however little time there is to send them
away."""


class Draining:
    def __init__(self, role: "SocketRole") -> None:
        self._role = role
        self.now: Drain | None = None
        """While it drains, what its row says of that."""
        self._heard: Wish | None = None
        self._news = trio.Event()
        self._somebody_left = trio.Event()
        self._carrying_out = trio.CancelScope()
        self._gone_by = math.inf
        """Told to stop: when the last connection must be closed."""

    # --- what is wished ----------------------------------------------------------------------------------------------

    def hear(self, wish: Wish | None) -> None:
        """With every heartbeat. None: nobody has wished anything of this start of the server, or it was lost."""
        if wish is not None and wish != self._heard:
            self._heard = wish
            self._news.set()

    async def run(self) -> None:
        """Carry out what is wished, until cancelled or `stop`. Raises Fenced."""
        with self._carrying_out:
            while True:
                await self._news.wait()
                self._news = trio.Event()
                async with trio.open_nursery() as nursery:
                    assert self._heard is not None
                    nursery.start_soon(self._carry_out, self._heard)
                    await self._news.wait()
                    nursery.cancel_scope.cancel()

    async def _carry_out(self, wish: Wish) -> None:
        if not wish.drain:
            await self._be_ready(wish.by)
            return
        over = wish.over_ms / 1000
        await self._begin(Drain(wish.by, wish.at_ms, wish.over_ms, self._role.hub.connections))
        await self._send_away(over)
        await self._until(lambda: not self._role.hub.connections)
        self._role.log.info("drained", asked_by=wish.by)
        await self._announce()

    async def _be_ready(self, by: str) -> None:
        self.now = None
        for connection in self._role.hub:
            connection.may_stay()
        self._role.log.info("drain_taken_back", asked_by=by)
        await self._announce()

    async def stop(self, seconds: float, stop_accepting: Callable[[], None]) -> None:
        """This process ends: send everybody away within three quarters of `seconds`. Returns when nobody is left."""
        self._carrying_out.cancel()
        self._gone_by = trio.current_time() + seconds * 3 / 4
        at_ms = int(self._role.heart.registry_now_ms())
        connections = self._role.hub.connections
        await self._begin(Drain("a signal to its process", at_ms, int(seconds * 1000), connections))
        stop_accepting()
        await self._send_away(seconds / 2)
        for connection in self._role.hub:
            connection.leave_now()
        await self._until(lambda: not self._role.hub.connections)
        with trio.move_on_at(self.close_by()):
            # Those who have not said hello yet, too; who has not even shaken hands is not waited for.
            await self._until(lambda: not self._role.reception.streams)

    # --- how ---------------------------------------------------------------------------------------------------------

    async def _begin(self, drain: Drain) -> None:
        """Say so before anybody is sent away."""
        self.now = drain
        self._role.log.info("draining", asked_by=drain.by, over_ms=drain.over_ms, connections=drain.connections)
        await self._announce()

    async def _announce(self) -> None:
        try:
            await self._role.heart.beat_once()
        except StoreUnavailable as error:
            self._role.log.warning("draining_unannounced", detail=error.detail)

    async def _send_away(self, seconds: float) -> None:
        """Ask everybody to go, within `seconds`. Sooner when nobody is left."""
        role = self._role
        settle, grace = min(SETTLE_SECONDS, seconds / 10), min(GRACE_SECONDS, seconds / 4)
        await self._wait(settle)
        everybody = [connection for connection in role.hub if not connection.was_asked_to_leave]
        random.shuffle(everybody)
        window = seconds - settle - grace
        plan = returns(len(everybody), window)
        for moments in plan:
            part = window / len(plan)
            for after in moments:
                _ask(everybody.pop(), after, part, grace)
            await self._wait(part)
        await self._wait(grace)

    async def _wait(self, seconds: float) -> None:
        """For so long, or until nobody is left."""
        with trio.move_on_after(seconds):
            await self._until(lambda: not self._role.hub.connections)

    async def _until(self, truth: Callable[[], bool]) -> None:
        """`truth` can only come about by somebody leaving."""
        while not truth():
            self._somebody_left = trio.Event()
            await self._somebody_left.wait()

    def somebody_left(self) -> None:
        self._somebody_left.set()

    def close_by(self) -> float:
        """The moment by which a connection that ends now is closed."""
        now = trio.current_time()
        return min(now + CLOSE_SECONDS, max(now, self._gone_by))


def _ask(connection: "Held", after: float, seconds: float, grace: float) -> None:
    """It is closed within `seconds` and `grace`, even if its moment is later: it may come back only then."""
    connection.ask_to_leave(after, closed_after=min(after, seconds) + grace)


def slices(count: int, seconds: float) -> list[int]:
    """How many to send away together, slice by slice: as evenly as can be."""
    parts = max(1, min(count, int(seconds / SLICE_SECONDS)))
    return [count * (part + 1) // parts - count * part // parts for part in range(parts)]


def returns(count: int, seconds: float) -> list[list[float]]:
    """For each slice: how long after it is asked each of its devices is to be back at the Box Office. All are asked
    within `seconds`. Slices come back one after the other, each device at random within its slice: over `seconds`, or
    over longer when there are more of them than may return in that time."""
    sizes = slices(count, seconds)
    asked, back = seconds / len(sizes), max(seconds, count / RETURNS_PER_SECOND) / len(sizes)
    return [
        [(number + random.random()) * back - number * asked for _ in range(size)]  # noqa: S311 - spread
        for number, size in enumerate(sizes)
    ]
