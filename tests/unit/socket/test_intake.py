"""What a peer's frames may cost."""

from contextlib import suppress

from roles.socket.intake import (
    BYTES_PER_FRAME,
    FLOOD_SECONDS,
    FRAMES_AT_ONCE,
    FRAMES_PER_SECOND,
    Pace,
    TooFast,
)


def test_a_peer_in_its_pace_never_waits() -> None:
    pace, now = Pace(), 1000.0
    for _ in range(1000):
        now += 1 / FRAMES_PER_SECOND
        assert pace.wait_seconds(1, 0, now) == 0
    assert pace.wait_seconds(FRAMES_AT_ONCE - 1, 0, now + 0.01) == 0


def test_a_peer_that_sends_more_is_read_in_its_pace() -> None:
    pace, now = Pace(), 1000.0
    frames = 0
    with suppress(TooFast):
        while frames < 1_000_000:
            now += pace.wait_seconds(50, 0, now)
            frames += 50
    assert now - 1000 <= FLOOD_SECONDS + 1
    assert frames <= FRAMES_AT_ONCE + 100 + FRAMES_PER_SECOND * (now - 1000)


def test_a_peer_that_was_too_fast_for_a_moment_is_forgiven() -> None:
    pace, now = Pace(), 1000.0
    for _ in range(10):
        now += pace.wait_seconds(FRAMES_AT_ONCE + 200, 0, now)
        assert pace.wait_seconds(0, 0, now) == 0
        now += 10


def test_large_frames_count_as_several() -> None:
    pace, now = Pace(), 1000.0
    octets = 0
    with suppress(TooFast):
        while octets < 100_000_000:
            now += pace.wait_seconds(0, 4096, now)
            octets += 4096
    assert now - 1000 <= FLOOD_SECONDS + 1
    assert octets <= BYTES_PER_FRAME * (FRAMES_AT_ONCE + 100 + FRAMES_PER_SECOND * (now - 1000))


def test_the_largest_frame_that_means_anything_is_read_at_once() -> None:
    assert Pace().wait_seconds(1, 65_536, 1000.0) == 0
