"""The link to Redis when Redis is slow, frozen, killed, forgetful."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import trio
from redis.connection import parse_url

from pushctl.config.model import Config, Redis
from pushctl.errors import ConfigError, Overloaded, StoreUnavailable, Unreachable
from pushctl.ids import PushUrlId, SessionHash, UserId, new_id
from pushctl.reasons import Code
from pushctl.registry import Registry, open_registry
from pushctl.registry.connection import _options
from pushctl.registry.messages import NewMessage
from tests.conftest import RedisProcess

ADA = UserId("ada")


def quick(redis: RedisProcess, **changes: object) -> Config:
    settings = Redis(url=redis.url, connect_seconds=10, timeout_seconds=5)
    return replace(Config(), redis=replace(settings, **changes))  # type: ignore[arg-type]  # the fields' own types


async def prepare(registry: Registry) -> NewMessage:
    await registry.users.register(ADA, device=None, name="laptop", session=SessionHash("s"), identity="i")
    _, record, _ = await registry.push_urls.allow(
        ADA, new_id=PushUrlId(new_id()), site="https://a.example", vapid_key=None, icon=None, key_id="k"
    )
    return NewMessage(record.id, record.number, 60_000, 2, None, "k", b"hi", None, b"hi")


async def test_what_waits_together_travels_together(config: Config) -> None:
    async with open_registry(config, name="test") as registry:
        async with trio.open_nursery() as nursery:
            for n in range(200):
                nursery.start_soon(registry.link.ask, "SET", f"{config.redis.prefix}:{n}", n)
        assert await registry.link.ask("GET", f"{config.redis.prefix}:199") == b"199"
        assert registry.link.tally.commands >= 200
        assert registry.link.tally.batches < 20


async def test_an_append_is_never_stored_twice_because_redis_was_slow(own_redis: RedisProcess) -> None:
    async with (
        open_registry(quick(own_redis), name="patient") as patient,
        open_registry(quick(own_redis, timeout_seconds=0.3), name="test") as registry,
    ):
        message = await prepare(patient)
        refused = 0

        async def append() -> None:
            nonlocal refused
            try:
                await registry.messages.append(ADA, message)
            except StoreUnavailable:
                refused += 1

        async with trio.open_nursery() as nursery:
            os.kill(own_redis.pid, signal.SIGSTOP)
            for _ in range(20):
                nursery.start_soon(append)
        assert refused == 20
        assert registry.link.tally.failures["timeout"] == 20
        with trio.fail_after(10):
            while registry.connected:  # noqa: ASYNC110 - until the link has given the connection up
                await trio.sleep(0.01)
        os.kill(own_redis.pid, signal.SIGCONT)
        with trio.fail_after(10):
            await registry.link.wait_connected()
        await patient.messages.append(ADA, message)
        unread = await patient.messages.unread(ADA, 0, 500)
        assert 1 <= len(unread) <= 21
        assert len({record.ref.tag for record in unread}) == len(unread)


async def test_without_redis_callers_fail_at_once_and_it_recovers_by_itself(own_redis: RedisProcess) -> None:
    async with open_registry(quick(own_redis, timeout_seconds=5), name="test") as registry:
        own_redis.kill()
        with trio.fail_after(5):
            while registry.connected:  # noqa: ASYNC110 - the kernel tells the link, the link tells nobody
                await trio.sleep(0.01)
        started = trio.current_time()
        with pytest.raises(StoreUnavailable):
            await registry.link.ask("PING")
        assert trio.current_time() - started < 1
        assert {reason.code for reason in await registry.check()} == {Code.REDIS_AWAY}
        own_redis.start()
        with trio.fail_after(10):
            await registry.link.wait_connected()
        assert await registry.check() == []


async def test_a_caller_that_gave_up_before_it_was_sent_is_not_sent(own_redis: RedisProcess) -> None:
    async with open_registry(quick(own_redis), name="test") as registry:
        with trio.move_on_after(0):
            await registry.link.ask("SET", "abandoned", "1")
        assert await registry.link.ask("EXISTS", "abandoned") == 0


async def test_the_queue_is_bounded(own_redis: RedisProcess) -> None:
    bounded = quick(own_redis, queue_commands=10, queue_bytes=2048)
    async with open_registry(bounded, name="test") as registry:
        with pytest.raises(Overloaded):
            await registry.link.ask("SET", "large", b"x" * 4096)
        outcomes: list[type[Exception]] = []

        async def ask() -> None:
            try:
                await registry.link.ask("PING")
            except (Overloaded, StoreUnavailable) as error:
                outcomes.append(type(error))

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(ask)
        assert outcomes == [Overloaded] * 40


async def test_a_redis_that_forgot_its_scripts_is_told_again(own_redis: RedisProcess) -> None:
    async with open_registry(quick(own_redis), name="test") as registry:
        message = await prepare(registry)
        await registry.link.ask("SCRIPT", "FLUSH")
        await registry.messages.append(ADA, message)
        assert len(await registry.messages.unread(ADA, 0, 10)) == 1


async def test_no_redis_at_start_is_one_clear_line() -> None:
    nowhere = replace(Config(), redis=Redis(url="unix:///nonexistent/redis.sock", connect_seconds=0.2))
    with pytest.raises(BaseExceptionGroup) as caught:
        async with open_registry(nowhere, name="test"):
            pass
    assert caught.group_contains(Unreachable, match="used: no such file or directory. Start it, or set .redis. url")


async def test_a_url_that_is_none_is_a_mistake_in_the_configuration() -> None:
    with pytest.raises(ConfigError):
        async with open_registry(replace(Config(), redis=Redis(url="http://x")), name="test"):
            pass


def test_a_url_is_read_as_redis_py_reads_it() -> None:
    for url in (
        *("redis://", "redis://h", "redis://H:1/", "redis://h:1/3", "redis://h/%33", "redis://h/x", "redis://h:0/-1"),
        *("redis://u:p%20w@h:2/0", "redis://:a b@h", "redis://u@[::1]:7", "redis://:@h:/", "rediss://a:b@h:2/1"),
        *("redis://h:x", "redis://h:99999", "unix:///r/s%20x.sock", "unix://u:p@/r", "unix://:p@/a;b", "unix://"),
        *("redis://h/1?db=2", "unix:///r?db=x", "unix:///r?password=p", "REDIS://h", "http://h", "h", ""),
    ):
        assert read(_options, url) == read(parse_url, url), url


def read(reader: Callable[[str], dict[str, Any]], url: str) -> dict[str, Any] | str:
    try:
        options = dict(reader(url))
    except ValueError as error:
        return str(error)
    options.pop("connection_class", None)
    return options


async def test_a_redis_that_evicts_makes_the_registry_unusable(own_redis: RedisProcess) -> None:
    async with open_registry(quick(own_redis), name="test") as registry:
        assert await registry.check() == []
        await registry.link.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        (reason,) = await registry.check()
        assert reason.code is Code.REDIS_EVICTS
        assert "noeviction" in reason.detail
