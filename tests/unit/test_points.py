"""Passing a point costs nothing that could be noticed, unless somebody watches."""

import trio
import trio.testing

from pushctl.points import Point, passed, watcher


async def test_without_a_watcher_nothing_runs_and_nothing_is_cancelled_at_a_point() -> None:
    with trio.CancelScope() as scope, trio.testing.assert_no_checkpoints():
        scope.cancel()
        await passed(Point.APPENDED)
    assert not scope.cancelled_caught


async def test_a_watcher_holds_its_task_and_those_it_starts_and_no_other() -> None:
    seen: list[str] = []

    async def watch(point: Point) -> None:
        seen.append(point)

    async def watched() -> None:
        watcher.set(watch)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(passed, Point.JOINED)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched)
    await passed(Point.CLAIMED)
    assert seen == ["joined"]
