"""Use cases that meet: one question to Redis at a time, in every order, or cut off anywhere.

A turn is what an actor does from one question to the next. Owns: the schedule. Must not know: what the actors do.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import pytest
import trio
import trio.testing

from pushctl.errors import Problem
from pushctl.registry.link import Link

PATIENCE_SECONDS = 20
"""For one order."""

Act = Callable[[], Awaitable[object]]
Choose = Callable[[Sequence[int]], int]
"""Who of those that are not over is next, by number."""


class Actor:
    """`act` in a task of its own, which waits for its turn before each question. `failure`: the Problem it ended in."""

    def __init__(self, act: Act) -> None:
        self._act = act
        self._rests = trio.Event()
        self._go = trio.Event()
        self._scope = trio.CancelScope()
        self.over = False
        self.result: Any = None
        self.failure: Problem | None = None

    async def run(self) -> None:
        _actor.set(self)
        with self._scope:
            try:
                self.result = await self._act()
            except Problem as problem:
                self.failure = problem
        self.over = True
        self._rests.set()

    async def my_turn(self) -> None:
        self._go = trio.Event()
        self._rests.set()
        await self._go.wait()

    async def take_turn(self) -> None:
        """Ask what it waits to ask, and come to the next question."""
        self._rests = trio.Event()
        self._go.set()
        await self._rests.wait()

    async def at_rest(self) -> None:
        await self._rests.wait()

    def kill(self) -> None:
        self._scope.cancel()


_actor: ContextVar[Actor] = ContextVar("actor")


def let_questions_wait(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on an actor's questions wait for its turn."""
    answer = link._answer

    async def wait_and_answer(questions: Any) -> Any:
        actor = _actor.get(None)
        if actor is not None:
            await actor.my_turn()
        return await answer(questions)

    monkeypatch.setattr(link, "_answer", wait_and_answer)


async def play(acts: Sequence[Act], choose: Choose, *, kill_first_after: int | None = None) -> list[Actor]:
    """Let them act, turn by turn. `kill_first_after`: so many turns of the first, which is cut off then."""
    actors = [Actor(act) for act in acts]
    turns = 0
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            for actor in actors:
                nursery.start_soon(actor.run)
                await actor.at_rest()
            while alive := [n for n, actor in enumerate(actors) if not actor.over]:
                actor = actors[choose(alive)]
                if actor is actors[0] and turns == kill_first_after:
                    actor.kill()
                    await trio.testing.wait_all_tasks_blocked()
                    continue
                turns += actor is actors[0]
                await actor.take_turn()
    return actors


class EveryOrder:
    """`for order in EveryOrder(): await play(acts, order.choose)` plays each order once."""

    def __init__(self) -> None:
        self._path: list[tuple[int, int]] = []
        """(choice, out of how many)"""
        self._at = 0

    def __iter__(self) -> Iterator["EveryOrder"]:
        while True:
            self._at = 0
            yield self
            while self._path and self._path[-1][0] + 1 == self._path[-1][1]:
                self._path.pop()
            if not self._path:
                return
            choice, of = self._path[-1]
            self._path[-1] = (choice + 1, of)

    def choose(self, alive: Sequence[int]) -> int:
        of = len(alive)
        if self._at == len(self._path):
            self._path.append((0, of))
        choice, expected = self._path[self._at]
        assert expected == of, "the same turns did not lead to the same place"
        self._at += 1
        return alive[choice]


def interrupted(first: int, turns: int) -> Choose:
    """`first` takes so many turns; then all others go to their end, and it goes on."""
    left = [turns]

    def choose(alive: Sequence[int]) -> int:
        left[0] -= 1
        others = [n for n in alive if n != first]
        return first if first in alive and (left[0] >= 0 or not others) else others[0]

    return choose
