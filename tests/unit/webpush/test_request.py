"""One POST of a third party: what it asks for, or which header or member is wrong."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushctl.clock import system_clock
from pushctl.errors import (
    BodyInvalid,
    BodyTooLarge,
    ContentTypeUnsupported,
    EncodingInvalid,
    NotificationInvalid,
    Problem,
    TopicInvalid,
    TtlInvalid,
    TtlMissing,
    UrgencyInvalid,
    VapidInvalid,
)
from pushctl.ids import unb64url
from pushctl.protocol.frames import EncryptionHeaders, Notification
from pushctl.webpush.request import Push, Rules, parse
from pushctl.webpush.signing import VapidKey
from pushctl.webpush.vapid import Verifier

LONGEST = 259_200
RULES = Rules(LONGEST, 4096, Verifier("https://push.example", system_clock))
TEXT = {"Content-Type": "text/plain"}
JSON = {"Content-Type": "application/json"}


def raw(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def push(headers: dict[str, str], body: bytes = b"") -> Push:
    return parse(raw(headers), body, RULES)


def refusal(headers: dict[str, str] | list[tuple[bytes, bytes]], body: bytes = b"") -> Problem:
    pairs = raw(headers) if isinstance(headers, dict) else headers
    with pytest.raises(Problem) as caught:
        parse(pairs, body, RULES)
    return caught.value


# --- bodies ----------------------------------------------------------------------------------------------------------


def test_an_empty_body_is_a_message_without_content() -> None:
    sent = push({})
    assert (sent.notification, sent.data, sent.encoding, sent.headers, sent.body) == (None, None, None, None, b"")


def test_an_empty_body_may_say_any_content_type() -> None:
    assert push({"Content-Type": "image/png"}).notification is None


@pytest.mark.parametrize("kind", ["text/plain", "text/plain; charset=UTF-8", "application/x-www-form-urlencoded"])
def test_plain_text_becomes_the_body_of_the_notification_as_it_is(kind: str) -> None:
    sent = push({"Content-Type": kind}, "a=b&c=%20 grüße\n".encode())
    assert sent.notification == Notification(body="a=b&c=%20 grüße\n")
    assert sent.body == "a=b&c=%20 grüße\n".encode()


def test_json_becomes_the_notification() -> None:
    whole = {"title": "t", "body": "b", "icon": "i", "url": "u", "tag": "g"}
    assert push(JSON, json.dumps(whole).encode()).notification == Notification("t", "b", "i", "u", "g")
    assert push({"Content-Type": "Application/JSON;charset=utf-8"}, b'{"body":"b","tag":null}').notification == (
        Notification(body="b")
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{}", "$.title"),
        (b'{"icon":"x"}', "$.title"),
        (b'{"title":null,"body":null}', "$.title"),
        (b'{"title":1}', "$.title"),
        (b'{"title":"t","body":["b"]}', "$.body"),
        (b'{"title":"t","colour":"red"}', "$.colour"),
        (b"[]", "$"),
        (b'"text"', "$"),
        (b"null", "$"),
        (b"[" * 4096, "$"),
    ],
)
def test_json_that_is_no_notification_is_refused_with_its_field(body: bytes, field: str) -> None:
    error = refusal(JSON, body)
    assert isinstance(error, NotificationInvalid)
    assert error.field == field


@pytest.mark.parametrize("body", [b"{", b"hello", b'{"title":"\xff"}', b'{"title":"\\ud800"}'])
def test_what_is_no_json_in_utf8_is_an_invalid_body(body: bytes) -> None:
    error = refusal(JSON, body)
    assert isinstance(error, BodyInvalid)
    assert error.field == "$"


def test_text_that_is_not_utf8_is_an_invalid_body() -> None:
    error = refusal(TEXT, b"gr\xfc\xdfe")
    assert isinstance(error, BodyInvalid)
    assert error.field == "$"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": ""},
        {"Content-Type": "text/html"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "text/plain; charset=iso-8859-1"},
        {"Content-Type": "application/jsonp"},
    ],
)
def test_other_content_types_are_415(headers: dict[str, str]) -> None:
    error = refusal(headers, b"hello")
    assert isinstance(error, ContentTypeUnsupported)
    assert (error.status, error.field) == (415, "Content-Type")


def test_a_body_over_the_limit_is_413_with_mozillas_number() -> None:
    assert push(TEXT, b"x" * 4096).notification is not None
    error = refusal(TEXT, b"x" * 4097)
    assert isinstance(error, BodyTooLarge)
    assert (error.status, error.errno) == (413, 104)


# --- headers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_ttl", "used"),
    [
        (None, LONGEST),
        ("0", 0),
        ("60", 60),
        (" 60 ", 60),
        ("007", 7),
        ("259201", LONGEST),
        ("9" * 5000, LONGEST),
        ("0" * 30 + "7", 7),
    ],
)
def test_the_lifetime_is_the_ttl_but_at_most_the_longest(given_ttl: str | None, used: int) -> None:
    assert push({} if given_ttl is None else {"TTL": given_ttl}).ttl_seconds == used


@pytest.mark.parametrize(
    ("ttl", "errno"),
    [("-1", 114), ("", 111), ("1.5", 111), ("+1", 111), ("1 2", 111), ("٣", 111), ("0x10", 111)],
)
def test_a_ttl_that_is_no_number_of_seconds_is_refused(ttl: str, errno: int) -> None:
    error = refusal({"TTL": ttl})
    assert isinstance(error, TtlInvalid)
    assert (error.code, error.field, error.errno) == ("ttl_invalid", "TTL", errno)


@pytest.mark.parametrize("topic", ["a=", "YQ=="])
def test_padding_is_no_part_of_a_topic(topic: str) -> None:
    assert push({"Topic": topic}).topic == topic.rstrip("=")


ENCRYPTED = {"Content-Encoding": "aesgcm", "TTL": "5", "Encryption": 'salt="abc="', "Crypto-Key": "p256ecdsa=K;dh=d"}


def test_an_encrypted_body_is_kept_as_it_came_beside_what_the_device_needs() -> None:
    sent = push(ENCRYPTED | {"Content-Type": "image/png"}, b"\x00\xff")
    assert (sent.data, sent.encoding, sent.notification) == (b"\x00\xff", "aesgcm", None)
    assert sent.headers == EncryptionHeaders("salt=abc", "dh=d")


def test_without_a_body_nothing_is_encrypted() -> None:
    for headers in (ENCRYPTED, {"Content-Encoding": "gzip", "TTL": "5"}):
        sent = push(headers)
        assert (sent.data, sent.encoding, sent.headers, sent.notification) == (None, None, None, None)


KEY = VapidKey.generate()


@pytest.mark.parametrize(
    ("encrypted", "body"),
    [
        ({"Content-Encoding": "aes128gcm"}, b"x" * 20 + b"\x41" + unb64url(KEY.public) + b"x" * 20),
        ({"Content-Encoding": "aesgcm", "Encryption": "salt=abc", "Crypto-Key": f"dh={KEY.public}"}, b"x"),
    ],
    ids=("aes128gcm", "aesgcm"),
)
def test_the_key_that_signs_is_not_the_one_that_encrypts(encrypted: dict[str, str], body: bytes) -> None:
    signed = {"Authorization": KEY.authorization("https://push.example/push/x", system_clock())}
    error = refusal(encrypted | signed | {"TTL": "5"}, body)
    assert (error.code, error.field, error.errno) == ("encoding_invalid", "Crypto-Key", 110)
    other = {"Authorization": VapidKey.generate().authorization("https://push.example/push/x", system_clock())}
    for headers in (encrypted | other, encrypted):
        assert push(headers | {"TTL": "5"}, body).data == body


def test_headers_that_are_lists_may_come_in_several_lines() -> None:
    lines = [*raw(ENCRYPTED), (b"crypto-key", b"keyid=x;dh=e"), (b"prefer", b"a"), (b"prefer", b"respond-async")]
    sent = parse(lines, b"x", RULES)
    assert sent.headers == EncryptionHeaders("salt=abc", "dh=d,keyid=x;dh=e")
    assert sent.receipt


@pytest.mark.parametrize(
    ("prefer", "receipt"),
    [
        ("respond-async", True),
        ("Respond-Async; x=y", True),
        ("wait=10, respond-async", True),
        ("", False),
        ("wait=10", False),
        ("no-respond-async", False),
    ],
)
def test_a_sender_may_prefer_a_receipt(prefer: str, receipt: bool) -> None:
    assert push({"Prefer": prefer}).receipt is receipt


def test_now_or_never_has_no_receipt() -> None:
    assert not push({"Prefer": "respond-async", "TTL": "0"}).receipt


def test_encrypted_messages_need_a_ttl_and_an_encoding_that_devices_read() -> None:
    assert isinstance(refusal({"Content-Encoding": "aes128gcm"}, b"x"), TtlMissing)
    for encoding in ("gzip", "aes128gcm, gzip", "aesgcm128", "identity", ""):
        error = refusal({"Content-Encoding": encoding, "TTL": "5"}, b"x")
        assert isinstance(error, EncodingInvalid)
        assert (error.field, error.errno) == ("Content-Encoding", 110)


@pytest.mark.parametrize("topic", ["a", "A-_9", "x" * 32])
def test_topics_are_up_to_32_base64url_characters(topic: str) -> None:
    assert push({"Topic": topic}).topic == topic


@pytest.mark.parametrize("topic", ["", "x" * 33, "a b", "=", "a=b", "a/b", "ü"])
def test_other_topics_are_refused(topic: str) -> None:
    error = refusal({"Topic": topic})
    assert isinstance(error, TopicInvalid)
    assert (error.field, error.errno) == ("Topic", 113)


def test_urgency_is_one_of_four_words_in_any_case_and_normal_by_default() -> None:
    assert push({}).urgency == "normal"
    assert push({"Urgency": "very-low"}).urgency == "very-low"
    assert push({"Urgency": "High"}).urgency == "high"
    for urgency in ("", "urgent", "low, high", "3"):
        error = refusal({"Urgency": urgency})
        assert isinstance(error, UrgencyInvalid)
        assert error.field == "Urgency"


def test_an_idempotency_key_is_visible_ascii() -> None:
    assert push({"Idempotency-Key": '"a/b:c"'}).idempotency_key == '"a/b:c"'
    assert push({"Idempotency-Key": "x" * 255}).idempotency_key == "x" * 255
    for key in ("", "x" * 256, "a b", "ü"):
        error = refusal({"Idempotency-Key": key})
        assert (error.status, error.field) == (400, "Idempotency-Key")


@pytest.mark.parametrize(
    "name", ["TTL", "Topic", "Urgency", "Idempotency-Key", "Content-Encoding", "Content-Type", "Authorization"]
)
def test_a_header_given_twice_is_refused_by_its_name(name: str) -> None:
    value = {"TTL": b"5", "Urgency": b"low", "Content-Type": b"text/plain"}.get(name, b"x")
    error = refusal([(name.encode(), value), (name.lower().encode(), value)], b"x")
    assert error.field == name
    assert error.status in (400, 401, 415)


@pytest.mark.parametrize("value", ["Bearer abc", "WebPush abc", "Basic eDp5", "vapid t=a, k=b", "vapid", ""])
def test_credentials_on_a_push_url_are_401(value: str) -> None:
    error = refusal({"Authorization": value})
    assert isinstance(error, VapidInvalid)
    assert (error.status, error.code, error.field, error.errno) == (401, "vapid_invalid", "Authorization", 109)
    assert "abc" not in error.detail


# --- whatever comes --------------------------------------------------------------------------------------------------

names = st.sampled_from(
    [b"TTL", b"topic", b"Urgency", b"idempotency-key", b"content-encoding", b"content-type", b"authorization", b"x"]
)
values = st.binary(max_size=40) | st.sampled_from(
    [b"0", b"60", b"-1", b"application/json", b"text/plain", b"text/plain; charset", b"high", b"topic_1"]
)
bodies = st.binary(max_size=60) | st.dictionaries(
    st.sampled_from(["title", "body", "icon", "x"]), st.none() | st.text("aü\n\x00", max_size=5) | st.integers()
).map(lambda value: json.dumps(value).encode())


@given(st.lists(st.tuples(names, values), max_size=5), bodies)
def test_whatever_arrives_is_a_push_or_a_problem(headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    outcome: Push | Problem
    try:
        outcome = parse(headers, body, Rules(LONGEST, 50, RULES.vapid))
    except Problem as error:
        outcome = error
    if isinstance(outcome, Problem):
        assert 400 <= outcome.status < 500
    else:
        assert 0 <= outcome.ttl_seconds <= LONGEST
        assert (outcome.notification is None) == (body == b"")
