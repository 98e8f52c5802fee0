"""The inbox in a browser, in a real Chromium: what a person does there, and what sites and the network do to it."""

import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import trio

from pushctl.protocol.peer import AskBoxOffice, Peer, Step, Stop, TryServer
from tests.interop.chromium import Chromium, Tab
from tests.interop.inbox import page
from tests.interop.inbox.service import Service, post, post_many, served, status_of
from tests.interop.openid import OpenIdProvider
from tests.interop.websocket import told

pytestmark = [pytest.mark.slow, pytest.mark.debian]

FRAME_MS = 1000 / 60
"""What each of sixty frames a second may take."""

OIDC = """
[identity.oidc]
enabled = true
[[identity.oidc.providers]]
name = "accounts"
kind = "id_token"
issuer = "{issuer}"
discovery = true
audiences = ["push-page"]
inbox_client_id = "push-page"
"""


@pytest.fixture(scope="module")
def provider() -> Iterator[OpenIdProvider]:
    there = OpenIdProvider()
    yield there
    there.kill()


@pytest.fixture(scope="module")
def service(provider: OpenIdProvider) -> Iterator[Service]:
    with served(OIDC.format(issuer=provider.issuer)) as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    running = Chromium()
    yield running
    running.close()


@pytest.fixture
async def one(chromium: Chromium, request: pytest.FixtureRequest) -> AsyncIterator[Tab]:
    """A person's first tab. At the end nothing had to be complained about on her console."""
    tab = Tab(chromium, request.node.name)
    yield tab
    complaints = await tab.do(page.COMPLAINTS)
    await tab.leave()
    assert complaints == []


async def test_the_story_of_the_demo_through_two_tabs_of_one_person_and_a_server_that_is_killed(
    one: Tab, service: Service
) -> None:
    two, bob = one.beside("two"), one.of("bob")
    await service.s2.start()
    server = await page.log_in(one, service, "alice")
    await page.log_in(two, service, "alice")
    await page.place(two, service, "s2" if server == "s1" else "s1")  # so that what follows crosses servers
    await page.log_in(bob, service, "bob")

    # A person is asked first, and may say no.
    await page.refuse(one, "shop.example")
    assert await page.sites(one) == []
    url = await page.allow(one, "news.example", icon=page.PNG)
    await page.until_sites(two, "news.example")
    icon = await two.do("return page.locator('.push-url img').getAttribute('src')")
    assert icon.startswith("data:image/png;base64,")

    weather = {"title": "Weather", "body": "Rain at noon", "url": "https://news.example/weather"}
    await post(url, weather)
    await post(url, {"title": "Sports", "body": "2:1"}, Urgency="high")
    for tab in (one, two):
        await page.until_titles(tab, "Sports", "Weather")
        _, shown = await page.messages(tab)
        assert shown == {"title": "Weather", "body": "Rain at noon", "icon": icon, "link": weather["url"]}
        assert await tab.do("return page.title()") == "(2) Inbox"
    await page.until_said(two, "news.example: Sports")

    # What is read in one tab goes from the other.
    await one.do("await page.locator('.message', { hasText: 'Weather' }).click()")
    for tab in (one, two):
        await page.until_titles(tab, "Sports")
    await page.click(two, "Clear all")
    await page.until_titles(one)
    await page.click(one, "Read")
    await page.until_titles(one, "Sports", "Weather")
    await page.click(one, "Unread")

    # A socket server is killed: nothing is lost, nothing comes twice, and it is found again when it is back.
    await service.s2.kill()
    await post(url, {"title": "while it was down"})
    for tab in (one, two):
        await page.until_connected(tab, "s1")
        await page.until_titles(tab, "while it was down")
        details = await page.connection(tab)
        assert details["Socket server"] == service.url_of["s1"]
        assert details["Next attempt"] == "none needed"
    await page.click(one, "Clear all")
    await service.s2.start()
    await page.place(two, service, "s2")

    # Away: of three messages exactly the one that is due. A tab that comes back is the device it was.
    await two.do("await page.goto('about:blank')")
    await post(url, {"title": "expired"}, TTL="1")
    await post(url, {"title": "first edition"}, Topic="edition")
    await post(url, {"title": "second edition"}, Topic="edition")
    await trio.sleep(1.1)  # the one thing that can only be waited for: a TTL of 1 s
    await two.do("await page.goto(values.inbox)", inbox=service.inbox)
    await page.until_titles(two, "second edition")
    three = one.beside("three")
    await page.log_in(three, service, "alice")
    await page.until_titles(three, "second edition")
    assert len(await page.devices(three)) == 3

    # Revoked: everybody learns, the site too.
    await page.revoke(one, "news.example")
    for tab in (one, two, three):
        await page.until_sites(tab)
    assert await status_of(url) == 410
    assert await bob.do("return page.title()") == "Inbox"
    await bob.leave()
    # A server that drains says so, and is left for another.
    await page.until_connected(two, "s2")
    await service.s2.drain()
    await page.until_connected(two, "s1")
    assert service.s2.surprises == []


