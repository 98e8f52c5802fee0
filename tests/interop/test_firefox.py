"""A real Firefox whose push service is ours: from a page's subscribe() to the plaintext in its service worker."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.interop.firefox import Firefox
from tests.interop.installation import Installation, installed
from tests.interop.site import NOTHING, Site, site

pytestmark = pytest.mark.debian


@pytest.fixture
async def ours() -> AsyncIterator[Installation]:
    async with installed() as installation:
        yield installation


@pytest.fixture
async def news() -> AsyncIterator[Site]:
    async with site() as running:
        yield running


@pytest.fixture
def firefox(folder: Path, ours: Installation) -> Firefox:
    return Firefox(folder, ours.push_server)


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
        assert await news.send(plain, "too late", signed=False) == 410

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
    await ours.restart()
    assert await news.send(subscription, "after everything was restarted", signed=True) == 201
    async with firefox.running() as browser:
        # No page is open: what waits wakes the worker.
        assert sorted(await news.pushes(2)) == ["after everything was restarted", "while it was closed"]
        await ours.restart()
        assert await news.send(subscription, "while it was connected", signed=True) == 201
        assert (await news.pushes(3))[2] == "while it was connected"
        await browser.open(news.url)
        assert await browser.evaluate("subscription()") == subscription
    assert firefox.uaid == uaid
    assert [what for what, _ in news.told] == ["push"] * 3


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
