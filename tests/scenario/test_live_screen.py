"""`pushctl client run` in a real terminal, with the whole service behind it: what a person sees and types."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from pushctl.client.phone import open_phone
from pushctl.client.store import Store
from pushctl.protocol import frames
from tests.fake_service import open_fake_service
from tests.scenario.people import Town
from tests.terminal import PUSHCTL, Terminal, frozen, hold_screen, terminal
from tests.unit.cli.pictures import data_url, image
from tests.unit.client.builders import cursor, message, push_url, session

pytestmark = pytest.mark.debian

STORY_SECONDS = 60
RUN = (*PUSHCTL, "client", "run")
CHANGING = (
    r"[●○] s\d  ws://\S+",
    r" +Box Office, .*",
    r"http://127\S+",
    r" {2,}(\d+[smh]|now)$",
    r"(?<=[●○] )[ \w]{4}(?= (?:very|low|normal|high))",
    r"^[\w-]{12}$",
    r"(?<=again in )\d+",
    r"(?<=^id {8})\S+",
)
"""Of a screen: where it is connected, ports, secrets, ages, ids."""


def hold(name: str, columns: int, lines: Sequence[str]) -> None:
    # How wide a moment and its age are changes with the age.
    still = [re.sub(r"(?<=^allowed   ).*|(?<=^Box Office, )[^:]*", "~", line) for line in lines]
    hold_screen(f"run-{name}", columns, frozen(still, *CHANGING))


async def test_allow_send_read_revoke_and_reconnect_by_keys(town: Town, tmp_path: Path) -> None:
    with trio.fail_after(STORY_SECONDS):
        await log_in(tmp_path, town.service.api, town.service.boxoffice)
        async with terminal(RUN, environment=around(tmp_path)) as screen:
            hold("empty", 80, await screen.until("up to date"))
            await screen.press("a")
            await screen.type("news.example")
            hold("allowing", 80, await screen.until("Allow which site? news.example"))
            await screen.press("Enter")
            hold("allowed", 80, await screen.until("a new push URL for news.example"))
            await screen.press("c")
            await screen.until("copied")
            copied = (await screen.clipboard()).strip()
            hostile = {"body": "\x1b[2J\x1b]0;evil\a\u202e日本語"}
            assert (await town.push(copied, {"title": "Rain", "body": "Take an umbrella"})).status_code == 201
            assert (await town.push(copied, hostile, Urgency="high")).status_code == 201
            await screen.press("Escape")
            await screen.until("Messages: 2 unread")
            await screen.press("Tab")
            await screen.until("▸ ●")
            hold("connected", 80, await settled(screen))
            await screen.press("j", "r")
            await screen.until("Messages: 1 unread")
            await screen.press("A")
            await screen.until("Messages: 0 unread")
            await screen.press("x")
            hold("revoking", 80, await screen.until("Revoke news.example?"))
            await screen.press("y")
            await screen.until("Push URLs: 0")
            assert (await town.push(copied, {"body": "x"})).status_code == 410
            await screen.press("R")
            await screen.until("reconnecting")
            await screen.until("up to date (delta)")
            await several_sites(town, screen)
            await screen.press("?")
            await screen.resize(80, 24)
            hold("help", 80, await screen.until("Tab       go to the other list"))
            await screen.press("q")
            await screen.until(lambda lines: not any("pushctl" in line for line in lines))


async def several_sites(town: Town, screen: Terminal) -> None:
    """Connected, with three sites and a message of each, in a terminal of 120 columns."""
    await screen.resize(120, 30)
    for site in ("shop.example", "mail.example", "bank.example"):
        await screen.press("a")
        await screen.type(site)
        await screen.press("Enter")
        await screen.until(f"a new push URL for {site}")
        await screen.press("c")
        await screen.until("copied")
        push_url = (await screen.clipboard()).strip()
        said = {"title": f"Hello from {site}", "body": "Something has changed: look at it. " * 4}
        assert (await town.push(push_url, said, Urgency="low")).status_code == 201
        await screen.press("Escape")
    await screen.until("Messages: 3 unread")
    hold("connected", 120, await settled(screen))


async def test_wide_without_colours_small_and_away(tmp_path: Path) -> None:
    """Of a device that nobody answers, with what it has from before."""
    with trio.fail_after(STORY_SECONDS):
        async with away(tmp_path) as environment:
            async with terminal(RUN, columns=120, rows=32, environment=environment) as screen:
                await screen.until("not connected")
                await screen.until(lambda lines: any("▀▀▀▀" in line for line in lines))
                hold("away", 120, await settled(screen))
                await screen.resize(30, 8)
                hold("small", 30, await screen.until(lambda lines: len(lines) <= 8 and "q quit" in lines[-1]))
                await screen.resize(12, 4)
                await screen.until("too small")
                await screen.press("q")
            plain = {**environment, "NO_COLOR": "1"}
            async with terminal(RUN, environment=plain) as screen:
                await screen.until("not connected")
                hold("away", 80, await settled(screen))
                coded = "\n".join(await screen.look(colours=True))
                assert not re.search(r"\x1b\[[\d;]*\b(3[0-8]|4[0-8]|9\d|10\d)\b", coded)
            async with terminal(RUN, environment={**environment, "TERM": "dumb"}) as screen:
                assert "pushctl client listen" in " ".join(await screen.until("use `pushctl client"))


async def settled(screen: Terminal) -> list[str]:
    """With its list of keys at the bottom, not what was said last."""
    return await screen.until(lambda lines: lines[-1].endswith("q quit"))


def around(folder: Path) -> dict[str, str]:
    return {"PUSHCTL_CLIENT_DIR": str(folder), "PYTHONPATH": str(Path(__file__).parents[2])}


async def log_in(folder: Path, api: str, boxoffice: str) -> None:
    with Store(folder / "default.sqlite3") as store:
        async with open_phone(store, api_url=api, boxoffice_url=boxoffice) as phone:
            await phone.login("alice", "laptop")
            phone.remember_urls()


@asynccontextmanager
async def away(folder: Path) -> AsyncIterator[dict[str, str]]:
    """The environment of a device with three sites and two messages, whose service has no room for it."""
    soon = "2099-01-01T00:00:00.000Z"
    async with open_fake_service() as service:
        full = {"code": "no_capacity", "detail": "there is no room", "servers": [], "retry_after_seconds": 900}
        service.answers["GET /v1/servers"] = (503, full, {"Retry-After": "900"})
        with Store(folder / "default.sqlite3") as store:
            store.begin_session(session())
            for setting in ("api", "boxoffice"):
                store.set_setting(setting, service.api_url)
            icons = (data_url(image()), "https://shop.example/i.png", data_url(image(colour=(0, 0, 255))[:50]))
            for number, icon in enumerate(icons):
                store.put_push_url(push_url(f"p{number}", site=f"https://s{number}.example", icon=icon))
            for number, urgency in enumerate(("low", "high")):
                said = message(f"m{number}", push_url=f"p{number}", urgency=urgency, expires_at=soon)
                store.apply_event(frames.MessageEvent(cursor(number), said), "very-low")
        yield around(folder)
