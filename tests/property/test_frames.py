"""Whatever arrives, it parses or the one protocol error is raised; what we write, we read."""

import json
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pushctl.ids import (
    LARGEST_SEQ,
    LARGEST_TAG,
    Cursor,
    MessageRef,
    Position,
    b64url,
    new_epoch,
    new_id,
    new_tag,
    unb64url,
)
from pushctl.protocol import frames, jobs

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
TYPES = st.sampled_from(["hello", "ack", "read", "token", "ping", "pong", "sync", "message", "welcome"])
MEMBERS = st.sampled_from(["token", "cursor", "min_urgency", "ids", "upto", "mode", "events", "done", "message", "x"])


def decoded_or_refused(raw: str | bytes) -> None:
    """Anything but a frame or a FrameInvalid with a field comes out of here."""
    for decode in (frames.decode_client_frame, frames.decode_server_frame):
        refused = None
        try:
            decode(raw)
        except frames.FrameInvalid as error:
            refused = error
        assert refused is None or (refused.field or "").startswith("$")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_the_one_error(raw: bytes) -> None:
    decoded_or_refused(raw)


@given(TYPES, st.dictionaries(MEMBERS, JSON, max_size=4))
def test_any_members_are_a_frame_or_the_one_error_with_a_field(kind: str, members: dict[str, object]) -> None:
    decoded_or_refused(json.dumps({"type": kind, **members}, ensure_ascii=True))


def test_nesting_without_end_is_the_one_error() -> None:
    for raw in ("[" * 100_000, '{"type":' * 100_000):
        with pytest.raises(frames.FrameInvalid):
            frames.decode_client_frame(raw)


@given(st.binary(max_size=100))
@example(b"\x91\xa4\x00\x00\x00\x80")  # a tag that is not UTF-8
def test_any_bytes_are_a_job_or_the_one_error(raw: bytes) -> None:
    for decode in (jobs.decode_job, jobs.decode_hint):
        with suppress(jobs.JobInvalid):
            decode(raw)


SEQ = st.integers(0, LARGEST_SEQ)
TAG = st.integers(0, LARGEST_TAG)


@given(SEQ, TAG)
def test_cursors_positions_and_references_read_back(seq: int, tag: int) -> None:
    position = Position(seq, tag)
    cursor = Cursor(new_epoch(), position)
    ref = MessageRef(seq, tag, "abcd", seq)
    assert Position.parse(str(position)) == position
    assert Cursor.parse(str(cursor)) == cursor
    assert MessageRef.parse(str(ref)) == ref


@given(st.text(max_size=60))
def test_any_text_is_a_cursor_that_spells_itself_so_or_an_error(text: str) -> None:
    try:
        cursor = Cursor.parse(text)
    except ValueError:
        return
    assert str(cursor) == text


@given(st.text(max_size=20))
def test_any_text_is_the_one_spelling_of_its_bytes_or_an_error(text: str) -> None:
    try:
        raw = unb64url(text)
    except ValueError:
        return
    assert b64url(raw) == text


def test_new_ids_and_tags_are_never_the_same() -> None:
    assert len({new_id() for _ in range(1000)}) == 1000
    assert 0 not in {new_tag() for _ in range(1000)}