async def test_a_laptop_that_sleeps_reads_on_and_is_right_when_it_wakes(one: Tab, service: Service) -> None:
    phone = one.of("her phone")
    for tab in (one, phone):
        await page.log_in(tab, service, "alice-asleep")
    url = await page.allow(one, "news.example")
    await post_many([url], [{"title": "old"}])
    await page.until_titles(one, "old")
    await one.do("await context.setOffline(true)")
    await one.do("await page.getByText('Offline', { exact: true }).waitFor()")
    await one.do("await page.locator('.message').press('Enter')")  # read, and nobody is told yet
    await page.until_titles(one)
    await post(url, {"title": "new"})
    await page.until_titles(phone, "new", "old")
    # Even loaded anew without a network it is the page, with what was here.
    await one.do("await page.reload()")
    await one.do("await page.getByText('You are offline. What is here stays').waitFor()")
    await page.click(one, "Read")
    await page.until_titles(one, "old")
    await page.click(one, "Unread")
    await one.do("await context.setOffline(false)")
    await page.until_titles(one, "new")
    await page.until_titles(phone, "new")
    await phone.leave()


async def test_what_the_service_asks_to_wait_is_waited_whatever_a_person_presses(one: Tab, service: Service) -> None:
    await page.log_in(one, service, "alice-waits")
    await one.do(page.NO_ROOM)
    await one.do("await page.reload(); await page.getByText('Waiting', { exact: true }).waitFor()")
    await one.do("await page.locator('#connection').click()")
    await one.do("await page.locator('#status-next', { hasText: /^in \\d+ s$/ }).waitFor()")
    await page.click(one, "Try now")
    await one.do("await page.locator('#status-next', { hasText: /^in (60|[1-5]\\d) s$/ }).waitFor()")
    await one.do("await page.waitForTimeout(300)")  # in which nothing must happen
    assert await one.do("const asked = pages.asked; delete pages.asked; return asked") == 1


async def test_storage_that_is_cleared_and_a_session_that_is_ended_leave_nothing_here_and_lose_nothing(
    one: Tab, service: Service
) -> None:
    phone = one.of("her phone")
    for tab in (one, phone):
        await page.log_in(tab, service, "alice-cleared")
    url = await page.allow(one, "news.example")
    await post(url, {"title": "kept by the service"})
    await page.until_titles(one, "kept by the service")
    await one.do(
        """const session = await context.newCDPSession(page);
        await session.send('Storage.clearDataForOrigin', { origin: values.api, storageTypes: 'all' })""",
        api=service.api,
    )
    await one.do("await page.getByLabel('Name').waitFor()")
    await page.log_in(one, service, "alice-cleared")
    await page.until_titles(one, "kept by the service")
    await page.until_sites(one, "news.example")

    await page.click(phone, "On all devices…")
    await page.click(phone, "Log out everywhere")
    await one.do("await page.getByText('You were logged out').waitFor()")
    assert await page.stored(one) == {"messages": 0, "pushUrls": 0, "session": None}
    assert await page.messages(one) == []
    await page.log_in(one, service, "alice-cleared")
    await page.until_titles(one, "kept by the service")
    await phone.leave()


