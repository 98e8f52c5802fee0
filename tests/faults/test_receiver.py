"""A socket server notices that it no longer hears, however quietly that came about."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio

from pushctl.config.model import Config
from pushctl.ids import ServerId
from pushctl.protocol.jobs import Batch, Ephemeral, encode
from pushctl.registry import Registry, open_registry
from pushctl.routing.receive import Receiver
from tests.conftest import RedisProcess
from tests.faults.proxy import Proxy, proxy

S1 = ServerId("s1")
JOB = Ephemeral("ada", 0, 2, b"frame")


class Heard:
    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.losses = 0
        self.something = trio.Event()

    def batch(self, batch: Batch) -> None:
        self.batches.append(batch)
        self._tell()

    def loss(self) -> None:
        self.losses += 1
        self._tell()

    async def until(self, truth: Callable[[], object]) -> None:
        with trio.fail_after(5):
            while not truth():
                await self.something.wait()

    def _tell(self) -> None:
        self.something.set()
        self.something = trio.Event()


@asynccontextmanager
async def receiver(config: Config, between: Proxy, heard: Heard) -> AsyncIterator[tuple[Registry, Receiver]]:
    config = replace(config, redis=replace(config.redis, url=between.url))
    async with open_registry(config, name="test") as registry, trio.open_nursery() as nursery:
        receiving = Receiver(
            registry,
            S1,
            on_batch=heard.batch,
            on_news=lambda: None,
            on_loss=heard.loss,
            probe_seconds=0.2,
            answer_seconds=0.3,
        )
        await nursery.start(receiving.run)
        yield registry, receiving
        nursery.cancel_scope.cancel()


async def problem_of(receiving: Receiver) -> str:
    """What /readyz would say, once it says something."""
    with trio.fail_after(5):
        while (problem := receiving.problem) is None:  # noqa: ASYNC110 - /readyz looks at it the same way
            await trio.sleep(0.01)
    return problem


async def publish(registry: Registry) -> None:
    await registry.channels.publish(0, [(S1, encode(Batch([JOB])))])


async def test_a_silent_channel_that_still_works_is_left_alone(config: Config, redis_process: RedisProcess) -> None:
    heard = Heard()
    async with proxy(str(redis_process.path)) as between, receiver(config, between, heard) as (registry, receiving):
        await trio.sleep(1)  # several probes' worth of silence
        assert (receiving.problem, heard.losses, between.connections) == (None, 0, 1)
        await publish(registry)
        await heard.until(lambda: heard.batches)
        assert heard.batches == [Batch([JOB])]


async def test_a_channel_gone_deaf_without_a_word_is_noticed_and_rebuilt(
    config: Config, redis_process: RedisProcess
) -> None:
    heard = Heard()
    async with proxy(str(redis_process.path)) as between, receiver(config, between, heard) as (registry, receiving):
        between.deaf = True
        await publish(registry)  # lost, as hints may be
        assert "silent" in await problem_of(receiving)
        between.deaf = False
        await heard.until(lambda: heard.losses)
        assert receiving.problem is None
        await publish(registry)
        await heard.until(lambda: heard.batches)


@pytest.mark.parametrize("garbage", [b"", b"\xff", b"not msgpack at all", encode(JOB)])
async def test_what_is_no_hint_is_passed_over(config: Config, redis_process: RedisProcess, garbage: bytes) -> None:
    heard = Heard()
    async with proxy(str(redis_process.path)) as between, receiver(config, between, heard) as (registry, _):
        await registry.channels.publish(0, [(S1, garbage)])
        await publish(registry)
        await heard.until(lambda: heard.batches)
        assert heard.batches == [Batch([JOB])]
