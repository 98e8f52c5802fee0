"""What browsers acknowledged is written, whoever lets go of it and when."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import trio
import trio.testing

from pushctl.ids import MessageRef, UserId
from roles.socket.settling import Settling

ADA = UserId("ada")


def ref(seq: int) -> MessageRef:
    return MessageRef(seq, 7, "aaaa", 1)


class SlowStore:
    """The registry's side, as slow as the test wants it."""

    def __init__(self) -> None:
        self.written: list[int] = []
        self.asked = trio.Event()
        self.answers = trio.Event()

    async def settle(self, _: UserId, refs: Sequence[MessageRef]) -> int:
        self.asked.set()
        await self.answers.wait()
        self.written += [each.seq for each in refs]
        return len(refs)


async def test_what_is_abandoned_while_something_older_is_written_is_not_forgotten(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = SlowStore()
    settling = Settling(cast(Any, SimpleNamespace(browsers=store, present=trio.lowlevel.checkpoint)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(settling.run)
        settling.note(ADA, [ref(1)])
        settling.abandon(ADA)
        await store.asked.wait()
        settling.note(ADA, [ref(2)])  # by a newer connection, which is cut off, too
        settling.abandon(ADA)
        store.answers.set()
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert store.written == [1, 2]
    assert (settling._noted, settling._count, settling._abandoned) == ({}, 0, set())
