"""Many requests to a service that may be busy: so many at a time, each for as long as there is hope.

Owns: how often and how soon a request is repeated, and how many are under way.
Promises: what the service asks for (Retry-After) is a least, to which jitter only adds; a service that never answered
anybody is not asked twice.
Must not know: what is asked.
"""

from collections.abc import Awaitable, Callable, Iterator
from typing import Final, TypeVar

import trio

from pushctl.client.http import NoRoom
from pushctl.client.report import Tally
from pushctl.errors import Failed, TimedOut, Unreachable
from pushctl.protocol.peer import full_jitter

T = TypeVar("T")

AT_ONCE: Final = 16
"""Requests under way, of each kind. More make an api of one process no faster, and httpx slower."""

TRIES: Final = 6
"""Of a request that gets no answer. One that is refused for now (429, 503) is tried for as long as it takes."""


async def by_several(things: Iterator[T], act: Callable[[T], Awaitable[None]]) -> None:
    """AT_ONCE of them at a time, until there are no more."""

    async def work() -> None:
        for thing in things:
            await act(thing)

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(work)


class Persistence:
    """`tally` counts refusals and knows whether anybody has logged in. `random`: a number in [0, 1), for jitter."""

    def __init__(self, tally: Tally, random: Callable[[], float]) -> None:
        self._tally = tally
        self._random = random

    async def ask(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Asks again after what may pass. Raises what does not pass."""
        failures = 0
        while True:
            try:
                return await ask()
            except NoRoom as refused:
                self._tally.refused_by_api += 1
                pause = refused.retry_after_seconds or 0.0
            except (Unreachable, TimedOut):
                if not self._tally.logged_in or failures + 1 >= TRIES:
                    raise
                pause = 0.0
            await trio.sleep(pause + full_jitter(failures, self._random))
            failures += 1

    async def ask_if_possible(self, phase: trio.CancelScope, ask: Callable[[], Awaitable[T]]) -> T | None:
        """None if it is refused. If there is no answer at all, the phase is over: there would be none for others."""
        try:
            return await self.ask(ask)
        except Failed:
            return None
        except (Unreachable, TimedOut):
            phase.cancel()
            await trio.lowlevel.checkpoint()
            return None
