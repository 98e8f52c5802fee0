"""A limit that api processes keep together, on a real Redis: what a process remembers, and what it does without."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import trio

from pushctl.config.model import Config, Redis
from pushctl.errors import RateLimited
from pushctl.http.addresses import Networks
from pushctl.ids import UserId, new_id
from pushctl.rates import Rate
from pushctl.registry import Registry, open_registry
from pushctl.registry import rates as rates_module
from roles.api.limits import Limits
from roles.api.quota import Quota
from roles.api.share import slack_of
from tests.conftest import RedisProcess

NOBODY_WAITS = Rate(0.01, 10)
"""What it earns while a test runs does not count."""


@pytest.fixture
async def registry(config: Config) -> AsyncIterator[Registry]:
    async with open_registry(config, name="test") as registry:
        yield registry


async def passing(quota: Quota, key: str, times: int) -> int:
    return sum([not await quota.take(key) for _ in range(times)])


async def stored(registry: Registry, kind: str) -> int:
    keys = registry.rates._store.keys
    return sum([await registry.link.ask("ZCARD", keys.rates(shard, kind)) for shard in range(16)])


async def test_processes_share_what_one_alone_would_have(registry: Registry) -> None:
    count = 4
    quotas = [Quota(registry.rates, "kind", Rate(0.01, 300)) for _ in range(count)]
    async with trio.open_nursery() as nursery:
        for quota in quotas:
            nursery.start_soon(quota.run)
        passed = 0
        for _ in range(100):
            passed += sum([await passing(quota, "k", 1) for quota in quotas])
        for quota in quotas * 2:
            await quota.charge_all()
        assert 300 <= passed <= 300 + (count - 1) * slack_of(quotas[0].rate)
        assert sum([await passing(quota, "k", 5) for quota in quotas]) == 0, "what was too much is paid back first"
        nursery.cancel_scope.cancel()


async def test_a_process_that_starts_anew_has_nothing_anew(registry: Registry) -> None:
    async with trio.open_nursery() as nursery:
        for expected in (10, 1, 1):
            quota = Quota(registry.rates, "kind", NOBODY_WAITS)
            nursery.start_soon(quota.run)
            assert await passing(quota, "k", 20) == expected, "at most what may be taken uncharged"
            await quota.charge_all()
        nursery.cancel_scope.cancel()


async def test_what_is_given_back_is_there_again(registry: Registry) -> None:
    quota = Quota(registry.rates, "kind", NOBODY_WAITS)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(quota.run)
        assert await passing(quota, "k", 20) == 10
        for _ in range(3):
            quota.give_back("k")
        assert await passing(quota, "k", 20) == 3
        await quota.charge_all()
        (behind_us,) = await registry.rates.charge("kind", rates_module.shard_of_bucket("k"), NOBODY_WAITS, [("k", 0)])
        assert round(behind_us / 100_000_000) == 10
        nursery.cancel_scope.cancel()


async def test_a_request_within_its_rate_waits_for_nothing(own_redis: RedisProcess, config: Config) -> None:
    settings = Redis(url=own_redis.url, timeout_seconds=30)
    async with open_registry(replace(config, redis=settings), name="test") as registry:
        quota = Quota(registry.rates, "kind", Rate(1, 1000))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(quota.run)
            with own_redis.frozen():
                for key in ("a", "b", "c"):
                    assert await passing(quota, key, 10) == 10
            nursery.cancel_scope.cancel()


async def test_made_up_keys_by_the_ten_thousand_take_a_bounded_place(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates_module, "MAX_BUCKETS", 20)
    quota = Quota(registry.rates, "kind", NOBODY_WAITS, most=500)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(quota.run)
        for n in range(10_000):
            assert await quota.take(f"made-up-{n}") == 0, "nobody is refused for what others do"
            assert len(quota) <= 500
        await quota.charge_all()
        assert len(quota._owing) == 0
        assert await stored(registry, "kind") <= 16 * 20
        nursery.cancel_scope.cancel()


async def test_keys_that_are_full_again_are_forgotten_without_anybody_tidying_up(registry: Registry) -> None:
    quota = Quota(registry.rates, "kind", Rate(1000, 1000))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(quota.run)
        for n in range(2000):
            await quota.take(f"k{n}")
        await quota.charge_all()
        for _ in range(1100):
            await quota.take("one")
        assert len(quota) < 10
        nursery.cancel_scope.cancel()


async def test_without_redis_each_process_keeps_to_the_rate_by_itself(own_redis: RedisProcess, config: Config) -> None:
    settings = Redis(url=own_redis.url, timeout_seconds=0.2)
    async with open_registry(replace(config, redis=settings), name="test") as registry:
        quota = Quota(registry.rates, "kind", NOBODY_WAITS)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(quota.run)
            assert await passing(quota, "k", 4) == 4
            await quota.charge_all()
            own_redis.kill()
            assert await passing(quota, "k", 20) == 6
            own_redis.start()
            await registry.link.wait_connected()
            assert await passing(quota, "k", 20) == 0
            nursery.cancel_scope.cancel()


# --- the limits of the api -------------------------------------------------------------------------------------------


async def test_addresses_of_one_64_are_one_and_exempt_ones_none(registry: Registry, config: Config) -> None:
    rates = replace(config.limits, login_per_second_per_address=0.01, login_burst_per_address=5)
    limits = Limits(registry.rates, rates, Networks(["127.0.0.0/8"], "limits.exempt_networks"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(limits.run)
        for _ in range(20):
            await limits.login("127.0.0.1")
        refused = []
        for n in range(10):
            try:
                await limits.login(f"2001:db8:0:1::{n:x}")
            except RateLimited as refusal:
                refused.append(refusal)
        assert len(refused) == 5
        assert refused[0].detail.startswith("from one address 0.01 a second, 5 at once may log in")
        await limits.login("2001:db8:0:2::1")
        nursery.cancel_scope.cancel()


async def test_what_one_limit_refuses_costs_nothing_in_the_others(registry: Registry, config: Config) -> None:
    rates = replace(
        config.limits,
        total_per_second=0.01,
        total_burst=10,
        vapid_key_per_second=0.01,
        vapid_key_burst=2,
        push_per_second_per_address=0.001,
        push_burst_per_address=4,
    )
    counted: list[str] = []
    limits = Limits(registry.rates, rates, Networks([], "limits.exempt_networks"), counted.append)

    async def send(key: str | None, host: str = "192.0.2.1") -> str:
        taken = await limits.message(host, key)
        return taken.refusal.limit if taken.refusal else "taken"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(limits.run)
        assert [await send("k1") for _ in range(5)] == ["taken"] * 2 + ["vapid_key"] * 3
        # The address lets nothing through for longest.
        assert [await send("k2") for _ in range(4)] == ["taken"] * 2 + ["address"] * 2
        assert [await send(None, "192.0.2.2") for _ in range(6)] == ["taken"] * 4 + ["address"] * 2
        assert [await send(None, "192.0.2.3") for _ in range(3)] == ["taken"] * 2 + ["total"]
        assert counted == [], "who asks for a message may find that it is a repeat"
        await limits.request(UserId(new_id()))
        nursery.cancel_scope.cancel()
