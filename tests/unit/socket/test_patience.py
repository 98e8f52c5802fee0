"""Asking on while the registry is away: who waits, for what, and what is not waited for."""

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from pushctl.errors import Overloaded, StoreUnavailable
from pushctl.ids import UserId
from pushctl.registry.messages import SnapshotLost
from roles.socket.patience import Patience, Wait


class Registry:
    """Away until it is back; it counts the questions."""

    def __init__(self, error: Callable[[str], StoreUnavailable] = StoreUnavailable) -> None:
        self._error = error
        self.back = trio.Event()
        self.asked = 0

    async def answer(self) -> str:
        self.asked += 1
        await trio.lowlevel.checkpoint()
        if not self.back.is_set():
            raise self._error("away")
        return "an answer"


def patient(until_back: Wait) -> Patience:
    return Patience(lambda _: until_back(), UserId("ada"))


@pytest.mark.parametrize("error", [StoreUnavailable, Overloaded])
async def test_what_cannot_be_answered_now_is_asked_again_when_it_can(
    error: Callable[[str], StoreUnavailable], autojump_clock: MockClock
) -> None:
    registry = Registry(error)
    patience = patient(registry.back.wait)
    async with trio.open_nursery() as nursery:

        async def come_back() -> None:
            await trio.sleep(100)
            assert (registry.asked, patience.is_needed) == (1, True)
            registry.back.set()

        nursery.start_soon(come_back)
        assert await patience.ask(registry.answer) == "an answer"
    assert (registry.asked, patience.is_needed) == (2, False)


async def test_what_waiting_cannot_mend_is_raised() -> None:
    with pytest.raises(SnapshotLost):
        await patient(trio.sleep_forever).ask(Registry(SnapshotLost).answer)


async def test_of_two_who_wait_the_first_to_go_does_not_speak_for_the_other(autojump_clock: MockClock) -> None:
    patience = patient(trio.sleep_forever)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(patience.ask, Registry().answer)
        with trio.move_on_after(1):
            await patience.ask(Registry().answer)
        assert patience.is_needed
        nursery.cancel_scope.cancel()
    assert not patience.is_needed


async def test_something_can_be_done_meanwhile(autojump_clock: MockClock) -> None:
    registry = Registry()
    done: list[str] = []

    async def meanwhile(wait: Wait) -> None:
        done.append("pinged")
        registry.back.set()
        await wait()
        done.append("waited")

    assert await patient(registry.back.wait).ask(registry.answer, meanwhile=meanwhile) == "an answer"
    assert done == ["pinged", "waited"]
