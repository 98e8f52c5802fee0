"""Asking a service that may be busy, away, or against it."""

import pytest
import trio
import trio.testing

from pushctl.client.http import NoRoom, Problem, Refused
from pushctl.client.persistence import AT_ONCE, TRIES, Persistence, by_several
from pushctl.client.report import Tally
from pushctl.errors import TimedOut, Unreachable


class Service:
    """Raises these in turn, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.asked_at: list[float] = []

    async def ask(self) -> str:
        self.asked_at.append(trio.current_time())
        if self.errors:
            raise self.errors.pop(0)
        return "here"


def busy(seconds: float | None) -> NoRoom:
    return NoRoom("busy", 503, seconds)


async def test_what_the_service_asks_for_is_a_least_and_jitter_only_adds(
    autojump_clock: trio.testing.MockClock,
) -> None:
    service, tally = Service(busy(7), busy(None), busy(3)), Tally()
    assert await Persistence(tally, lambda: 0.5).ask(service.ask) == "here"
    waits = [after - before for before, after in zip(service.asked_at, service.asked_at[1:], strict=False)]
    assert waits == pytest.approx([7 + 0.5, 0 + 1, 3 + 2])
    assert tally.refused_by_api == 3


async def test_a_service_that_is_away_is_asked_a_few_times(autojump_clock: trio.testing.MockClock) -> None:
    for error in (Unreachable("gone"), TimedOut("slow")):
        service = Service(*[error] * (TRIES - 1))
        assert await Persistence(Tally(logged_in=1), lambda: 0.5).ask(service.ask) == "here"
        service = Service(*[error] * TRIES)
        with pytest.raises(type(error)):
            await Persistence(Tally(logged_in=1), lambda: 0.5).ask(service.ask)


async def test_a_service_that_never_answered_anybody_is_asked_once() -> None:
    service = Service(Unreachable("gone"))
    with pytest.raises(Unreachable):
        await Persistence(Tally(), lambda: 0.5).ask(service.ask)
    assert len(service.asked_at) == 1


async def test_a_refusal_concerns_one_and_silence_concerns_all(autojump_clock: trio.testing.MockClock) -> None:
    persistence = Persistence(Tally(logged_in=1), lambda: 0.5)
    with trio.CancelScope() as phase:
        assert await persistence.ask_if_possible(phase, Service(Refused("no", 404, Problem())).ask) is None
    assert not phase.cancelled_caught
    with trio.CancelScope() as phase:
        await persistence.ask_if_possible(phase, Service(*[Unreachable("gone")] * TRIES).ask)
    assert phase.cancelled_caught


async def test_so_many_are_under_way_at_once_and_none_is_left_out(autojump_clock: trio.testing.MockClock) -> None:
    now, most, done = 0, 0, list[int]()

    async def act(number: int) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await trio.sleep(1 + number % 3)
        now -= 1
        done.append(number)

    await by_several(iter(range(100)), act)
    assert (most, sorted(done)) == (AT_ONCE, list(range(100)))
