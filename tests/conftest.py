"""Fixtures every test may use: a real Redis for the session, and a configuration with a prefix of its own per test."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio.testing
from hypothesis import HealthCheck, settings

from pushctl.config.model import Config, Redis
from pushctl.ids import new_id
from tests.redises.cluster import RedisCluster, redis_cluster
from tests.redises.process import RedisProcess, redis_binary
from tests.redises.replication import Replicas, replicas
from tests.redises.sentinels import SentinelSet, sentinel_set
from tests.redises.tls import TlsRedis, redis_with_tls

__all__ = ["RedisProcess", "redis_binary"]

# How fast this machine draws examples is no property of the code; how long a test may take is bounded elsewhere.
# Some every day, others each time; `make test-long` draws many.
settings.register_profile("everywhere", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=30)
settings.register_profile(
    "long",
    settings.get_profile("everywhere"),
    max_examples=1000,
    stateful_step_count=60,
    print_blob=True,
    database=None,
)
settings.load_profile("everywhere")


@pytest.fixture(scope="session")
def redis_process() -> Iterator[RedisProcess]:
    with tempfile.TemporaryDirectory(prefix="pushctl-") as folder:
        process = RedisProcess(Path(folder))
        yield process
        process.kill()


@pytest.fixture(scope="session")
def cluster() -> Iterator[RedisCluster]:
    """Three masters that nobody may harm: no replicas, and patient with a busy machine."""
    with (
        tempfile.TemporaryDirectory(prefix="pushctl-") as folder,
        redis_cluster(Path(folder), node_timeout_ms=15_000) as three_masters,
    ):
        yield three_masters


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name: a Unix socket's path has room for a hundred bytes."""
    with tempfile.TemporaryDirectory(prefix="pushctl-") as folder:
        yield Path(folder)


@pytest.fixture
def own_redis(folder: Path) -> Iterator[RedisProcess]:
    """A Redis for one test alone, which may freeze or kill it."""
    process = RedisProcess(folder)
    yield process
    process.kill()


@pytest.fixture
def own_replicas(folder: Path) -> Iterator[Replicas]:
    """A master with one replica in sync, for one test alone."""
    with replicas(folder) as running:
        yield running


@pytest.fixture
def own_cluster(folder: Path) -> Iterator[RedisCluster]:
    """Three masters for one test alone."""
    with redis_cluster(folder) as running:
        yield running


@pytest.fixture
def own_cluster_with_replicas(folder: Path) -> Iterator[RedisCluster]:
    """Three masters with one replica each, which fail over after a second of silence, for one test alone."""
    with redis_cluster(folder, with_replicas=True, node_timeout_ms=2000) as running:
        yield running


@pytest.fixture
def own_sentinels(folder: Path) -> Iterator[SentinelSet]:
    """Three Sentinels, a master and a replica, for one test alone."""
    with sentinel_set(folder) as running:
        yield running


@pytest.fixture
def tls_redis(folder: Path) -> Iterator[TlsRedis]:
    """Debian's Redis with TLS and one named user, for one test alone."""
    with redis_with_tls(folder) as running:
        yield running


@pytest.fixture
def config(request: pytest.FixtureRequest) -> Config:
    """Defaults, under a prefix that no other test has: on the session's Redis, or on what `ON_BOTH` says."""
    fixture = "cluster" if getattr(request, "param", "redis") == "cluster" else "redis_process"
    url = request.getfixturevalue(fixture).url
    return replace(Config(), redis=Redis(url=url, prefix=f"t-{new_id()}", connect_seconds=5, timeout_seconds=10))


@pytest.fixture
def socket_clock() -> trio.testing.MockClock:
    """It jumps to the next deadline as `autojump_clock` does, but not while something is on its way between sockets of
    this process: only when nobody has had anything to do for a hundredth of a second."""
    return trio.testing.MockClock(autojump_threshold=0.01)


ON_BOTH = pytest.mark.parametrize("config", ["redis", pytest.param("cluster", marks=pytest.mark.slow)], indirect=True)
"""For scenarios of a whole service, on one Redis and (in the long run) on a Cluster."""
