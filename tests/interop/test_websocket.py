"""Other people's WebSocket clients on our socket server: the npm package ws, Chromium, Firefox. Each plays the same
story (websocket/story.js) and is told the same."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from pushctl.config.model import Config
from pushctl.testing.service import running
from tests.interop.chromium import Chromium, Tab
from tests.interop.firefox import Firefox
from tests.interop.npm import installed
from tests.scenario.people import Person, Town

HERE = Path(__file__).with_name("websocket")
STORY = (HERE / "story.js").read_text()
PATIENCE_SECONDS = 30

pytestmark = pytest.mark.debian


@pytest.fixture
async def ada(config: Config) -> AsyncIterator[tuple[str, Person]]:
    """The URL of a socket server that pings often, and who is logged in."""
    often = replace(config, socket=replace(config.socket, ping_seconds=0.2))
    async with running(often, sockets=1, without=("router", "gc")) as service, httpx.AsyncClient() as http:
        yield service.sockets["s1"], await Town(service, http).login("ada")


def check(told: Mapping[str, Any]) -> None:
    assert told["protocol"] == "pushctl.v1"
    assert told["extensions"] == ""
    assert told["answered"] == [25, 125, 126, 127, 65_535, 65_536]
    assert all(how["wasClean"] for how in (*told["closed"].values(), *told["refused"].values()))
    codes = {what: how["code"] for what, how in told["closed"].items()}
    assert codes.pop("none") in (1000, 1005)
    assert codes == {"1000": 1000, "3000": 3000, "4999": 4999}
    assert {what: how["code"] for what, how in told["refused"].items()} == {
        "nothing": 4502,
        "bytes": 4502,
        "much": 1009,
    }
    assert told["refused"]["bytes"]["reason"] == "binary frames mean nothing here; send JSON as text"


async def test_ws_of_npm(ada: tuple[str, Person]) -> None:
    url, person = ada
    command = ["node", str(installed(HERE) / "tell.mjs"), url, person.token]
    with trio.fail_after(PATIENCE_SECONDS):
        done = await trio.run_process(command, capture_stdout=True)
    told = json.loads(done.stdout)
    check(told)
    frames = told["frames"]
    assert frames.pop("heard")[:2] == ["welcome", "sync"]
    assert frames == {"echoes": [0, 125], "code": 1001, "extensions": ""}


async def test_chromium(ada: tuple[str, Person]) -> None:
    url, person = ada
    chromium = Chromium()
    try:
        told = await Tab(chromium, "ada").do(
            "return page.evaluate(([story, ...given]) => new Function(`${story}; return story`)()(WebSocket, ...given),"
            " values.given)",
            given=[STORY, url, person.token],
        )
    finally:
        chromium.close()
    check(told)


async def test_firefox(ada: tuple[str, Person], folder: Path) -> None:
    url, person = ada
    async with Firefox(folder, "ws://127.0.0.1:9/").running() as browser:
        check(await browser.evaluate(f"(() => {{ {STORY}; return story(WebSocket, '{url}', '{person.token}'); }})()"))
