"""A lane keeps question and answer together, whatever callers and Redis do meanwhile."""

import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import pytest
import trio
import trio.testing

from pushctl.config.model import Config
from pushctl.errors import StoreUnavailable
from pushctl.ids import ServerId, new_id
from pushctl.registry import Registry, open_registry
from pushctl.registry.script import Lane
from tests.redises.process import RedisProcess
from tests.redises.replication import Replicas
from tests.registry.people import Person, impatient, patiently, unhurried, until

LANES: tuple[Lane, ...] = ("quick", "sure", "bulk")


async def echoes(registry: Registry, chance: random.Random, answers: list[str]) -> None:
    """Ask what only this caller can be answered, several at once at times; give up at a random moment."""
    for _ in range(60):
        lane = chance.choice(LANES)
        values = [new_id() for _ in range(chance.choice((1, 1, 3)))]
        # Soon enough to be in the queue, or sent, or waiting for WAIT; or never.
        patience = chance.choice((0, 0.0005, 0.002, 0.005, 1, 1))
        with trio.move_on_after(patience):
            replies = await registry.link.ask_all([("ECHO", value) for value in values], lane=lane)
            assert replies == [value.encode() for value in values], "somebody else's answer"
            answers.append(lane)


async def stress(registry: Registry, seed: int) -> list[str]:
    chance, answers = random.Random(seed), list[str]()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(echoes, registry, random.Random(chance.random()), answers)
        # In order still: each lane answers the next one.
        for lane in LANES:
            assert await registry.link.ask("ECHO", lane, lane=lane) == lane.encode()
    return answers


async def test_callers_that_give_up_at_any_moment_never_shift_an_answer(own_replicas: Replicas) -> None:
    config = unhurried(own_replicas.url, wait_replicas=1)
    async with open_registry(config, name="test") as registry:
        answers = await stress(registry, seed=1)
        assert min(answers.count(lane) for lane in LANES) > 100
        assert registry.link.tally.abandoned > 100
        assert registry.link.tally.reconnects == 0


