"""Portions: a snapshot whole or not at all, and no acknowledgement of what is not in the store."""

import pytest

from pushctl.client import events
from pushctl.client.intake import Intake
from pushctl.client.store import Store
from pushctl.protocol import frames
from pushctl.protocol.frames import FrameInvalid
from tests.unit.client.builders import cursor, message, push_url

PAGE = frames.SnapshotFrame([push_url()], [message("m1")], None, False)
LAST = frames.SnapshotFrame([], [message("m2")], cursor(7), True)
LIVE = frames.MessageEvent(cursor(8), message("m3"))


@pytest.fixture
def intake(store: Store) -> Intake:
    return Intake(store, "very-low")


def test_a_snapshot_is_applied_with_its_last_page_and_counted(store: Store, intake: Intake) -> None:
    assert intake.take(PAGE) == []
    assert (store.messages(), store.push_urls(), intake.acknowledged()) == ([], [], None)
    news = intake.take(LAST)
    assert news[-1] == events.SyncEvent("snapshot", None, 1, 2, cursor(7))
    assert len(store.messages()) == 2
    assert (intake.acknowledged(), intake.acknowledged()) == (cursor(7), None)


def test_a_delta_is_counted_over_its_pages(store: Store, intake: Intake) -> None:
    news = intake.take(frames.DeltaFrame([LIVE], cursor(8), False))
    assert [type(event) for event in news] == [events.MessageEvent]
    assert store.resume_cursor("very-low") == cursor(8)
    assert intake.take(frames.DeltaFrame([], cursor(9), True)) == [
        events.SyncEvent("delta", 1, None, None, cursor(9)),
    ]


def test_an_event_between_the_pages_of_a_snapshot_is_refused_because_its_cursor_would_claim_too_much(
    store: Store, intake: Intake
) -> None:
    intake.take(PAGE)
    for foreign in (LIVE, frames.DeltaFrame([], cursor(9), True)):
        with pytest.raises(FrameInvalid):
            intake.take(foreign)
    assert store.resume_cursor("very-low") is None


def test_a_message_for_now_or_never_may_come_between_them(intake: Intake) -> None:
    intake.take(PAGE)
    [told] = intake.take(frames.MessageEvent(None, message("now")))
    assert isinstance(told, events.MessageEvent)
    assert intake.acknowledged() is None


def test_frames_are_counted_until_they_are_acknowledged(intake: Intake) -> None:
    for _ in range(3):
        intake.take(LIVE)
    assert intake.frames_unacknowledged == 3
    assert intake.acknowledged() == cursor(8)
    assert intake.frames_unacknowledged == 0
