"""The development sign-in page against a real service: its script under node's WebCrypto, and the page in Firefox."""

import json
import subprocess
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.interop.firefox import Firefox
from tests.interop.site import Site, site
from tests.scenario.people import Town

pytestmark = pytest.mark.debian

SCRIPT = Path(__file__).parent / "browserid" / "sign_in.mjs"

SUBMIT = """
new Promise((resolve) => {
  const said = document.querySelector('output');
  new MutationObserver(() => said.textContent.endsWith('...') || resolve(said.textContent))
    .observe(said, { childList: true, characterData: true, subtree: true });
  document.querySelector('input[name=name]').value = 'ada';
  document.querySelector('button').click();
})
"""
MINT = """
fetch('API/dev/browserid/certificate', {
  method: 'POST', headers: { 'Content-Type': 'application/json', 'X-Pushctl-Dev': '1' }, body: '{}', mode: 'MODE'
}).then((answer) => answer.type + answer.status, (error) => error.name)
"""
IMPORT = "import('API/dev/browserid/browserid.mjs').then(() => 'loaded', (error) => error.name)"


@pytest.fixture
async def elsewhere() -> AsyncIterator[Site]:
    """A page of another origin on this machine."""
    async with site() as running:
        yield running


async def sign_in(office: Town, *arguments: str) -> Any:
    with trio.fail_after(60):
        done = await trio.run_process(
            ["node", str(SCRIPT), office.service.api, *arguments], capture_stdout=True, stderr=subprocess.STDOUT
        )
    return json.loads(done.stdout)


async def check(office: Town, session: Any) -> None:
    """It is one as any other."""
    assert session.keys() == {"token", "user", "device", "expires_at"}
    assert session["device"]["name"] == "browser"
    ask = partial(office.http.get, headers={"Authorization": f"Bearer {session['token']}"})
    assert (await ask(f"{office.service.api}/v1/messages")).json()["messages"] == []
    assert session["user"] == (await office.login("ada")).user


async def test_its_script_makes_a_key_has_it_certified_and_logs_in(office: Town) -> None:
    await check(office, (await sign_in(office, "ada"))["session"])


async def test_its_script_says_what_went_wrong(office: Town) -> None:
    assert (await sign_in(office, "no one"))["code"] == "body_invalid"
    refused = await sign_in(office, "ada", "https://evil.example")
    assert (refused["status"], refused["code"]) == (401, "audience_mismatch")


async def test_a_person_signs_in_with_firefox_and_no_page_of_another_origin_does(
    office: Town, folder: Path, elsewhere: Site
) -> None:
    api = office.service.api
    async with Firefox(folder, "ws://127.0.0.1:9/").running() as browser:
        await browser.open(f"{api}/dev/browserid/sign_in")
        await check(office, json.loads(await browser.evaluate(SUBMIT)))

        await browser.open(elsewhere.url)
        for mode in ("cors", "same-origin"):
            assert await browser.evaluate(MINT.replace("API", api).replace("MODE", mode)) == "TypeError"
        # Without a preflight the header that minting wants does not travel: 403, which the page cannot even read.
        assert await browser.evaluate(MINT.replace("API", api).replace("MODE", "no-cors")) == "opaque0"
        assert await browser.evaluate(IMPORT.replace("API", api)) == "TypeError"
