"""A real store on a real file, a clock that a test moves, and a phone with a service at the edge of the world."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from pushctl.client.phone import Phone, open_phone
from pushctl.client.store import Store
from tests.fake_service import FakeService, open_fake_service
from tests.unit.client.builders import SetClock, session


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def store(tmp_path: Path, clock: SetClock) -> Iterator[Store]:
    with Store(tmp_path / "laptop.sqlite3", clock) as opened:
        yield opened


@pytest.fixture
async def service() -> AsyncIterator[FakeService]:
    async with open_fake_service() as running:
        yield running


@pytest.fixture
async def phone(store: Store, service: FakeService) -> AsyncIterator[Phone]:
    """Logged in, and never patient: its jitter is nothing."""
    store.begin_session(session())
    async with open_phone(store, api_url=service.api_url, boxoffice_url=service.api_url, random=lambda: 0.0) as opened:
        yield opened
