"""The window of a browser: how many messages it may owe an answer for, and for how long."""

from pushctl.ids import MessageRef
from roles.socket.window import Window


def ref(seq: int, tag: int = 1) -> MessageRef:
    return MessageRef(seq, tag, "k", 0)


def test_each_acknowledgement_makes_room_once() -> None:
    window = Window(3, stall_seconds=10)
    for seq in range(3):
        window.sent(ref(seq), 0)
    assert window.room == 0
    window.done([ref(1), ref(1), ref(7)], 0)
    assert window.room == 1
    assert not window.holds(ref(1))
    assert window.holds(ref(2))
    assert not window.holds(ref(2, tag=2))


def test_only_a_full_window_that_stays_full_is_stalled() -> None:
    window = Window(2, stall_seconds=10)
    window.sent(ref(1), 0)
    assert not window.is_stalled(100)
    window.sent(ref(2), 100)
    assert not window.is_stalled(110)
    assert window.is_stalled(110.1)
    window.wait_for(110)  # we could not have heard it
    assert not window.is_stalled(120)
    window.done([ref(9)], 120)  # it says something, at least
    assert not window.is_stalled(130)
    assert window.is_stalled(131)
