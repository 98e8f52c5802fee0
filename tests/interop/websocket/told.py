"""What a client with the browsers' WebSocket interface is told by our socket server, whoever made it (story.js).

Must not know: which client it is.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx

from pushctl.config.model import Config
from pushctl.testing.service import Running
from tests.interop.inbox.service import Service
from tests.scenario.people import Town

HERE: Final = Path(__file__).parent


async def story(service: Service) -> str:
    """An expression of JavaScript for a page: a new person of this service plays the story with its WebSocket."""
    async with httpx.AsyncClient(trust_env=False) as http:
        person = await Town(Running(Config(), service.api, "", service.url_of, {}, {}), http).login("websocket")
    play = f"{(HERE / 'story.js').read_text()}; return story(WebSocket, '{service.url_of['s1']}', '{person.token}');"
    return f"(() => {{ {play} }})()"


def check(told: Mapping[str, Any]) -> None:
    assert told["protocol"] == "pushctl.v1"
    assert told["extensions"] == ""
    assert told["answered"] == [25, 125, 126, 127, 65_535, 65_536]
    closed, refused = told["closed"], told["refused"]
    assert all(how["wasClean"] for how in (*closed.values(), *refused.values()))
    assert closed.pop("none")["code"] in (1000, 1005)
    assert {code: how["code"] for code, how in closed.items()} == {"1000": 1000, "3000": 3000, "4999": 4999}
    assert {what: how["code"] for what, how in refused.items()} == {"nothing": 4502, "bytes": 4502, "much": 1009}
    assert refused["bytes"]["reason"] == "binary frames mean nothing here; send JSON as text"
