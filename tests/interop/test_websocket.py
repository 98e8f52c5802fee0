"""The npm package ws on our socket server. What it shares with browsers it is told as they are (test_inbox.py,
test_inbox_firefox.py)."""

import json
from dataclasses import replace

import httpx
import pytest
import trio

from pushctl.config.model import Config
from pushctl.testing.service import running
from tests.interop.npm import installed
from tests.interop.websocket.told import HERE, check
from tests.scenario.people import Town

PATIENCE_SECONDS = 30

pytestmark = pytest.mark.debian


async def test_ws_of_npm_is_told_what_browsers_are_and_sends_fragments_and_pings(config: Config) -> None:
    often = replace(config, socket=replace(config.socket, ping_seconds=0.2))
    async with running(often, sockets=1, without=("router", "gc")) as service, httpx.AsyncClient() as http:
        person = await Town(service, http).login("ada")
        command = ["node", str(installed(HERE) / "tell.mjs"), service.sockets["s1"], person.token]
        with trio.fail_after(PATIENCE_SECONDS):
            told = json.loads((await trio.run_process(command, capture_stdout=True)).stdout)
    check(told)
    frames = told["frames"]
    assert frames.pop("heard")[:2] == ["welcome", "sync"]
    assert frames == {"echoes": [0, 125], "code": 1001, "extensions": ""}
