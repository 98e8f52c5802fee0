"""A registry under a prefix of its own, with a clock that tests can move: on one Redis and on a Cluster, each test on
both."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from pushctl.config.model import Config, Redis
from pushctl.ids import new_id
from pushctl.registry import Registry, open_registry


class Shift:
    """Added to Redis TIME in every script."""

    ms = 0


@pytest.fixture
def shift() -> Shift:
    return Shift()


@pytest.fixture(params=["redis", "cluster"])
def config(request: pytest.FixtureRequest) -> Config:
    """Defaults, on the session's Redis or Cluster, under a prefix that no other test has."""
    url = request.getfixturevalue("redis_url") if request.param == "redis" else request.getfixturevalue("cluster").url
    return replace(Config(), redis=Redis(url=url, prefix=f"t-{new_id()}", connect_seconds=5))


@pytest.fixture
async def registry(config: Config, shift: Shift) -> AsyncIterator[Registry]:
    async with open_registry(config, name="test", shift_ms=lambda: shift.ms) as registry:
        yield registry
