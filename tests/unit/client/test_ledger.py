"""The bookkeeping of a swarm: it finds what is lost, doubled or out of order, and accuses nobody who is innocent."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushctl.client.intake import Intake
from pushctl.client.ledger import MOST_EPHEMERAL, DeviceLedger, UserLedger
from pushctl.client.report import Tally
from pushctl.clock import rfc3339
from pushctl.protocol import frames
from pushctl.protocol.frames import FrameInvalid
from tests.unit.client.builders import HOUR_MS, NOW_MS, SetClock, cursor, message


class Household:
    """Devices of one user, and what is counted of them."""

    def __init__(self, devices: int = 1, *, reads: bool = False) -> None:
        self.tally = Tally()
        self.user = UserLedger()
        self.clock = SetClock()
        self.devices = [
            DeviceLedger(self.user, number, self.tally, clock=self.clock, wants_to_read=lambda: reads)
            for number in range(devices)
        ]
        for device in self.devices:
            device.apply_snapshot([frames.SnapshotFrame([], [], cursor(1), True)])

    @property
    def wrong(self) -> tuple[int, int, int]:
        return self.tally.skipped, self.tally.duplicate, self.tally.reordered


def live(device: DeviceLedger, *events: frames.Event, min_urgency: frames.Urgency = "very-low") -> None:
    for event in events:
        device.apply_event(event, min_urgency)


def msg(seq: int, name: str = "") -> frames.MessageEvent:
    return frames.MessageEvent(cursor(seq), message(name or f"m{seq}"))


def read(seq: int, *names: str) -> frames.ReadEvent:
    return frames.ReadEvent(cursor(seq), list(names))


# --- what is right ---------------------------------------------------------------------------------------------------


def test_events_in_order_are_received_and_nothing_is_wrong() -> None:
    home = Household()
    live(home.devices[0], msg(2), msg(3), read(4, "m2"), msg(5))
    assert (home.tally.received_live, home.wrong) == (3, (0, 0, 0))
    assert home.devices[0].cursor == cursor(5)


def test_each_device_of_a_user_receives_for_itself() -> None:
    home = Household(2)
    for device in home.devices:
        live(device, msg(2))
    assert (home.tally.received_live, home.wrong) == (2, (0, 0, 0))


def test_what_another_device_has_read_before_this_one_hears_of_it_is_no_duplicate() -> None:
    home = Household(2)
    first, second = home.devices
    live(first, msg(2), read(3, "m2"))
    live(second, msg(2), read(3, "m2"))
    assert (home.tally.received_live, home.wrong) == (2, (0, 0, 0))
    assert not home.user._unread


def test_a_delta_leaves_out_what_is_no_longer_unread() -> None:
    home = Household()
    home.devices[0].apply_delta(frames.DeltaFrame([read(4, "m2"), msg(9)], cursor(12), True), "very-low")
    live(home.devices[0], msg(13))
    assert (home.tally.received_later, home.tally.received_live, home.wrong) == (1, 1, (0, 0, 0))


def test_a_snapshot_repeats_what_is_unread_and_takes_away_what_is_not() -> None:
    home = Household(2)
    device, other = home.devices
    for each in home.devices:
        live(each, msg(2), msg(3))
    device.apply_snapshot([frames.SnapshotFrame([], [message("m3"), message("m4")], cursor(9), True)])
    assert (home.tally.received_later, home.wrong) == (1, (0, 0, 0))
    assert [device.has(name) for name in ("m2", "m3", "m4")] == [False, True, True]
    assert [other.has(name) for name in ("m2", "m3", "m4")] == [True, True, False]


def test_a_filtered_snapshot_takes_nothing_away() -> None:
    home = Household()
    live(home.devices[0], msg(2))
    page = frames.SnapshotFrame([], [], cursor(9), True, min_urgency="high")
    home.devices[0].apply_snapshot([page])
    assert home.devices[0].has("m2")


def test_with_a_filter_holes_mean_nothing() -> None:
    home = Household()
    live(home.devices[0], msg(5), msg(9), min_urgency="high")
    assert home.wrong == (0, 0, 0)


def test_a_new_epoch_has_numbers_of_its_own() -> None:
    home = Household()
    page = frames.SnapshotFrame([], [], cursor(1, "b" * 16), True)
    live(home.devices[0], msg(2), msg(3))
    home.devices[0].apply_snapshot([page])
    live(home.devices[0], frames.MessageEvent(cursor(2, "b" * 16), message("n2")))
    assert (home.tally.received_live, home.wrong) == (3, (0, 0, 0))


def test_cursors_of_another_form_are_kept_and_not_judged() -> None:
    home = Household()
    for text in ("tomorrow", "x-1", "yesterday"):
        live(home.devices[0], frames.MessageEvent(text, message(text)))
    assert (home.devices[0].cursor, home.tally.received_live, home.wrong) == ("yesterday", 3, (0, 0, 0))


# --- what is wrong ---------------------------------------------------------------------------------------------------


def test_events_left_out_are_skipped() -> None:
    home = Household()
    live(home.devices[0], msg(2), msg(5))
    assert home.wrong == (2, 0, 0)


def test_an_event_left_out_right_after_the_sync_is_skipped() -> None:
    home = Household()
    home.devices[0].apply_delta(frames.DeltaFrame([], cursor(6), True), "very-low")
    live(home.devices[0], msg(8))
    assert home.wrong == (1, 0, 0)


def test_the_same_event_again_is_a_duplicate() -> None:
    home = Household()
    live(home.devices[0], msg(2), msg(2), msg(3), read(4, "m2"), read(4, "m2"), msg(2))
    assert (home.tally.received_live, home.wrong) == (2, (0, 3, 0))


def test_the_same_message_under_another_number_is_a_duplicate() -> None:
    home = Household()
    live(home.devices[0], msg(2, "m"), msg(3, "m"))
    assert (home.tally.received_live, home.wrong) == (1, (0, 1, 0))


def test_a_delta_that_begins_before_the_cursor_is_full_of_duplicates() -> None:
    home = Household()
    live(home.devices[0], msg(2), msg(3))
    home.devices[0].apply_delta(frames.DeltaFrame([msg(2), msg(3), msg(4)], cursor(4), True), "very-low")
    assert (home.tally.received_later, home.wrong) == (1, (0, 2, 0))


def test_an_event_that_comes_after_later_ones_is_reordered_and_not_skipped() -> None:
    home = Household()
    live(home.devices[0], msg(2), msg(4), msg(3), msg(5))
    assert (home.tally.received_live, home.wrong) == (4, (0, 0, 1))
    assert home.devices[0].cursor == cursor(5)


def test_a_delta_out_of_order_is_reordered() -> None:
    home = Household()
    home.devices[0].apply_delta(frames.DeltaFrame([msg(4), msg(3)], cursor(4), True), "very-low")
    assert (home.tally.received_later, home.wrong) == (2, (0, 0, 1))


def test_a_message_twice_in_a_snapshot_is_a_duplicate() -> None:
    home = Household()
    pages = [
        frames.SnapshotFrame([], [message("a"), message("b")], None, False),
        frames.SnapshotFrame([], [message("a")], cursor(3), True),
    ]
    home.devices[0].apply_snapshot(pages)
    assert (home.tally.received_later, home.wrong) == (2, (0, 1, 0))


def test_a_message_for_now_or_never_that_comes_twice_is_a_duplicate() -> None:
    home = Household(2)
    for device in home.devices:
        live(device, frames.MessageEvent(None, message("now")))
    live(home.devices[0], frames.MessageEvent(None, message("now")))
    assert (home.tally.received_live, home.wrong) == (2, (0, 1, 0))
    assert home.devices[0].cursor == cursor(1)


def test_messages_for_now_or_never_do_not_pile_up() -> None:
    home = Household()
    for number in range(10 * MOST_EPHEMERAL):
        live(home.devices[0], frames.MessageEvent(None, message(f"n{number}")))
    assert len(home.user._ephemeral) == MOST_EPHEMERAL


@given(st.lists(st.sampled_from(range(2, 12)), max_size=25))
def test_whatever_comes_in_whatever_order_the_counts_add_up(order: Sequence[int]) -> None:
    """Every arrival is new, a duplicate or late; what never came below the highest number is skipped."""
    home = Household()
    live(home.devices[0], *(msg(seq) for seq in order))
    came, highest = set(order), max(order, default=1)
    assert home.tally.received_live == len(came)
    assert home.tally.duplicate == len(order) - len(came)
    assert home.tally.skipped == len(set(range(2, highest + 1)) - came)
    firsts = list(dict.fromkeys(order))
    assert home.tally.reordered == sum(seq < max(firsts[: n + 1]) for n, seq in enumerate(firsts))


# --- reads -----------------------------------------------------------------------------------------------------------


def test_a_read_is_owed_until_it_is_confirmed_and_said_again_after_each_hello() -> None:
    home = Household(reads=True)
    device = home.devices[0]
    live(device, msg(2), msg(3))
    assert device.unsaid == ["m2", "m3"]
    device.begin_connection()
    assert device.unsaid == []
    live(device, read(4, "m2"))
    device.repeat_reads()
    assert (device.unsaid, home.tally.reads, home.tally.reads_confirmed) == (["m3"], 2, 1)


def test_a_read_of_what_expired_or_is_gone_is_not_owed_any_more() -> None:
    home = Household(reads=True)
    device = home.devices[0]
    live(device, msg(2), frames.MessageEvent(cursor(3), message("m3", expires_at=rfc3339(NOW_MS + 2 * HOUR_MS))))
    home.clock.now_ms += HOUR_MS
    device.repeat_reads()
    assert device.unsaid == ["m3"]
    device.apply_snapshot([frames.SnapshotFrame([], [], cursor(9), True)])
    device.repeat_reads()
    assert device.unsaid == []


def test_a_message_for_now_or_never_is_not_marked_read() -> None:
    home = Household(reads=True)
    live(home.devices[0], frames.MessageEvent(None, message("now")))
    assert home.devices[0].unsaid == []


# --- foreign servers -------------------------------------------------------------------------------------------------


def test_latency_is_from_when_the_service_took_it_to_when_it_is_here() -> None:
    home = Household()
    home.clock.now_ms += 250
    live(home.devices[0], msg(2))
    assert home.tally.latency.percentile(1.0) == 250


def test_what_is_no_moment_or_has_no_cursor_is_a_frame_of_nobody() -> None:
    home = Household()
    device = home.devices[0]
    with pytest.raises(FrameInvalid):
        live(device, frames.MessageEvent(cursor(2), message("m", sent_at="now")))
    with pytest.raises(FrameInvalid):
        device.apply_delta(frames.DeltaFrame([frames.MessageEvent(None, message("n"))], cursor(2), True), "very-low")
    with pytest.raises(FrameInvalid):
        device.apply_snapshot([frames.SnapshotFrame([], [], None, True)])


def test_a_ledger_takes_frames_in_by_the_same_door_as_a_store() -> None:
    home = Household()
    intake = Intake(home.devices[0], "very-low")
    assert intake.take(frames.SnapshotFrame([], [message("m1")], None, False)) == []
    assert not home.devices[0].has("m1")
    intake.take(frames.SnapshotFrame([], [message("m2")], cursor(7), True))
    assert (home.devices[0].has("m1"), intake.acknowledged()) == (True, cursor(7))
