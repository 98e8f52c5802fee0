"""Every order in which some actors can take their steps, and actors that take one step when told.

An actor is a task that is held at points of the product code (pushctl/points.py); a step is what it does from one hold
to the next. Must not know: what the steps are.
"""

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping

import trio

from pushctl.points import Point, watcher

AT_ONCE = 32
"""Orders played at the same time, each with a user of its own."""

PATIENCE_SECONDS = 60
"""For one order, beside the others: an order that hangs does so for ever, and a busy machine is slow."""

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
    has taken its last step when it returns, or has passed `until` and all others (and then goes on freely)."""

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
        self.passed: set[Point] = set()

    async def watch(self, point: Point) -> None:
        self.passed.add(point)
        if point in self._holds:
            self._holds.remove(point)
            self._go = trio.Event()
            self._rests.set()
            await self._go.wait()
        if not self._holds and self._until in self.passed:
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
        await self._act(self.passed)
        self._over = True
        self._rests.set()


async def play_all(
    todo: Iterator[Order], play: Callable[[Order, trio.Nursery], Awaitable[str]]
) -> tuple[int, dict[Order, str]]:
    """Play each order, with a nursery that ends with it, many at the same time. (how many there were, what went wrong
    in which)"""
    count = 0
    wrong: dict[Order, str] = {}

    async def some() -> None:
        nonlocal count
        for order in todo:
            count += 1
            found = "it never ended"
            with trio.move_on_after(PATIENCE_SECONDS):
                async with trio.open_nursery() as nursery:
                    found = await play(order, nursery)
                    nursery.cancel_scope.cancel()
            if found:
                wrong[order] = found

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(some)
    return count, wrong


def told(wrong: Mapping[Order, str]) -> str:
    """For whoever has to find out why."""
    return f"{len(wrong)} orders went wrong:\n" + "\n".join(f"{' > '.join(order)}: {wrong[order]}" for order in wrong)
