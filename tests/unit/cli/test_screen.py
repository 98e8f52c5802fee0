"""The live screen: what it shows at any size, what keys do, and that it fits."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from pushctl.cli.screen import Screen
from pushctl.client import events
from pushctl.client.phone import Phone, open_phone
from pushctl.client.store import Store
from pushctl.protocol import frames
from pushctl.protocol.frames import Notification
from tests.unit.client.builders import NOW_MS, SetClock, cursor, message, push_url, session

CONNECTED = events.Connected("ws://127.0.0.1:41235/", "s1", "u1", "d1")
SYNCED = events.SyncEvent("delta", 0, None, None, cursor(1))


@pytest.fixture
def clock() -> SetClock:
    return SetClock(NOW_MS + 12_000)


@pytest.fixture
async def phone(tmp_path: Path, clock: SetClock) -> AsyncIterator[Phone]:
    with Store(tmp_path / "phone.sqlite3", clock) as store:
        store.begin_session(session())
        async with open_phone(store, api_url="http://127.0.0.1:1", boxoffice_url="http://127.0.0.1:1") as opened:
            yield opened


def arrive(phone: Phone, *names: str) -> None:
    for number, name in enumerate(names):
        later = f"2027-01-15T08:00:{number:02}.000Z"
        phone.store.apply_event(frames.MessageEvent(cursor(number), message(name, sent_at=later)), "very-low")


def shown(screen: Screen, width: int = 80, height: int = 24) -> list[str]:
    return [line.plain.rstrip() for line in screen.lines(width, height)]


def rows(screen: Screen) -> list[str]:
    """Mark of the selection, mark of the unread, and text of each message shown."""
    return [line[:4].replace(" ", "") + line.rpartition("— ")[2] for line in shown(screen) if line[2:3] in ("●", "○")]


async def test_the_screen_at_80_columns(phone: Phone, clock: SetClock) -> None:
    phone.store.put_push_url(push_url(icon="https://news.example/i.png"))
    arrive(phone, "older", "newer")
    screen = Screen(phone, clock)
    screen.take(CONNECTED)
    screen.take(SYNCED)
    assert shown(screen, 80, 12) == [
        " pushctl  alice@dev-idp.localhost · laptop          ● s1  ws://127.0.0.1:41235/",
        "up to date (delta)",
        "── Push URLs: 1 ────────────────────────────────────────────────────────────────",
        "   N  news.example  icon, 12s",
        "── Messages: 2 unread ──────────────────────────────────────────────────────────",
        "  ●  now normal    N  news.example  News — newer",
        "  ●  now normal    N  news.example  News — older",
        *([""] * 4),
        "r read   A read all   ↑↓ jk select   q quit",
    ]


async def test_a_narrow_screen_gives_the_connection_a_line_of_its_own(phone: Phone, clock: SetClock) -> None:
    screen = Screen(phone, clock)
    screen.take(CONNECTED)
    assert shown(screen, 48, 12)[:3] == [
        " pushctl  alice@dev-idp.localhost · laptop",
        "● s1  ws://127.0.0.1:41235/",
        "catching up",
    ]


async def test_it_says_why_it_is_not_connected_and_counts_down(phone: Phone, clock: SetClock) -> None:
    screen = Screen(phone, clock)
    screen.take(events.Disconnected("ws://x/", 4001, "draining", "box_office", 5000))
    assert shown(screen)[1] == "4001: draining; next try in 5 s"
    clock.now_ms += 3000
    assert shown(screen)[1] == "4001: draining; next try in 2 s"
    clock.now_ms += 3000
    assert shown(screen)[1] == "4001: draining; trying"
    screen.take(events.Retrying("nobody there", 9000))
    assert shown(screen)[1] == "nobody there; next try in 9 s"
    screen.take(CONNECTED)
    assert shown(screen)[1] == "catching up"


async def test_r_reads_the_newest_until_something_is_selected(phone: Phone) -> None:
    arrive(phone, "m1", "m2", "m3")
    screen = Screen(phone)
    screen.press("read")
    assert rows(screen) == ["○m3", "●m2", "●m1"]
    screen.press("read")
    assert rows(screen) == ["○m3", "○m2", "●m1"]
    assert phone.store.pending_reads() == ["m2", "m3"]


async def test_keys_select_and_r_reads_the_selected(phone: Phone) -> None:
    arrive(phone, "m1", "m2", "m3")
    screen = Screen(phone)
    screen.press("down")
    assert rows(screen) == ["▸●m3", "●m2", "●m1"]
    screen.press("down")
    screen.press("down")
    screen.press("down")
    screen.press("read")
    assert rows(screen) == ["●m3", "●m2", "▸○m1"]
    screen.press("up")
    assert rows(screen) == ["●m3", "▸●m2", "○m1"]
    screen.press("top")
    screen.press("up")
    assert rows(screen) == ["▸●m3", "●m2", "○m1"]
    screen.press("bottom")
    screen.press("read_all")
    assert rows(screen) == ["○m3", "○m2", "▸○m1"]


async def test_the_selection_stays_with_its_message_when_others_come_and_go(phone: Phone) -> None:
    arrive(phone, "m1", "m2", "m3")
    screen = Screen(phone)
    screen.press("down")
    screen.press("down")
    new = frames.MessageEvent(cursor(4), message("m4", sent_at="2027-01-15T08:00:59.000Z"))
    for told in phone.store.apply_event(new, "very-low"):
        screen.take(told)
    assert rows(screen) == ["●m4", "●m3", "▸●m2", "●m1"]
    for told in phone.store.apply_event(frames.DroppedEvent(cursor(5), ["m2"], "evicted"), "very-low"):
        screen.take(told)
    assert rows(screen) == ["●m4", "●m3", "▸●m1"]
    for told in phone.store.apply_event(frames.DroppedEvent(cursor(6), ["m1", "m3", "m4"], "evicted"), "very-low"):
        screen.take(told)
    assert rows(screen) == []
    screen.press("down")
    screen.press("read")


async def test_a_long_list_scrolls_with_the_selection(phone: Phone) -> None:
    arrive(phone, *(f"m{number:02}" for number in range(60)))
    screen = Screen(phone)
    assert rows(screen)[0] == "●m59"
    screen.press("bottom")
    assert rows(screen)[-1] == "▸●m00"
    for _ in range(30):
        screen.press("up")
    assert "▸●m30" in rows(screen)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 140), st.integers(1, 50), st.lists(st.tuples(st.text(), st.text()), max_size=12), st.text())
def test_nothing_is_wider_or_higher_than_the_terminal(
    tmp_path_factory: pytest.TempPathFactory, width: int, height: int, texts: list[tuple[str, str]], reason: str
) -> None:
    with Store(tmp_path_factory.mktemp("screens") / "a.sqlite3", SetClock()) as store:
        phone = Phone(store, httpx.AsyncClient(), api_url="http://x", boxoffice_url="http://x")
        for number, (title, site) in enumerate(texts):
            said = message(f"m{number}", site=site, notification=Notification(title=title, body="日本語" * 20))
            store.apply_event(frames.MessageEvent(cursor(number), said), "very-low")
            store.put_push_url(push_url(f"p{number}", site=site))
        screen = Screen(phone, SetClock())
        screen.take(events.Retrying(reason, 1000))
        screen.press("down")
        found = screen.lines(width, height)
    assert len(found) == height
    assert all(line.cell_len <= width and line.plain.isprintable() for line in found)
    console = Console(width=width, height=height, file=open("/dev/null", "w"), force_terminal=True)  # noqa: SIM115
    with console.file:
        assert all(len(console.render_lines(line, pad=False)) == 1 for line in found)
