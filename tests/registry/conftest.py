"""A registry under a prefix of its own, with a clock that tests can move: on one Redis and on a Cluster, each test on
both."""

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
        metafunc.parametrize("config", ["redis", "cluster"], indirect=True)


@pytest.fixture
async def registry(config: Config, shift: Shift) -> AsyncIterator[Registry]:
    async with open_registry(config, name="test", shift_ms=lambda: shift.ms) as registry:
        yield registry