async def test_nor_while_connections_are_lost(own_redis: RedisProcess) -> None:
    async with open_registry(unhurried(own_redis.url), name="test") as registry:
        refused = 0

        async def ask(n: int) -> None:
            nonlocal refused
            for m in range(100):
                value = f"{n}.{m}"
                try:
                    with trio.move_on_after(random.choice((0.001, 1))):
                        lane = random.choice(LANES)
                        assert await registry.link.ask("ECHO", value, lane=lane) == value.encode()
                except StoreUnavailable:
                    refused += 1
                    await trio.sleep(0.02)

        async with trio.open_nursery() as nursery:
            for n in range(50):
                nursery.start_soon(ask, n)
            for _ in range(5):
                await trio.sleep(0.05)
                await trio.to_thread.run_sync(own_redis.ask, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert refused
        await patiently(partial(registry.link.ask, "PING"))


async def test_scripts_that_redis_forgot_in_full_flight_are_told_again_on_every_lane(own_redis: RedisProcess) -> None:
    config = unhurried(own_redis.url)
    async with open_registry(config, name="test") as registry:
        people = [await Person.register(registry) for _ in range(20)]

        async def use(person: Person) -> None:
            for n in range(20):
                await person.post(f"{n}")
                await person.bodies()  # over the bulk lane
                await registry.users.count(person.user)

        async with trio.open_nursery() as nursery:
            for person in people:
                nursery.start_soon(use, person)
            for _ in range(20):
                await trio.sleep(0.01)
                await trio.to_thread.run_sync(own_redis.ask, "SCRIPT", "FLUSH")
        for person in people:
            assert await person.bodies() == [f"{n}" for n in range(20)]


async def test_whoever_waits_for_redis_is_woken_however_often_it_goes(own_redis: RedisProcess) -> None:
    """The wait began while the connection was expelled, lost, and lost again."""
    async with open_registry(unhurried(own_redis.url), name="test") as registry:
        woken = 0

        async def wait() -> None:
            nonlocal woken
            await registry.link.wait_connected("key")
            woken += 1

        (node,) = registry.link._masters.nodes
        async with trio.open_nursery() as nursery:
            node.expel("a test")
            nursery.start_soon(wait)
            await trio.lowlevel.checkpoint()
            node.expel("another")
            nursery.start_soon(wait)
            with trio.fail_after(5):
                while woken < 2:  # noqa: ASYNC110
                    await trio.sleep(0.01)


async def test_a_redis_that_falls_silent_is_found_out_although_nobody_asks(own_redis: RedisProcess) -> None:
    seconds = 0.3
    async with (
        open_registry(impatient(own_redis.url, timeout_seconds=seconds), name="test") as registry,
        registry.channels.listen(ServerId("s1"), 0) as listener,
    ):
        with own_redis.frozen():
            began = trio.current_time()
            with trio.fail_after(10):
                await until(lambda: not registry.connected)
                # Whoever only listens there is told, too.
                with pytest.raises(StoreUnavailable):
                    await listener.hear()
            assert trio.current_time() - began > seconds


async def test_a_redis_that_answers_late_but_answers_is_not_taken_for_silent(own_redis: RedisProcess) -> None:
    async with open_registry(impatient(own_redis.url, timeout_seconds=1.5), name="test") as registry:
        with pytest.raises(StoreUnavailable):  # whoever asked has given up
            await registry.link.ask_all([("BLPOP", "nothing", 0.5)] * 10)  # one answer after the other
        with trio.fail_after(20):
            while registry.link.tally.reconnects == 0:
                with suppress(StoreUnavailable):
                    await registry.link.ask("ECHO", "behind them")
                    break
                await trio.lowlevel.checkpoint()  # without a connection it is refused at once
        assert registry.link.tally.reconnects == 0


async def test_who_stood_still_reads_what_came_meanwhile_before_it_gives_up(own_redis: RedisProcess) -> None:
    """For longer than any patience, as when a machine is paused: a message that was stored is accepted, late."""
    async with open_registry(impatient(own_redis.url, timeout_seconds=0.3), name="test") as registry:
        ada = await Person.register(registry)
        await ada.post("so that Redis knows the script")
        for n in range(8):  # the reader may happen to be first
            async with trio.open_nursery() as nursery:
                own_redis.freeze()
                nursery.start_soon(ada.post, f"{n}")
                await trio.testing.wait_all_tasks_blocked()
                time.sleep(0.65)  # noqa: ASYNC251 - all of us stands still
                own_redis.thaw()
                own_redis.ask("PING")  # answered behind the other
        assert registry.link.tally.reconnects == 0


async def test_a_redis_that_hangs_up_at_once_is_not_knocked_down(own_redis: RedisProcess) -> None:
    async with open_registry(unhurried(own_redis.url), name="test") as registry:
        before = registry.link.tally.reconnects

        async def hang_up() -> None:
            while True:
                await trio.to_thread.run_sync(own_redis.ask, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

        with trio.move_on_after(1):
            await hang_up()
        connections = registry.link.tally.reconnects - before
        # Two lanes; each pauses 25 ms on average before it tries again.
        assert connections < 200


@pytest.mark.parametrize("lane", LANES)
async def test_a_full_queue_is_refused_on_every_lane(own_redis: RedisProcess, lane: Lane) -> None:
    bounded: Config = unhurried(own_redis.url, queue_commands=5)
    async with open_registry(bounded, name="test") as registry:
        outcomes: list[str] = []

        async def ask(question: Callable[[], Awaitable[object]]) -> None:
            try:
                await question()
            except StoreUnavailable as error:
                outcomes.append(error.code)
            else:
                outcomes.append("answered")

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask, partial(registry.link.ask, "PING", lane=lane))
        assert sorted(outcomes) == ["answered"] * 5 + ["overloaded"] * 15
