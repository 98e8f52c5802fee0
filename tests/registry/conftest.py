"""A registry under a prefix of its own, with a clock that tests can move: on one Redis and on a Cluster, each test on
both. `ON_CLUSTER` of a module: the marks of its tests there."""

from collections.abc import AsyncIterator

import pytest

from pushctl.config.model import Config
from pushctl.registry import Registry, open_registry


class Shift:
    """Added to Redis TIME in every script."""

    ms = 0


@pytest.fixture
def shift() -> Shift:
    return Shift()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "config" in metafunc.fixturenames:
        on_cluster = pytest.param("cluster", marks=getattr(metafunc.module, "ON_CLUSTER", ()))
        metafunc.parametrize("config", ["redis", on_cluster], indirect=True)


@pytest.fixture
async def registry(config: Config, shift: Shift) -> AsyncIterator[Registry]:
    async with open_registry(config, name="test", shift_ms=lambda: shift.ms) as registry:
        yield registry
