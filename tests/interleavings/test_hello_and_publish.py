"""No order of a hello, two publishes, a read mark and a disconnect loses a message: every one is played, on real Redis.

The argument why stands in roles/socket/tail.py; points.py names the points. Reconcile is off.
"""

from collections.abc import Iterator

import pytest
import trio

from pushctl.config.model import Config
from pushctl.points import Point
from tests.interleavings.orders import Order
from tests.interleavings.play import Plan, Play
from tests.interleavings.scene import Scene, Server, scene

AT_ONCE = 32
"""Orders played at the same time, each with a user of its own."""


async def play_all(plan: Plan, config: Config) -> tuple[int, dict[Order, str]]:
    """(how many orders there are, those that went wrong and how)"""
    count = 0
    wrong: dict[Order, str] = {}

    async def some(todo: Iterator[Order], stage: Scene, server: Server) -> None:
        nonlocal count
        for order in todo:
            count += 1
            if found := await Play(stage, server, plan).run(order):
                wrong[order] = found

    async with scene(config) as (stage, (server, *_)), trio.open_nursery() as nursery:
        todo = plan.orders()
        for _ in range(AT_ONCE):
            nursery.start_soon(some, todo, stage, server)
    return count, wrong


def judge(count: int, wrong: dict[Order, str], capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f" {count} orders, {len(wrong)} wrong ", end="")
    for order, what in wrong.items():
        pytest.fail(f"{len(wrong)} of {count} orders went wrong. {' > '.join(order)}: {what}")


PLAN = Plan(hello={Point.CLAIMED, Point.READ}, publish={Point.APPENDED})


async def test_no_order_loses_a_message(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    judge(*await play_all(PLAN, config), capsys)
