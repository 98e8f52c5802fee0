"""Makes the pictures of docs/inbox.md anew: python -m tests.interop.inbox.screenshots. Look at them before a commit.

Owns: what is on them: three widths, light and dark, a person with a few sites and messages of all kinds.
"""

import base64
from pathlib import Path

import trio

from tests.interop.chromium import Chromium, Tab
from tests.interop.inbox import page
from tests.interop.inbox.service import post, served

PICTURES = Path(__file__).parents[3] / "docs" / "inbox"
SITES = ("news.example", "status.example", "shop.example")
WIDTHS = {"wide": (1280, 800), "middle": (768, 700), "narrow": (360, 700)}
MESSAGES = (
    ("news.example", "normal", {"title": "Weather", "body": "Rain from noon, clearing towards the evening."}),
    ("shop.example", "low", {"title": "Your order is on its way", "body": "Two parcels, expected on Thursday."}),
    (
        "news.example",
        "normal",
        {
            "title": "Council agrees on the new bridge",
            "body": "After eleven hours the vote was 31 to 14. Work begins in spring, and the old crossing stays open "
            "until the first cars are over the new one.",
            "url": "https://news.example/bridge",
        },
    ),
    ("shop.example", "normal", {"body": "3 things that you looked at cost less today"}),
    (
        "status.example",
        "high",
        {"title": "Disk is full on db-2", "body": "Writes fail since 12:04.", "url": "https://status.example/db-2"},
    ),
    ("news.example", "normal", {"title": "Sports", "body": "2:1 after extra time"}),
)

_ICON = """
return page.evaluate(([text, one, other]) => {
  const canvas = Object.assign(document.createElement('canvas'), { width: 64, height: 64 });
  const pen = canvas.getContext('2d');
  const wash = pen.createLinearGradient(0, 0, 64, 64);
  wash.addColorStop(0, one);
  wash.addColorStop(1, other);
  pen.fillStyle = wash;
  pen.fillRect(0, 0, 64, 64);
  pen.fillStyle = '#fff';
  pen.font = '600 34px sans-serif';
  pen.textAlign = 'center';
  pen.textBaseline = 'middle';
  pen.fillText(text, 32, 35);
  return canvas.toDataURL('image/png').split(',')[1];
}, values.of);
"""
_SHOT = """
await page.setViewportSize({ width: values.size[0], height: values.size[1] });
await page.emulateMedia({ colorScheme: values.scheme, reducedMotion: 'reduce' });
await page.evaluate(() => { document.activeElement?.blur(); scrollTo(0, 0) });
await page.mouse.move(0, 0);
await page.waitForTimeout(300);
const session = await context.newCDPSession(page);
return (await session.send('Page.captureScreenshot', { format: 'webp', quality: 82 })).data;
"""


async def main() -> None:
    chromium = Chromium()
    try:
        with served() as service:
            tab = Tab(chromium, "alice")
            await page.log_in(tab, service, "alice")
            looks = {"news.example": ["N", "#c2410c", "#7c2d12"], "status.example": ["✓", "#0f766e", "#134e4a"]}
            icons = {site: await tab.do(_ICON, of=look) for site, look in looks.items()}
            urls = {site: await page.allow(tab, site, icon=icons.get(site, "")) for site in SITES}
            for site, urgency, body in MESSAGES:
                await post(urls[site], dict(body), Urgency=urgency)
            await tab.do("await page.getByText('2:1 after extra time').waitFor()")
            PICTURES.mkdir(exist_ok=True)
            for width, size in WIDTHS.items():
                for scheme in ("light", "dark"):
                    picture = await tab.do(_SHOT, size=size, scheme=scheme)
                    (PICTURES / f"{width}-{scheme}.webp").write_bytes(base64.b64decode(picture))
    finally:
        chromium.close()


if __name__ == "__main__":
    trio.run(main)
