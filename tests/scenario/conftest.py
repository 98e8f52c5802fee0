"""A whole service for a test: five roles in one nursery, port 0, real Redis."""

from collections.abc import AsyncIterator

import httpx
import pytest

from pushctl.config.model import Config
from pushctl.routing import caller
from pushctl.testing.service import running
from tests.scenario.people import Town


@pytest.fixture
def slow_to_suspect(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests in which every server answers a router's call: this machine may stand still for a moment."""
    monkeypatch.setattr(caller, "ANSWER_SECONDS", 30.0)


@pytest.fixture
async def town(config: Config) -> AsyncIterator[Town]:
    async with running(config) as service, httpx.AsyncClient() as http:
        yield Town(service, http)


@pytest.fixture
async def office(config: Config) -> AsyncIterator[Town]:
    """Only the roles that clients and third parties ask over HTTP: nobody is connected here."""
    async with running(config, sockets=0, without=("router", "gc")) as service, httpx.AsyncClient() as http:
        yield Town(service, http)