async def test_what_a_site_writes_stays_text_and_reaches_nobody(one: Tab, service: Service) -> None:
    await one.do("pages.asked = []; context.on('request', (each) => pages.asked.push(each.url()))")
    await page.log_in(one, service, "alice-hostile")
    url = await page.allow(one, "evil.example")
    html = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    bent = "\u202egnp.exe\u2066 \u0000\u0007" + "Z\u0351\u036b\u0343\u036a" * 40
    for number, icon in enumerate(page.HOSTILE_ICONS):
        await post(url, {"title": f"{number} {html}", "body": bent, "icon": icon, "url": page.HOSTILE_LINKS[number]})
    await page.until_titles(one, *(f"{number} {html}" for number in reversed(range(len(page.HOSTILE_ICONS)))))
    for shown in await page.messages(one):
        assert shown["body"] == bent
        assert (shown["icon"], shown["link"]) == (None, None)
    assert await one.do("return page.locator('#feed :is(script, h3 *, .body *)').count()") == 0
    await post(url, {"title": "W" * 900, "body": "i" * 900})
    await one.do("await page.setViewportSize({ width: 360, height: 740 })")
    assert await one.do(page.CUT_OFF) == []

    # An icon elsewhere is loaded only if that was chosen, and its server does not hear from which page.
    await post(url, {"title": "icon", "icon": "http://icons.example/i.png", "url": "http://icons.example/"})
    await one.do("await page.getByRole('heading', { name: 'icon', exact: true }).waitFor()")
    assert await one.do("return pages.asked.filter((each) => each.includes('icons.example'))") == []
    assert (
        await one.do(
            """const asked = context.waitForEvent('request', (each) => each.url().includes('icons.example'));
        await context.route('http://icons.example/**', (route) => route.fulfill({ status: 404 }));
        await page.getByRole('button', { name: 'Account' }).click();
        await page.getByLabel('Load icons from').check();
        await page.getByRole('button', { name: 'Messages' }).click();
        return (await (await asked).allHeaders()).referer ?? null;"""
        )
        is None
    )
    links = await one.do("return page.locator('.message a:not([hidden])').evaluateAll((all) => all.map((a) => a.rel))")
    assert links == ["noopener noreferrer"]

    # A token stands in no URL, and the page's own policy holds even against the page.
    token = await page.token_of(one)
    assert await one.do("return pages.asked.filter((each) => each.includes(values.token))", token=token) == []
    assert await one.do(page.TRY_TO_BREAK_OUT) == page.NO_WAY_OUT
    await one.do("said.length = 0; delete pages.asked")


async def load_busy_page(one: Tab, service: Service) -> None:
    await one.do("await page.goto(values.inbox)", inbox=service.inbox)
    await one.do("await page.waitForFunction(() => document.title === '(1000) Inbox')")
    await one.do(page.UNTIL_SETTLED)


async def scroll(one: Tab) -> tuple[float, dict[str, Any]]:
    """To the end: ms of CPU for each frame, and what was seen. (How long a task took by the clock is the machine's,
    which runs other tests meanwhile.)"""
    begun = await one.do(page.SPENT)
    scrolling = await one.do(page.SCROLL)
    return (await one.do(page.SPENT) - begun) / scrolling["frames"], scrolling


