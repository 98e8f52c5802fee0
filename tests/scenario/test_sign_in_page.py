"""The script of the development sign-in page, run by node's WebCrypto against a real service."""

import json
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.scenario.people import Town

pytestmark = [pytest.mark.slow, pytest.mark.debian]

SCRIPT = Path(__file__).parents[1] / "interop" / "browserid" / "sign_in.mjs"


async def sign_in(office: Town, *arguments: str) -> Any:
    with trio.fail_after(60):
        done = await trio.run_process(
            ["node", str(SCRIPT), office.service.api, *arguments], capture_stdout=True, stderr=subprocess.STDOUT
        )
    return json.loads(done.stdout)


async def test_it_makes_a_key_has_it_certified_and_logs_in(office: Town) -> None:
    session = (await sign_in(office, "ada"))["session"]

    assert session.keys() == {"token", "user", "device", "expires_at"}
    assert session["device"]["name"] == "browser"
    ask = partial(office.http.get, headers={"Authorization": f"Bearer {session['token']}"})
    assert (await ask(f"{office.service.api}/v1/messages")).json()["messages"] == []
    assert session["user"] == (await office.login("ada")).user


async def test_it_says_what_went_wrong(office: Town) -> None:
    assert (await sign_in(office, "no one"))["code"] == "body_invalid"
    refused = await sign_in(office, "ada", "https://evil.example")
    assert (refused["status"], refused["code"]) == (401, "audience_mismatch")
