"""One master and the lanes to it.

Owns: which lanes there are. `quick`: small questions; `bulk`: large answers, so that no small one waits behind them;
`sure`: changes that are promised, confirmed by `redis.wait_replicas` replicas (without any, it is the quick lane).
Must not know: other masters; what travels.
"""

from collections.abc import Awaitable, Callable
from weakref import WeakSet

import trio

from pushctl.config.model import Redis
from pushctl.liveness import Liveness
from pushctl.registry.connection import Address, Connection
from pushctl.registry.lane import Lane
from pushctl.registry.script import Lane as LaneName
from pushctl.tally import LaneState, LinkTally


class Node:
    def __init__(
        self,
        address: Address,
        settings: Redis,
        *,
        name: str,
        locate: Callable[["Node"], Awaitable[Address]],
        admit: Callable[["Node", Connection], Awaitable[None]],
        on_error: Callable[[str], None],
        on_change: Callable[["Node"], None],
        liveness: Liveness,
        tally: LinkTally,
    ) -> None:
        """As of a Lane; `on_change`: told when it has become `connected`, or is so no more."""
        self.address = address
        self._on_change = on_change
        self._was_connected = False
        self.needed_until = 0.0
        """On Trio's clock: until then it stays, whatever the map says."""
        self._guests: WeakSet[Connection] = WeakSet()

        def lane(kind: LaneName, replicas: int = 0) -> Lane:
            return Lane(
                settings,
                name=name if kind == "quick" else f"{name}-{kind}",
                locate=lambda: locate(self),
                admit=lambda connection: admit(self, connection),
                on_error=on_error,
                on_change=self._lane_changed,
                liveness=liveness,
                tally=tally.lane(kind),
                replicas=replicas,
            )

        quick = lane("quick")
        sure = lane("sure", settings.wait_replicas) if settings.wait_replicas else quick
        self._lanes: dict[LaneName, Lane] = {"quick": quick, "sure": sure, "bulk": lane("bulk")}
        self._running = trio.CancelScope()

    def __str__(self) -> str:
        return str(self.address)

    def lane(self, name: LaneName) -> Lane:
        return self._lanes[name]

    @property
    def lanes(self) -> list[Lane]:
        return list(dict.fromkeys(self._lanes.values()))

    def state(self) -> list[LaneState]:
        """How its lanes stand, each named by what it is."""
        kinds = {lane: kind for kind, lane in reversed(self._lanes.items())}
        return [LaneState(kind, str(self), lane.connected, *lane.load) for lane, kind in kinds.items()]

    @property
    def connected(self) -> bool:
        return all(lane.connected for lane in self.lanes)

    @property
    def problem(self) -> str:
        """Why it is not connected, while it is not."""
        apart = sorted((lane for lane in self.lanes if not lane.connected), key=lambda lane: not lane.refused)
        return apart[0].problem if apart else ""

    @property
    def refused(self) -> bool:
        """It answers, and must not be used."""
        return any(lane.refused for lane in self.lanes)

    def welcome(self, guest: Connection) -> None:
        """Somebody listens here over a connection of their own. It is broken when a lane is: who only listens would not
        notice that nobody speaks any more."""
        self._guests.add(guest)

    def _lane_changed(self) -> None:
        if self.connected == self._was_connected:
            return
        self._was_connected = self.connected
        if not self.connected:
            for guest in self._guests:
                guest.break_off()
        self._on_change(self)

    def expel(self, reason: str, *, refused: bool = False) -> None:
        """See Lane.expel."""
        for lane in self.lanes:
            lane.expel(reason, refused=refused)

    async def run(self) -> None:
        """Keep all lanes connected, until cancelled or `stop`."""
        with self._running:
            async with trio.open_nursery() as nursery:
                for lane in self.lanes:
                    nursery.start_soon(lane.run)

    @property
    def stopped(self) -> bool:
        return self._running.cancel_called

    def stop(self) -> None:
        self._running.cancel()
