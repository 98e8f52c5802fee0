"""Fixtures every test may use: a real Redis for the session, and a configuration with a prefix of its own per test."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from pushctl.config.model import Config, Redis
from pushctl.ids import new_id

# How fast this machine draws examples is no property of the code; how long a test may take is bounded elsewhere.
settings.register_profile("everywhere", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "long",
    settings.get_profile("everywhere"),
    max_examples=1000,
    stateful_step_count=60,
    print_blob=True,
    database=None,
)
settings.load_profile("everywhere")


def redis_binary() -> str:
    """PUSHCTL_REDIS_SERVER, else the wheel's server beside this Python, else what is on PATH."""
    wheel = Path(sys.executable).parent / "redis-server"
    chosen = os.environ.get("PUSHCTL_REDIS_SERVER") or (str(wheel) if wheel.exists() else shutil.which("redis-server"))
    assert chosen, "no redis-server: run `make install`, or install redis-server"
    return chosen


class RedisProcess:
    """A Redis of the tests' own, on a Unix socket."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder / "redis.sock"
        self.url = f"unix://{self.path}"
        self.start()

    def start(self) -> None:
        """Start it (again). Everything it promised is on disk: `appendfsync always`."""
        self.path.unlink(missing_ok=True)
        persistence = ["--save", "", "--appendonly", "yes", "--appendfsync", "always", "--dir", str(self._folder)]
        self._process = subprocess.Popen(
            [redis_binary(), "--port", "0", "--unixsocket", str(self.path), *persistence], stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        while not self.path.exists():  # the only sign of life it gives before it listens
            assert time.monotonic() < deadline, "redis-server did not start"
            assert self._process.poll() is None, "redis-server ended at once"
            time.sleep(0.01)

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="session")
def redis_process() -> Iterator[RedisProcess]:
    with tempfile.TemporaryDirectory(prefix="pushctl-") as folder:
        process = RedisProcess(Path(folder))
        yield process
        process.stop()


@pytest.fixture(scope="session")
def redis_url(redis_process: RedisProcess) -> str:
    return redis_process.url


@pytest.fixture
def own_redis() -> Iterator[RedisProcess]:
    """A Redis for one test alone, which may freeze or kill it."""
    with tempfile.TemporaryDirectory(prefix="pushctl-") as folder:
        process = RedisProcess(Path(folder))
        yield process
        process.stop()


@pytest.fixture
def config(redis_url: str) -> Config:
    """Defaults, on the session's Redis, under a prefix that no other test has."""
    return replace(Config(), redis=Redis(url=redis_url, prefix=f"t-{new_id()}", connect_seconds=5))
