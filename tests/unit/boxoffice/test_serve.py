"""The Box Office as a daemon: what it says of itself while it starts."""

from typing import Any

from pushctl.config.model import Config
from pushctl.reasons import STARTING
from roles.boxoffice import build


class GoodRegistry:
    async def check(self) -> list[Any]:
        return []


async def test_before_its_first_picture_it_is_starting_and_has_no_old_one() -> None:
    office: Any = build(Config())
    office._registry = GoodRegistry()
    assert await office.not_ready() == [STARTING]
