"""A device that is not connected, and its time."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pushctl.client.phone import Phone
from tests.unit.cli.screens import open_offline_phone
from tests.unit.client.builders import NOW_MS, SetClock


@pytest.fixture
def clock() -> SetClock:
    return SetClock(NOW_MS + 12_000)


@pytest.fixture
async def phone(tmp_path: Path, clock: SetClock) -> AsyncIterator[Phone]:
    async with open_offline_phone(tmp_path, clock) as opened:
        yield opened
