"""How the live screen looks, at any size, with icons and without, whatever senders wrote."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from pushctl.cli.client.live.icons import Icons
from pushctl.cli.client.live.screen import Screen
from pushctl.cli.client.live.screen_view import Look, frame
from pushctl.client import events
from pushctl.client.http import open_client
from pushctl.client.phone import BoxOfficeAnswer, Phone
from pushctl.client.store import Store
from pushctl.protocol import frames
from pushctl.protocol.frames import Notification
from tests.unit.cli.screens import CONNECTED, SYNCED, arrive, press, rows, shown
from tests.unit.client.builders import NOW_MS, SetClock, cursor, message, push_url


async def test_the_screen_at_80_columns(phone: Phone, clock: SetClock) -> None:
    phone.store.put_push_url(push_url(icon="https://news.example/i.png"))
    arrive(phone, "older", "newer")
    phone.box_office = BoxOfficeAnswer(NOW_MS + 9_000, 2)
    screen = Screen(phone, clock)
    screen.take(CONNECTED)
    screen.take(SYNCED)
    press(screen, "down")
    assert shown(screen, 80, 12) == [
        " pushctl  alice@dev-idp.localhost · laptop           ● s1  ws://127.0.0.1:41235/",
        "up to date (delta)                                 Box Office, 3s ago: 2 servers",
        "── Push URLs: 1 ────────────────────────────────────────────────────────────────",
        "   N   news.example                                               2 unread   12s",
        "── Messages: 2 unread ──────────────────────────────────────────────────────────",
        "▸ ●  now normal    N  news.example  News — newer",
        "  ●  now normal    N  news.example  News — older",
        *([""] * 4),
        "r read   A all   a allow   x revoke   Enter open   Tab list   ? help   q quit",
    ]
    assert shown(screen, 80, 24)[3:5] == [
        "   N   news.example                                               2 unread   12s",
        "       http://127.0.0.1:1/push/p1",
    ]


async def test_a_narrow_screen_gives_the_connection_a_line_of_its_own(phone: Phone, clock: SetClock) -> None:
    screen = Screen(phone, clock)
    screen.take(CONNECTED)
    assert shown(screen, 48, 12)[:3] == [
        " pushctl  alice@dev-idp.localhost · laptop",
        "● s1  ws://127.0.0.1:41235/",
        "catching up",
    ]
    assert shown(screen, 30, 12)[-1] == "r read   ? help   q quit"


async def test_it_says_why_it_is_not_connected_and_counts_down(phone: Phone, clock: SetClock) -> None:
    screen = Screen(phone, clock)
    screen.take(events.Disconnected("ws://x/", 4001, "draining", "box_office", 5000))
    assert (state(screen), shown(screen)[1]) == ("○ not connected, again in 5 s", "4001: draining")
    clock.now_ms += 3000
    assert state(screen) == "○ not connected, again in 2 s"
    clock.now_ms += 3000
    assert state(screen) == "○ not connected, trying"
    screen.take(events.Retrying("nobody there" * 20, 9000))
    assert state(screen) == "○ not connected, again in 9 s", "however long the reason is"
    screen.take(CONNECTED)
    assert shown(screen)[1] == "catching up"


def state(screen: Screen) -> str:
    """At the end of the first line."""
    return shown(screen)[0].partition("laptop")[2].strip()


async def test_a_long_list_scrolls_with_the_selection_and_says_where_it_is(phone: Phone) -> None:
    arrive(phone, *(f"m{number:02}" for number in range(60)))
    screen = Screen(phone)
    assert rows(screen)[0] == "●m59"
    press(screen, "end")
    assert rows(screen)[-1] == "▸●m00"
    assert any("(43-60 of 60)" in line for line in shown(screen))
    for _ in range(30):
        press(screen, "up")
    assert "▸●m30" in rows(screen)
    press(screen, "page-up")
    assert "▸●m40" in rows(screen)


async def test_many_push_urls_scroll_and_get_room_when_they_are_looked_at(phone: Phone) -> None:
    for number in range(30):
        phone.store.put_push_url(push_url(f"p{number:02}", site=f"https://s{number:02}.example"))
    screen = Screen(phone)
    assert sites(screen) == 9, "there is nothing else to show"
    arrive(phone, *(f"m{number:02}" for number in range(40)))
    screen.take(SYNCED)
    assert sites(screen) == 3
    press(screen, "tab", "end")
    assert sites(screen) == 6
    assert any(line.startswith("▸") and "s00.example" in line for line in shown(screen))


def sites(screen: Screen) -> int:
    """How many push URLs are shown."""
    return sum(bool(re.search(r" s\d\d\.example", line)) for line in shown(screen))


async def test_a_message_in_full_is_wrapped_and_scrolls(phone: Phone, clock: SetClock) -> None:
    long = message("m1", notification=Notification(title="T", body="first\n" + "word " * 400 + "\nlast", tag="t1"))
    phone.store.apply_event(frames.MessageEvent(cursor(1), long), "very-low")
    screen = Screen(phone, clock)
    press(screen, "down", "enter")
    top = shown(screen)
    assert top[7:9] == ["first", ("word " * 16).rstrip()]
    press(screen, "end")
    bottom = shown(screen)
    assert "last" in bottom
    assert "tag       t1" in bottom
    assert bottom[2].startswith("── Message (")
    press(screen, "home")
    assert shown(screen) == top


async def test_help_says_how_icons_are_shown(phone: Phone, clock: SetClock) -> None:
    screen = Screen(phone, clock)
    press(screen, "?")
    icons = Icons()
    assert "Icons: letters: there are no colours here" in shown(screen, look=Look(icons))
    assert "Icons: half blocks" in shown(screen, look=Look(icons, blocks=True))
    screen.terminal = "kitty(0.32)"
    assert "Icons: pictures (kitty(0.32) shows them)" in shown(screen, look=Look(icons, pictures=True))
    icons.available = False
    assert "Icons: letters (pip install 'pushctl[icons]' for pictures)" in shown(screen, look=Look(icons))


async def test_a_service_that_says_no_moments_is_shown_all_the_same(phone: Phone, clock: SetClock) -> None:
    phone.store.put_push_url(frames.PushUrl("p1", "https://x.example", "http://x/", None, None, "yesterday"))
    page = frames.SnapshotFrame([], [message("m1", sent_at="now")], cursor(1), True)
    phone.store.apply_delta(
        frames.DeltaFrame([frames.MessageEvent(cursor(1), page.messages[0])], cursor(1), True), "low"
    )
    screen = Screen(phone, clock)
    press(screen, "tab")
    assert any(line.endswith("?") for line in shown(screen))
    press(screen, "enter")
    assert "allowed   yesterday, ?" in shown(screen)


@settings(max_examples=12, deadline=None)
@given(
    st.integers(1, 140),
    st.integers(1, 50),
    st.lists(st.tuples(st.text(), st.text()), max_size=8),
    st.text(),
    st.sampled_from([(), ("a",), ("a", "x", "enter"), ("tab", "x"), ("tab", "enter"), ("enter",), ("?", "end")]),
    st.booleans(),
)
def test_nothing_is_wider_or_higher_than_the_terminal(
    tmp_path_factory: pytest.TempPathFactory,
    width: int,
    height: int,
    texts: list[tuple[str, str]],
    reason: str,
    keys: tuple[str, ...],
    blocks: bool,
) -> None:
    with Store(tmp_path_factory.mktemp("screens") / "a.sqlite3", SetClock()) as store:
        phone = Phone(store, open_client("http://127.0.0.1:1"), api_url="http://x", boxoffice_url="http://x")
        for number, (title, site) in enumerate(texts):
            said = message(f"m{number}", site=site, notification=Notification(title=title, body="日本語" * 20))
            store.apply_event(frames.MessageEvent(cursor(number), said), "very-low")
            store.put_push_url(push_url(f"p{number}", site=site, icon=f"data:image/png,{title}"))
        screen = Screen(phone, SetClock())
        screen.take(events.Retrying(reason, 1000))
        press(screen, "down", *keys)
        found = frame(screen, Look(Icons(), blocks=blocks), width, height)
    assert len(found) == height
    assert all(line.cell_len <= width and line.plain.isprintable() for line in found)
    console = Console(width=width, height=height, file=open("/dev/null", "w"), force_terminal=True)  # noqa: SIM115
    with console.file:
        assert all(len(console.render_lines(line, pad=False)) == 1 for line in found)