async def test_a_thousand_messages_are_scrolled_without_stutter_and_cleared_at_once(one: Tab, service: Service) -> None:
    await page.log_in(one, service, "alice-busy")
    urls = [await page.allow(one, f"site-{number}.example") for number in range(5)]
    await one.do("await page.goto('about:blank')")
    bodies: list[dict[str, Any]] = [
        {"title": f"Message {n}", "body": "All is as it was. " * (1 + n % 9)} for n in range(1000)
    ]
    await post_many(urls, bodies)
    await one.do(page.WATCH_FRAMES)
    await load_busy_page(one, service)
    loading = await one.do(page.FRAMES)
    assert await one.do("return page.locator('.message').count()") == 1000
    spent, scrolling = await scroll(one)
    for _ in range(2):
        if spent >= FRAME_MS:  # what others do on this machine makes it dearer, never cheaper
            await load_busy_page(one, service)
            spent, scrolling = await scroll(one)
    print(f"{spent:.1f} ms of CPU a frame; loading: {loading}; scrolling: {scrolling}")
    assert spent < FRAME_MS
    assert loading["shift"] < 0.1
    assert scrolling["reached"] >= scrolling["height"] - 1
    await one.do("await page.locator('#clear').click(); await page.waitForFunction(() => document.title === 'Inbox')")
    await page.until_titles(one)


async def test_no_barrier_is_found_in_light_and_dark_wide_and_narrow(one: Tab, service: Service) -> None:
    await one.do("await page.emulateMedia({ reducedMotion: 'reduce' })")
    await one.do("await page.goto(values.inbox); await page.getByLabel('Name').waitFor()", inbox=service.inbox)
    found = {"log in": await page.barriers(one)}
    await page.log_in(one, service, "alice-axe")
    found["empty"] = await page.barriers(one)
    url = await page.allow(one, "news.example", icon=page.PNG)
    for urgency in ("very-low", "low", "normal", "high"):
        await post(url, {"title": urgency, "body": "x" * 400, "url": "https://news.example/"}, Urgency=urgency)
    await page.until_titles(one, "high", "normal", "low", "very-low")
    found["messages"] = await page.barriers(one)
    for name, opener in (("status", "#connection"), ("confirm", ".revoke")):
        await one.do("await page.locator(values.opener).click()", opener=opener)
        found[name] = await page.barriers(one)
        await one.do("await page.keyboard.press('Escape')")
    await one.do("await page.setViewportSize({ width: 360, height: 740 })")
    for view in ("Sites", "Account", "Messages"):
        await page.click(one, view)
        found[view] = await page.barriers(one)
    assert {where: what for where, what in found.items() if what} == {}

    # By the keyboard alone: into the messages, along them, each read, and the focus stays among them.
    assert await one.do(page.BY_KEYBOARD) == ["high", "normal", "low", "normal", "low", "very-low", "main"]
    await page.until_titles(one)


async def test_a_person_logs_in_by_the_page_of_an_openid_provider(one: Tab, service: Service) -> None:
    await one.do("await page.goto(values.inbox)", inbox=service.inbox)
    await page.click(one, "Log in with accounts")
    await one.do(
        """await page.locator('[name=login]').fill('carol');
        await page.locator('[name=password]').fill('secret');
        await page.locator('[type=submit]').click();
        await page.locator('[name=login]').waitFor({ state: 'detached' });
        await page.locator('[type=submit]').click();"""
    )
    await page.until_connected(one)
    assert await one.do("return page.url()") == service.inbox  # neither code nor state stands there any more
    assert (await one.do("return page.locator('#who').textContent()")).endswith(" carol")
    # A redirect that does not belong to what was begun in this tab is no log-in.
    await page.click(one, "Log out")
    await page.click(one, "Log in with accounts")
    await one.do("await page.waitForURL((url) => !url.href.startsWith(values.inbox))", inbox=service.inbox)
    await one.do("await page.goto(values.inbox + '?code=stolen&state=x')", inbox=service.inbox)
    await one.do("await page.getByText('does not belong to a log-in that was begun in this tab').waitFor()")
    await one.do("said.length = 0")  # of the provider's own pages


