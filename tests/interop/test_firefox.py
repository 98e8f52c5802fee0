"""A real Firefox whose push service is ours: from a page's subscribe() to the plaintext in its service worker."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from tests.interop.firefox import Firefox
from tests.interop.installation import Installation, installed
from tests.interop.site import NOTHING, Site, site
from tests.processes import dying_with_us

SITE = Path(__file__).parents[2] / "examples" / "web_push" / "site.py"

pytestmark = pytest.mark.debian


@pytest.fixture
async def ours() -> AsyncIterator[Installation]:
    async with installed() as installation:
        yield installation


@pytest.fixture
async def news() -> AsyncIterator[Site]:
    async with site() as running:
        yield running


@asynccontextmanager
async def example(folder: Path) -> AsyncIterator[str]:
    """examples/web_push/site.py as a person starts it; its address."""
    command = dying_with_us([sys.executable, str(SITE), "0"])
    said, its_stdout = os.pipe()
    async with trio.lowlevel.FdStream(said) as reading:
        with (folder / "site.log").open("ab") as log:
            # At once, not in a thread: tests/processes.py says why.
            process = subprocess.Popen(command, stdout=its_stdout, stderr=log)  # noqa: ASYNC220
        os.close(its_stdout)
        try:
            line = b""
            with trio.fail_after(30):
                while not line.endswith(b"\n"):
                    line += await reading.receive_some()
            yield line.decode().strip()
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def firefox(folder: Path, ours: Installation) -> Firefox:
    return Firefox(folder, ours.push_server)


async def gone(news: Site, subscription: dict[str, Any]) -> None:
    """A page is told that it has unsubscribed before Firefox has told us."""
    with trio.fail_after(30):
        while await news.send(subscription, "too late", signed=False) != 410:  # noqa: ASYNC110 - nobody can be told
            await trio.sleep(0.1)


async def test_a_page_subscribes_and_its_worker_reads_what_a_site_sends(firefox: Firefox, news: Site) -> None:
    async with firefox.running() as browser, httpx.AsyncClient() as http:
        await browser.open(news.url)
        plain = await browser.evaluate("subscribe()")
        assert set(plain["keys"]) == {"auth", "p256dh"}
        assert await news.send(plain, "Grüße, 🦊", signed=False) == 201
        assert await news.send(plain, "in the old encoding", signed=True, encoding="aesgcm") == 201
        assert sorted(await news.pushes(2)) == ["Grüße, 🦊", "in the old encoding"]
        assert (await http.post(plain["endpoint"], headers={"TTL": "60"})).status_code == 201
        assert (await news.pushes(3))[2] == NOTHING
        assert await browser.evaluate("unsubscribe()") is True
        await gone(news, plain)

        bound = await browser.evaluate(f"subscribe('{news.public_key}')")
        assert bound["endpoint"] != plain["endpoint"]
        assert await news.send(bound, "unsigned", signed=False) == 401
        assert await news.send(bound, "x" * 3993, signed=True) == 201
        assert (await news.pushes(4))[3] == "x" * 3993
        assert await news.send(plain, "still too late", signed=False) == 410


async def test_it_keeps_its_uaid_and_misses_nothing_over_restarts_of_browser_and_servers(
    firefox: Firefox, ours: Installation, news: Site
) -> None:
    async with firefox.running() as browser:
        await browser.open(news.url)
        subscription = await browser.evaluate(f"subscribe('{news.public_key}')")
    uaid = firefox.uaid
    assert uaid
    assert await news.send(subscription, "while it was closed", signed=True) == 201
    async with firefox.running() as browser:
        # No page is open: what waits wakes the worker.
        assert await news.pushes(1) == ["while it was closed"]
        await ours.restart()
        assert await news.send(subscription, "after everything was restarted", signed=True) == 201
        assert (await news.pushes(2))[1] == "after everything was restarted"
        await browser.open(news.url)
        assert await browser.evaluate("subscription()") == subscription
    assert firefox.uaid == uaid
    assert [what for what, _ in news.told] == ["push"] * 2


async def test_a_hundred_messages_in_a_row_come_once_each_also_when_the_socket_server_is_killed(
    firefox: Firefox, ours: Installation, news: Site
) -> None:
    async with firefox.running() as browser:
        await browser.open(news.url)
        subscription = await browser.evaluate(f"subscribe('{news.public_key}')")
        texts = [f"message {n}" for n in range(100)]
        for text in texts:
            assert await news.send(subscription, text, signed=True) == 201
        await news.pushes(100)
        await ours.roles["socket"].kill()
        for n in range(5):
            texts.append(f"while the server was down {n}")
            assert await news.send(subscription, texts[-1], signed=True) == 201
        await ours.roles["socket"].start()
        came = await news.pushes(105)
        assert sorted(came) == sorted(texts)
        texts.append("and after")
        assert await news.send(subscription, "and after", signed=True) == 201
        assert (await news.pushes(106))[105] == "and after"
        assert len(news.told) == 106


async def test_the_example_site_works_as_its_page_says(firefox: Firefox, folder: Path) -> None:
    async with example(folder) as url, firefox.running() as browser:
        await browser.open(url)
        await browser.evaluate("document.querySelector('#allow').click()")
        await browser.until_page_says("from now on")
        await browser.evaluate("document.querySelector('#send button').click()")
        await browser.until_page_says("sent to 1: 201")
        await browser.until_page_says("came: Rain at noon")
        await browser.evaluate("document.querySelector('#revoke').click()")
        await browser.until_page_says("taken back")
        with trio.fail_after(30):
            while not await browser.evaluate("document.body.innerText.includes('nobody has allowed it')"):
                await browser.evaluate("document.querySelector('#send button').click()")
                await trio.sleep(0.5)  # a page tells nobody
        assert await browser.evaluate("document.body.innerText.includes('sent to 1: 410')")
