"""What a peer's frames may cost."""

from contextlib import suppress
from sys import getsizeof

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roles.socket.intake import (
    BYTES_PER_FRAME,
    FLOOD_SECONDS,
    FRAMES_AT_ONCE,
    FRAMES_PER_SECOND,
    MAX_PIECES,
    Assembly,
    Pace,
    TooFast,
    TooLarge,
)


@given(st.lists(st.text(max_size=5), min_size=1, max_size=300))
def test_a_text_message_is_its_pieces_however_many(pieces: list[str]) -> None:
    assembly = Assembly(100_000)
    for _ in range(2):
        assert all(assembly.add(piece, last=False) is None for piece in pieces[:-1])
        assert assembly.add(pieces[-1], last=True) == "".join(pieces)


@given(st.lists(st.binary(max_size=5), min_size=1, max_size=300))
def test_a_binary_message_is_its_pieces_however_many(pieces: list[bytes]) -> None:
    assembly = Assembly(100_000)
    for piece in pieces[:-1]:
        assert assembly.add(piece, last=False) is None
    assert assembly.add(pieces[-1], last=True) == b"".join(pieces)


@pytest.mark.parametrize("piece", ["", "x", "\u20ac"])
def test_thousands_of_fragments_take_little_memory(piece: str) -> None:
    assembly = Assembly(100_000)
    for _ in range(20_000):
        assembly.add(piece, last=False)
    held = assembly._pieces
    assert len(held) <= MAX_PIECES + 1
    assert sum(map(getsizeof, held)) < 150_000


def test_a_message_is_measured_in_bytes() -> None:
    assert Assembly(3).add("\u20ac", last=True) == "\u20ac"
    with pytest.raises(TooLarge):
        Assembly(2).add("\u20ac", last=True)
    assembly = Assembly(3)
    assembly.add(b"ab", last=False)
    with pytest.raises(TooLarge):
        assembly.add(b"cd", last=False)


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