async def test_a_site_of_ones_own_by_the_form_and_by_its_curl_line(one: Tab, service: Service) -> None:
    await page.log_in(one, service, "alice-sends")
    await page.allow(one, "news.example")
    await one.do("await page.getByLabel('Title').fill(values.title)", title="It's `here` $(now)")
    await page.click(one, "Send")
    await one.do("await page.getByText(/^Stored: 201\\. It was here \\d+ ms later\\.$/).waitFor()")
    line = await one.do("return page.locator('#curl').textContent()")
    done = await trio.run_process(["sh", "-c", line], capture_stdout=True, capture_stderr=True, check=False)
    assert done.returncode == 0, done.stderr
    await page.until_titles(one, *["It's `here` $(now)"] * 2)

    # Its hour is over: nobody says so, and it goes.
    await one.do(
        """await page.evaluate(() => {
          const now = Date.now();
          Date.now = () => now + 3_601_000;
          document.dispatchEvent(new Event('visibilitychange'));
        });"""
    )
    await page.until_titles(one)


async def test_what_comes_twice_changes_nothing_and_what_cannot_be_kept_leaves_no_trace(
    one: Tab, service: Service
) -> None:
    await one.do("await page.goto(values.inbox)", inbox=service.inbox)
    assert await one.do(page.KEEP) == {
        "again": [["pending"], 0, "c2"],
        "snapshot": [["pending"], "c3"],
        "broken": ["the server sent a moment that is none", ["pending"], "c3"],
        "confirmed": [["read"], []],
    }


# --- peer.js ---------------------------------------------------------------------------------------------------------

SERVERS = ["wss://a.example/", "wss://b.example/", "wss://c.example/"]
NAMES = {"box_office_refused": "boxOfficeRefused", "box_office_unreachable": "boxOfficeUnreachable"}
NAMES |= {"server_failed": "serverFailed", "reconnect_asked": "reconnectAsked"}


def life(chance: random.Random) -> tuple[list[float], list[list[Any]]]:
    """Randomness for a peer, and what happens to it: calls of its methods, in any order."""
    now = 0.0
    calls: list[list[Any]] = [["start"]]
    for _ in range(60):
        now += chance.choice([0, 0.5, 10, 40, 400])
        wait = chance.choice([None, 0, 7, 90, 100_000])
        could: list[list[Any]] = [
            ["offered", chance.choices(SERVERS, k=chance.randrange(4)), chance.choice([0, 30]), now],
            ["box_office_refused", chance.choice([302, 401, 404, 429, 500, 503]), wait],
            ["box_office_unreachable"],
            ["server_failed", now, wait],
            ["welcomed", now],
            ["reconnect_asked", chance.choice([-1, 0, 20, 100_000]), now],
            ["closed", chance.choice([1000, 1006, *range(4001, 4006), *range(4501, 4507)]), now],
        ]
        calls.append(chance.choice(could))
    return [chance.random() for _ in range(200)], calls


def as_json(step: Step | None) -> dict[str, Any] | None:
    match step:
        case AskBoxOffice(after_seconds):
            return {"do": "ask", "after": after_seconds}
        case TryServer(url):
            return {"do": "try", "url": url}
        case Stop(code, reason, login):
            return {"do": "stop", "code": code, "reason": reason, "login": login}
    return None


async def test_the_page_decides_when_and_where_to_connect_as_every_client_of_ours(one: Tab, service: Service) -> None:
    await one.do("await page.goto(values.inbox)", inbox=service.inbox)
    lives = [life(random.Random(seed)) for seed in range(100)]
    expected = []
    for numbers, calls in lives:
        peer = Peer(iter(numbers).__next__)
        expected.append([as_json(getattr(peer, name)(*arguments)) for name, *arguments in calls])
    renamed = [(numbers, [[NAMES.get(name, name), *rest] for name, *rest in calls]) for numbers, calls in lives]
    assert await one.do(page.LIVE_AS_A_PEER, lives=renamed) == expected


async def test_a_page_may_open_a_websocket_itself_and_is_told_how_it_ends(one: Tab, service: Service) -> None:
    told.check(await one.do("return page.evaluate(values.story)", story=await told.story(service)))
