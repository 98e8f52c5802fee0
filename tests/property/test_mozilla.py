"""Whatever a browser sends, it is a frame or the one protocol error, and no channel id is spelled anew."""

import json
from contextlib import suppress
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pushctl.protocol import mozilla
from tests.property.test_frames import JSON

TYPES = st.sampled_from(
    ["hello", "register", "unregister", "ack", "nack", "broadcast_subscribe", "ping", "purge", "notification", ""]
)
MEMBERS = st.sampled_from(["uaid", "channelID", "key", "updates", "version", "code", "broadcasts", "use_webpush", "x"])
FRAMES = st.builds(
    lambda kind, members: json.dumps({"messageType": kind, **members}),
    TYPES,
    st.dictionaries(MEMBERS, JSON, max_size=4),
)


def parses_or_is_refused(message: str | bytes) -> None:
    """Anything but a frame or a Violation comes out of here."""
    with suppress(mozilla.Violation):
        assert isinstance(mozilla.decode(message), mozilla.Frame)


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_message_is_a_frame_or_the_one_error(message: str | bytes) -> None:
    parses_or_is_refused(message)


@given(FRAMES)
def test_any_members_are_a_frame_or_the_one_error(message: str) -> None:
    parses_or_is_refused(message)


@given(st.lists(st.tuples(FRAMES | st.just("{}"), st.floats(0, 100)), max_size=20))
def test_a_conversation_hears_hello_once_first_and_pings_with_their_gap(said: list[tuple[str, float]]) -> None:
    conversation, now = mozilla.Conversation(ping_seconds=45), 0.0
    heard: list[tuple[mozilla.Frame, float]] = []
    for message, pause in said:
        now += pause
        try:
            heard.append((conversation.hear(message, now), now))
        except mozilla.Violation:
            continue
    assert [isinstance(frame, mozilla.Hello) for frame, _ in heard] == [n == 0 for n in range(len(heard))]
    pings = [moment for frame, moment in heard if isinstance(frame, mozilla.Ping)]
    assert all(later - earlier >= 45 for earlier, later in pairwise(pings))


@given(st.uuids(), st.none() | st.text(max_size=100), st.integers(0, 999), st.text(max_size=100))
def test_a_channel_id_comes_back_as_it_was_spelled(channel: object, key: str | None, status: int, url: str) -> None:
    frame = {"messageType": "register", "channelID": str(channel), "key": key}
    registered = mozilla.decode(json.dumps(frame))
    assert isinstance(registered, mozilla.Register)
    reply = json.loads(mozilla.encode(mozilla.RegisterReply(registered.channel, status, url)))
    assert (reply["channelID"], reply["pushEndpoint"]) == (str(channel), url)


@given(st.text(max_size=120))
def test_any_key_is_one_spelling_or_refused(text: str) -> None:
    with suppress(ValueError):
        key = mozilla.parse_key(text)
        assert key is None or mozilla.parse_key(key) == key
