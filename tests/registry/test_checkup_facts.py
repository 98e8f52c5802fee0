"""What `pushctl doctor` makes of facts that no test can bring about: a real master that says some things otherwise."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from pushctl.checkup import examine_redis
from pushctl.checkup.copies import check_replicas
from pushctl.checkup.masters import Master, RoundTrip, meet_masters
from pushctl.checkup.memory import check_clients, check_eviction
from pushctl.checkup.storage import check_disk, check_fork, check_version
from pushctl.checkup.times import check_clocks, check_latency
from pushctl.clock import system_clock
from pushctl.config.model import Config
from pushctl.registry import Registry


async def master_of(registry: Registry, config: Config, info: Mapping[str, str]) -> Master:
    """A real master, that says some things of itself otherwise."""
    master, *_ = await meet_masters(registry, config, system_clock)
    return replace(master, info={**master.info, **info})


@pytest.mark.parametrize(
    ("info", "verdict", "says"),
    [
        ({"redis_version": "6.0.16"}, "bad", "Redis 6.0.16"),
        ({"redis_version": "6.2.0"}, "ok", "Redis 6.2.0"),
        ({"redis_version": "10.0.1"}, "ok", "Redis 10.0.1"),
        ({"redis_version": "7.2.4", "valkey_version": "8.1.0"}, "ok", "Valkey 8.1.0"),
    ],
)
async def test_versions(registry: Registry, config: Config, info: dict[str, str], verdict: str, says: str) -> None:
    (finding,) = await check_version(await master_of(registry, config, info))
    assert (finding.verdict, finding.found) == (verdict, says)


@pytest.mark.parametrize(
    ("info", "verdict"),
    [
        ({"aof_last_write_status": "err"}, "bad"),
        ({"aof_last_bgrewrite_status": "err"}, "bad"),
        ({"aof_delayed_fsync": "3"}, "warn"),
        ({}, "ok"),
    ],
)
async def test_troubles_of_the_disk(registry: Registry, config: Config, info: dict[str, str], verdict: str) -> None:
    (finding,) = await check_disk(await master_of(registry, config, info))
    assert finding.verdict == verdict


async def test_keys_that_were_thrown_away_are_not_forgotten(registry: Registry, config: Config) -> None:
    (finding,) = await check_eviction(await master_of(registry, config, {"evicted_keys": "12"}))
    assert finding.verdict == "warn"


async def test_long_forks_and_full_doors(registry: Registry, config: Config) -> None:
    for microseconds, verdict in (("250000", "ok"), ("251000", "warn")):
        (fork,) = await check_fork(await master_of(registry, config, {"latest_fork_usec": microseconds}))
        assert fork.verdict == verdict
    for connected, verdict in (("80", "ok"), ("81", "warn")):
        info = {"connected_clients": connected, "maxclients": "100"}
        (clients,) = await check_clients(await master_of(registry, config, info))
        assert clients.verdict == verdict


async def test_a_replica_that_is_online_and_silent_confirms_nothing(registry: Registry, config: Config) -> None:
    config = replace(config, redis=replace(config.redis, wait_replicas=1))
    for row, verdict in (
        ("ip=10.0.0.2,port=6379,state=online,offset=12,lag=1", "ok"),
        ("ip=10.0.0.2,port=6379,state=online,offset=12,lag=9", "bad"),
        ("ip=10.0.0.2,port=6379,state=wait_bgsave,offset=0,lag=0", "bad"),
    ):
        (finding,) = await check_replicas(await master_of(registry, config, {"slave0": row}))
        assert finding.verdict == verdict, row


@pytest.mark.parametrize(
    ("ahead_ms", "verdict", "says"),
    [
        (0, "ok", "this host"),
        (400, "ok", "behind"),
        (700, "warn", "behind"),
        (-700, "warn", "ahead of"),
        (31_000, "bad", "behind"),
    ],
)
async def test_clocks_that_differ(registry: Registry, config: Config, ahead_ms: int, verdict: str, says: str) -> None:
    """`ahead_ms`: this host's clock, of the true one that Redis here has."""
    findings = await examine_redis(registry, config, lambda: system_clock() + ahead_ms)
    finding = next(finding for finding in findings if finding.check == "clock")
    assert (finding.verdict, says in finding.found) == (verdict, True)


@pytest.mark.parametrize(("apart_ms", "verdict"), [(200, "ok"), (300, "warn"), (1100, "bad")])
async def test_masters_whose_clocks_differ(registry: Registry, config: Config, apart_ms: float, verdict: str) -> None:
    master = await master_of(registry, config, {})
    # Of each, only the quicker round trip counts: what the slower says may be off by half of what it took.
    masters = [
        replace(master, round_trips=[RoundTrip(ms=1, ahead_ms=ahead), RoundTrip(ms=40, ahead_ms=slow)])
        for ahead, slow in ((10, 30), (10 + apart_ms, 10))
    ]
    (finding,) = await check_clocks(masters)
    assert finding.verdict == verdict


@pytest.mark.parametrize(("longest_ms", "verdict"), [(90, "ok"), (110, "warn")])
async def test_a_pause_now_and_then_is_worth_a_word(
    registry: Registry, config: Config, longest_ms: float, verdict: str
) -> None:
    trips = [RoundTrip(ms, 0) for ms in (1, 1, longest_ms)]
    (finding,) = await check_latency(replace(await master_of(registry, config, {}), round_trips=trips))
    assert finding.verdict == verdict
