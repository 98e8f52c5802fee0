"""A registry on the session's Redis and again on its Cluster, with a prefix of its own and a clock that tests move."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from pushctl.config.model import Config, Redis
from pushctl.ids import new_id
from pushctl.registry import Registry, open_registry
from tests.redises.cluster import RedisCluster
from tests.redises.process import RedisProcess


class Shift:
    """Added to Redis TIME in every script."""

    ms = 0


@pytest.fixture
def shift() -> Shift:
    return Shift()


@pytest.fixture(params=["redis", "cluster"])
def config(request: pytest.FixtureRequest) -> Config:
    """As everywhere, on one Redis and on a Cluster of three masters: what a registry promises, it promises on both."""
    fixture = {"redis": "redis_process", "cluster": "cluster"}[request.param]
    installation: RedisProcess | RedisCluster = request.getfixturevalue(fixture)
    return replace(Config(), redis=Redis(url=installation.url, prefix=f"t-{new_id()}", connect_seconds=5))


@pytest.fixture
async def registry(config: Config, shift: Shift) -> AsyncIterator[Registry]:
    async with open_registry(config, name="test", shift_ms=lambda: shift.ms) as registry:
        yield registry
