"""Every order in which some actors can take their steps, and actors that take one step when told.

An actor is a task that is held at points of the product code (pushctl/points.py); a step is what it does from one hold
to the next. Must not know: what the steps are.
"""

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping

import trio

from pushctl.points import Point, watcher

Order = tuple[str, ...]


def orders(steps: Mapping[str, int], *, twins: tuple[str, str] | None = None) -> Iterator[Order]:
    """Every order of these many steps of each actor. `twins` take the same steps and are asserted the same of, so of
    two orders that differ only in which twin is which there is one: the first twin begins."""
    left = dict(steps)
    if not any(left.values()):
        yield ()
    for name in steps:
        if not left[name] or (twins and name == twins[1]):
            continue
        # Once the first twin began, either may be next.
        begun = None if twins and name == twins[0] else twins
        for rest in orders(left | {name: left[name] - 1}, twins=begun):
            yield (name, *rest)


class Actor:
    """`act` in a task of its own, held when it first passes each point of `holds`; it is given the points it passed. It
    has taken its last step when it returns, or passes `until` (and then goes on freely)."""

    def __init__(
        self,
        act: Callable[[Collection[Point]], Awaitable[object]],
        *,
        holds: Collection[Point] = (),
        until: Point | None = None,
    ) -> None:
        self._act = act
        self._holds = set(holds)
        self._until = until
        self._started = self._over = False
        self._rests = trio.Event()
        self._go = trio.Event()
        self._passed: set[Point] = set()

    async def watch(self, point: Point) -> None:
        self._passed.add(point)
        if point in self._holds:
            self._holds.remove(point)
            self._go = trio.Event()
            self._rests.set()
            await self._go.wait()
        elif point is self._until:
            self._rests.set()

    async def step(self, nursery: trio.Nursery) -> None:
        """Let it take its next step; returns when it has."""
        self._rests = trio.Event()
        if self._over:  # cut short by what another actor did: it has nothing left to do
            return
        if self._started:
            self._go.set()
        else:
            self._started = True
            nursery.start_soon(self._run)
        await self._rests.wait()

    async def _run(self) -> None:
        watcher.set(self.watch)
        await self._act(self._passed)
        self._over = True
        self._rests.set()
