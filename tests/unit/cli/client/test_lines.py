"""One line per thing, whatever a sender wrote into it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushctl.cli.client import lines
from pushctl.client import events
from pushctl.client.store import StoredMessage
from pushctl.protocol.frames import Notification
from tests.unit.client.builders import NOW_MS, message, push_url

EVIL = "\x1b[2J\x1b]0;title\x07\r\n\u202eevil\x9b31m"


def told(**changed: Any) -> events.MessageEvent:
    return events.message_event(
        message("m1", **changed), push_url_icon=None, received_at_ms=NOW_MS + 25, live=True, cursor=None
    )


def stored(**changed: Any) -> StoredMessage:
    return StoredMessage(message("m1", **changed), None, False, True, NOW_MS)


EVERYTHING: list[events.Event] = [
    events.Connected("ws://127.0.0.1:1/", EVIL, "u", "d"),
    events.Disconnected("ws://127.0.0.1:1/", 4001, EVIL, "box_office", 1500),
    events.Disconnected("ws://127.0.0.1:1/", None, EVIL, "server", 0),
    events.Disconnected("ws://127.0.0.1:1/", 4504, EVIL, "login", None),
    events.Disconnected("ws://127.0.0.1:1/", 4502, EVIL, "stop", None),
    events.Retrying(EVIL, 1500),
    told(site=EVIL, notification=Notification(title=EVIL, body=EVIL)),
    events.ReadEvent([EVIL]),
    events.PushUrlEvent(EVIL, EVIL, EVIL, EVIL),
    events.RevokedEvent(EVIL, EVIL),
    events.RevokedEvent(EVIL, None),
    events.DroppedEvent(["m"] * 9, "replaced"),
    events.SyncEvent("delta", 1, None, None, "c"),
    events.SyncEvent("snapshot", None, 1, 2, "c"),
]


@pytest.mark.parametrize("event", EVERYTHING, ids=lambda event: type(event).__name__)
def test_an_event_is_one_line_that_controls_nothing(event: events.Event) -> None:
    shown = lines.event_line(event).plain
    assert shown.isprintable()
    assert shown.strip()


@given(st.text(), st.none() | st.text(), st.none() | st.text())
def test_a_message_is_one_line_that_controls_nothing(site: str, title: str | None, body: str | None) -> None:
    shown = Notification(title=title, body=body)
    assert lines.message_line(stored(site=site, notification=shown), NOW_MS).plain.isprintable()
    assert lines.event_line(told(site=site, notification=shown)).plain.isprintable()


def test_the_words_of_a_message() -> None:
    assert lines.event_line(told()).plain == " N  news.example  News — m1  25 ms  m1"
    assert lines.event_line(told(urgency="high")).plain == " N  news.example  News — m1  high  25 ms  m1"
    assert (
        lines.message_line(stored(), NOW_MS + 61_000).plain
        == "● m1                  1m normal    N  news.example  News — m1"
    )


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"notification": None}, "(empty)"),
        ({"notification": None, "data": "AAAA", "encoding": "aes128gcm"}, "(encrypted, aes128gcm)"),
        ({"notification": Notification(body="only a body")}, "only a body"),
    ],
)
def test_what_a_message_without_title_says(changed: dict[str, Any], text: str) -> None:
    assert lines.event_line(told(**changed)).plain == f" N  news.example  {text}  25 ms  m1"


def test_a_site_keeps_its_letter_and_colour() -> None:
    one, other = lines.initial("https://www.news.example"), lines.initial("https://www.news.example")
    assert (one.plain, one.style) == (" N ", other.style)
    assert len({str(lines.initial(f"https://site{n}.example").style) for n in range(30)}) > 3


def test_push_urls_stand_in_columns() -> None:
    assert lines.push_url_line(push_url(icon="x"), 25).plain == (
        f" N  https://news.example       {push_url().url}  (icon)"
    )


def test_only_what_was_asked_for_is_data() -> None:
    kinds = {type(event).__name__ for event in EVERYTHING if lines.is_data(event)}
    assert kinds == {"MessageEvent", "ReadEvent", "PushUrlEvent", "RevokedEvent", "DroppedEvent"}
