"""The state of the live screen: what keys select, mark and ask for."""

import pytest

from pushctl.cli.client.live.keyboard import Named, Paste, Press
from pushctl.cli.client.live.screen import (
    Allow,
    Copy,
    Help,
    InFull,
    Lists,
    Mode,
    Quit,
    Reconnect,
    Redraw,
    Revoke,
    Screen,
    Sure,
    Typing,
)
from pushctl.client.phone import Phone
from pushctl.protocol import frames
from pushctl.protocol.frames import Notification
from tests.unit.cli.screens import arrive, press, rows, shown
from tests.unit.client.builders import SetClock, cursor, message, push_url


@pytest.fixture
def screen(phone: Phone, clock: SetClock) -> Screen:
    """With three messages of one site and the push URLs of two."""
    arrive(phone, "m1", "m2", "m3")
    for name in ("p1", "p2"):
        phone.store.put_push_url(push_url(name, site=f"https://{name}.example"))
    return Screen(phone, clock)


def mode(screen: Screen) -> Mode:
    return screen.mode


async def test_r_reads_the_newest_until_something_is_selected(screen: Screen) -> None:
    press(screen, "r")
    assert rows(screen) == ["○m3", "●m2", "●m1"]
    press(screen, "r")
    assert rows(screen) == ["○m3", "○m2", "●m1"]
    assert screen.phone.store.pending_reads() == ["m2", "m3"]


async def test_keys_select_and_r_reads_the_selected(screen: Screen) -> None:
    press(screen, "down")
    assert rows(screen) == ["▸●m3", "●m2", "●m1"]
    press(screen, "j", "j", "j", "r")
    assert rows(screen) == ["●m3", "●m2", "▸○m1"]
    press(screen, "k")
    assert rows(screen) == ["●m3", "▸●m2", "○m1"]
    press(screen, "g", "up")
    assert rows(screen) == ["▸●m3", "●m2", "○m1"]
    press(screen, "end", "A")
    assert rows(screen) == ["○m3", "○m2", "▸○m1"]


async def test_the_selection_stays_with_its_message_when_others_come_and_go(screen: Screen) -> None:
    store = screen.phone.store
    press(screen, "down", "down")
    new = frames.MessageEvent(cursor(4), message("m4", sent_at="2027-01-15T08:00:59.000Z"))
    for told in store.apply_event(new, "very-low"):
        screen.take(told)
    assert rows(screen) == ["●m4", "●m3", "▸●m2", "●m1"]
    for told in store.apply_event(frames.DroppedEvent(cursor(5), ["m2"], "evicted"), "very-low"):
        screen.take(told)
    assert rows(screen) == ["●m4", "●m3", "▸●m1"]
    for told in store.apply_event(frames.DroppedEvent(cursor(6), ["m1", "m3", "m4"], "evicted"), "very-low"):
        screen.take(told)
    assert rows(screen) == []
    assert press(screen, "down", "r", "enter", "c") is None


async def test_tab_goes_to_the_push_urls_and_back(screen: Screen) -> None:
    press(screen, "tab")
    assert (screen.focus, screen.push_url and screen.push_url.id) == ("push_urls", "p2")
    press(screen, "down")
    assert screen.push_url is not None
    assert screen.push_url.id == "p1"
    press(screen, "tab", "enter")
    assert screen.mode == InFull("m3")


async def test_a_asks_for_a_site_and_gives_it_back_as_an_origin(screen: Screen) -> None:
    press(screen, "a", *"news.exampleq", "backspace")
    assert mode(screen) == Typing("news.example")
    assert press(screen, "enter") == Allow("https://news.example")
    assert mode(screen) == Lists()


async def test_what_is_no_site_can_be_corrected(screen: Screen) -> None:
    assert press(screen, "a", *"news.example/path", "enter") is None
    assert isinstance(screen.mode, Typing)
    assert "is more than a site: write https://news.example" in screen.mode.wrong
    press(screen, "ctrl-u", *"x.example")
    assert press(screen, "enter") == Allow("https://x.example")


async def test_escape_and_an_empty_line_leave_the_prompt(screen: Screen) -> None:
    press(screen, "a", "x", "escape")
    assert screen.mode == Lists()
    assert press(screen, "a", "enter") is None
    assert screen.mode == Lists()


async def test_a_site_can_be_pasted_and_a_paste_is_never_keys(screen: Screen) -> None:
    screen.press(Paste("Aqyx\n"))
    assert (screen.mode, rows(screen)) == (Lists(), ["●m3", "●m2", "●m1"])
    press(screen, "x")
    screen.press(Paste("y"))
    press(screen, "a")
    screen.press(Paste("news.example\n" + "x" * 1000))
    assert isinstance(screen.mode, Typing)
    assert screen.mode.text.startswith("news.example x")
    assert len(screen.mode.text) == 300


async def test_a_new_push_url_is_shown_in_full_and_c_copies_it(screen: Screen) -> None:
    made = push_url("p9", site="https://news.example")
    screen.phone.store.put_push_url(made)
    screen.allowed(made, created=True)
    assert made.url in shown(screen)
    assert press(screen, "c") == Copy(made.url)


async def test_x_asks_before_it_revokes(screen: Screen) -> None:
    press(screen, "tab", "x")
    assert isinstance(screen.mode, Sure)
    assert press(screen, "n") is None
    press(screen, "x")
    assert press(screen, "enter") is None
    press(screen, "x")
    asked = press(screen, "y")
    assert isinstance(asked, Revoke)
    assert asked.push_url.id == "p2"


async def test_x_on_a_message_is_about_its_push_url(screen: Screen) -> None:
    press(screen, "down", "x")
    assert isinstance(screen.mode, Sure)
    assert screen.mode.push_url.id == "p1"


async def test_c_on_a_message_copies_its_link_without_anything_a_terminal_obeys(phone: Phone, clock: SetClock) -> None:
    hostile = message("m1", notification=Notification(title="t", url="https://x.example/\x1b]52;c;AA\a\n"))
    phone.store.apply_event(frames.MessageEvent(cursor(1), hostile), "very-low")
    assert press(Screen(phone, clock), "down", "c") == Copy("https://x.example/ ]52;c;AA  ")


async def test_other_keys_ask_for_what_they_say(screen: Screen) -> None:
    assert press(screen, "R") == Reconnect()
    assert press(screen, "ctrl-l") == Redraw()
    press(screen, "?")
    assert mode(screen) == Help()
    press(screen, "escape")
    assert mode(screen) == Lists()
    assert press(screen, "q") == Quit()


async def test_r_does_nothing_to_messages_while_a_push_url_is_shown(screen: Screen) -> None:
    press(screen, "tab", "enter", "r")
    assert screen.phone.store.pending_reads() == []


async def test_the_name_of_the_terminal_is_no_key(screen: Screen) -> None:
    press(screen, "a")
    screen.press(Named("kitty(0.32)"))
    assert (screen.mode, screen.terminal) == (Typing(), "kitty(0.32)")


async def test_what_was_said_goes_after_a_while_or_with_the_next_key(screen: Screen, clock: SetClock) -> None:
    screen.say("done")
    assert shown(screen)[-1] == "done"
    clock.now_ms += 9_000
    assert shown(screen)[-1] != "done"
    screen.say("done")
    screen.press(Press("down"))
    assert shown(screen)[-1] != "done"
