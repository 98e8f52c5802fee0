"""Loops that make steps, that stand, that have ended; and a process that did not run at all."""

import re

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from pushctl.liveness import KEPT_SECONDS, LATE_SECONDS, PATIENCE_SECONDS, TICK_SECONDS, Liveness, Loop

LONGEST_TICK_SECONDS = 1.2 * TICK_SECONDS


async def test_a_loop_that_makes_no_step_is_stuck_and_one_that_ended_is_too(autojump_clock: MockClock) -> None:
    liveness, turning, standing, ended = Liveness(), Loop("the turning"), Loop("the standing"), Loop("the ended")
    stands = trio.Event()

    async def turn() -> None:
        while True:
            turning.turn()
            await trio.sleep(2)

    async def stand() -> None:
        standing.turn()
        await stands.wait()
        standing.turn()

    async def end() -> None:
        ended.turn()

    async with trio.open_nursery() as nursery:
        liveness.watch(turning, standing, ended)
        for task in (liveness.run, turn, stand, end):
            nursery.start_soon(task)
        await trio.sleep(PATIENCE_SECONDS - 2)
        assert liveness.stuck() == []
        await trio.sleep(5)
        assert [reason.detail.split(" has ")[0] for reason in liveness.stuck()] == ["the standing", "the ended"]
        assert {reason.code for reason in liveness.stuck()} == {"task_stuck"}
        stands.set()
        liveness.forget(ended)
        await wait_all_tasks_blocked()
        assert liveness.stuck() == []
        nursery.cancel_scope.cancel()
    del autojump_clock


async def test_waiting_for_what_may_be_long_away_is_no_standstill(autojump_clock: MockClock) -> None:
    liveness, loop = Liveness(), Loop("the reader")
    async with trio.open_nursery() as nursery:
        liveness.watch(loop)
        nursery.start_soon(liveness.run)
        with loop.idle():
            await trio.sleep(10 * PATIENCE_SECONDS)
            assert liveness.stuck() == []
        await trio.sleep(PATIENCE_SECONDS + 5)
        assert len(liveness.stuck()) == 1
        nursery.cancel_scope.cancel()
    del autojump_clock


def test_a_process_that_did_not_run_is_neither_stuck_nor_late_when_it_is_back() -> None:
    clock = MockClock()
    liveness, loop = Liveness(), Loop("the reader")

    async def sleep_of_the_machine() -> None:
        """Time passes, and nobody runs."""
        clock.jump(10 * PATIENCE_SECONDS)
        await wait_all_tasks_blocked()

    async def story() -> None:
        async with trio.open_nursery() as nursery:
            liveness.watch(loop)
            nursery.start_soon(liveness.run)
            await wait_all_tasks_blocked()
            await sleep_of_the_machine()
            assert liveness.stuck() == []
            assert liveness.late() == []
            for _ in range(2):  # it never keeps up
                clock.jump(LONGEST_TICK_SECONDS + LATE_SECONDS + 0.5)
                await wait_all_tasks_blocked()
            (reason,) = liveness.late()
            assert reason.code == "loop_late"
            assert re.search(r"is 1\.[567] s late", reason.detail)
            clock.jump(LONGEST_TICK_SECONDS)
            await wait_all_tasks_blocked()
            assert liveness.late() == []
            nursery.cancel_scope.cancel()

    trio.run(story, clock=clock)


async def test_an_event_loop_that_was_held_up_says_so_for_ten_seconds_and_whoever_asked_is_told(
    mock_clock: MockClock,
) -> None:
    liveness, told = Liveness(), list[float]()
    liveness.tell(told.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(liveness.run)
        await wait_all_tasks_blocked()
        mock_clock.jump(1.7)  # nothing ran for so long
        await wait_all_tasks_blocked()
        assert 1.1 <= liveness.latest_seconds() <= 1.3
        assert told == [liveness.latest_seconds()]
        for _ in range(round(KEPT_SECONDS / TICK_SECONDS)):
            mock_clock.jump(LONGEST_TICK_SECONDS)
            await wait_all_tasks_blocked()
        assert liveness.latest_seconds() == pytest.approx(0, abs=0.4 * TICK_SECONDS)
        nursery.cancel_scope.cancel()
