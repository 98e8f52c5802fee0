"""The inbox in a browser, in a real Firefox: the same story as in Chromium (test_inbox.py), as short as it can be."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.interop.bidi import BiDi
from tests.interop.firefox import Firefox
from tests.interop.inbox.service import Service, post, served, status_of
from tests.interop.websocket import told

pytestmark = [pytest.mark.slow, pytest.mark.debian]

UNTIL = """new Promise((found, late) => {{
  const deadline = setTimeout(() => late(new Error(`never: {condition}; ${{document.body.innerText}}`)), 20000);
  const looking = setInterval(() => {{
    if (!({condition})) return;
    clearInterval(looking);
    clearTimeout(deadline);
    found(true);
  }}, 20);
}})"""
TITLES = "[...document.querySelectorAll('.message:not([inert]) h3')].map((each) => each.textContent)"
LOG_IN = """(() => {
  const form = document.querySelector('#signin-dev');
  form.elements.name.value = NAME;
  form.requestSubmit();
})()"""
ALLOW = """(() => {
  const form = document.querySelector('#allow');
  form.elements.site.value = SITE;
  form.requestSubmit();
})()"""


TOKEN = """import('/inbox/store.js').then(({ openStore }) => openStore('pushctl-inbox-1')).then(async (store) => {
  const { token } = await store.session();
  store.close();
  return token;
})"""


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with served() as running:
        yield running


class Window:
    """Two tabs of one Firefox, looked at one at a time."""

    def __init__(self, browser: BiDi) -> None:
        self._browser = browser

    async def open(self, url: str) -> str:
        """In a new tab; its handle."""
        self._browser.context = (await self._browser.ask("browsingContext.create", type="tab"))["context"]
        await self._browser.open(url)
        return self._browser.context

    async def look_at(self, tab: str) -> None:
        self._browser.context = tab
        await self._browser.ask("browsingContext.activate", context=tab)

    async def js(self, expression: str) -> Any:
        return await self._browser.evaluate(expression)

    async def until(self, condition: str) -> None:
        await self.js(UNTIL.format(condition=condition.replace("`", "\\`")))

    async def until_titles(self, *titles: str) -> None:
        await self.until(f"JSON.stringify({TITLES}) === {json.dumps(json.dumps(titles, separators=(',', ':')))}")

    async def log_in(self, name: str) -> None:
        await self.until("!document.querySelector('#signin').hidden")
        await self.js(LOG_IN.replace("NAME", json.dumps(name)))
        await self.until_connected()

    async def until_connected(self, to: str = "") -> None:
        await self.until(f"document.querySelector('#phase').textContent.startsWith('Connected · {to}')")

    async def place(self, service: Service, server: str) -> None:
        """As page.place does in Chromium."""
        while not await self.js(f"document.querySelector('#phase').textContent === 'Connected · {server}'"):
            await service.until_first(server, await self.js(TOKEN))
            await self.js("location.reload()")
            await self.until_connected()

    async def allow(self, site: str) -> str:
        await self.js(ALLOW.replace("SITE", json.dumps(site)))
        await self.until("document.querySelector('#ask').open")
        await self.js("document.querySelector('#ask [value=yes]').click()")
        await self.until("/push\\//.test(document.querySelector('#curl').textContent)")
        url: str = await self.js("document.querySelector('#curl').textContent.match(/http[^']*\\/push\\/[^']*/)[0]")
        return url


@asynccontextmanager
async def firefox(folder: Path) -> AsyncIterator[Window]:
    async with Firefox(folder, "ws://127.0.0.1:9/").running() as browser:
        yield Window(browser)


async def test_two_tabs_of_firefox_agree_and_a_killed_server_a_hostile_site_and_cleared_storage_do_no_harm(
    service: Service, folder: Path
) -> None:
    await service.s2.start()
    async with firefox(folder) as window:
        one = await window.open(service.inbox)
        await window.log_in("alice")
        url = await window.allow("news.example")
        await window.place(service, "s2")
        two = await window.open(service.inbox)
        await window.log_in("alice")
        await post(url, {"title": "Weather", "body": "Rain at noon"})
        await post(url, {"title": "<b>Sports</b>", "icon": "javascript:alert(1)", "url": "javascript:alert(2)"})
        await window.until_titles("<b>Sports</b>", "Weather")
        assert await window.js("document.querySelectorAll('#feed :is(img, b, a:not([hidden]))').length") == 0
        await window.js("document.querySelector('.message h3').click()")
        for tab in (one, two):
            await window.look_at(tab)
            await window.until_titles("Weather")

        await service.s2.kill()
        await post(url, {"title": "while it was down"})
        for tab in (one, two):
            await window.look_at(tab)
            await window.until_connected("s1")
            await window.until_titles("while it was down", "Weather")

        # The same tab is the same device again; with its storage gone, a new one that misses nothing.
        before = await window.js("document.querySelector('#device').textContent")
        await window.js("location.reload()")
        await window.until_titles("while it was down", "Weather")
        await window.until(f"document.querySelector('#device').textContent === {json.dumps(before)}")
        await window.js("indexedDB.deleteDatabase('pushctl-inbox-2') && null")
        await window.log_in("alice")
        await window.until_titles("while it was down", "Weather")
        await window.js("document.querySelector('#clear').click()")
        await window.look_at(one)
        await window.until_titles()

        await window.js("document.querySelector('.revoke').click()")
        await window.js("document.querySelector('#confirm [value=yes]').click()")
        await window.look_at(two)
        await window.until("!document.querySelector('#no-sites').hidden")
        assert await status_of(url) == 410

        # A page may also open a WebSocket itself.
        told.check(await window.js(await told.story(service)))
