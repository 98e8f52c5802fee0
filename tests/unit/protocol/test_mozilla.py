"""Mozilla's frames: what Firefox was seen to send, what it reads, and what is refused."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pushctl.protocol import mozilla
from pushctl.protocol.mozilla import Conversation, Violation

CHANNEL = "52869f40-6148-475f-9b72-e7987bf4fe86"
HELLO = '{"messageType":"hello","broadcasts":{},"use_webpush":true}'


def greeted(ping_seconds: float = 45) -> Conversation:
    conversation = Conversation(ping_seconds=ping_seconds)
    conversation.hear(HELLO, 0)
    return conversation


@pytest.mark.parametrize(
    ("members", "frame"),
    [
        ({"channelID": CHANNEL, "messageType": "register", "key": "BL6d"}, mozilla.Register(CHANNEL, "BL6d")),
        ({"channelID": CHANNEL, "messageType": "register", "key": None}, mozilla.Register(CHANNEL)),
        ({"channelID": CHANNEL, "messageType": "unregister", "code": 200}, mozilla.Unregister(CHANNEL, 200)),
        (
            {"messageType": "ack", "updates": [{"channelID": CHANNEL, "version": "Zxf9", "code": 100}]},
            mozilla.Ack([mozilla.Update("Zxf9", 100)]),
        ),
        ({"messageType": "nack", "version": "v17", "code": 301}, mozilla.Nack("v17", 301)),
        (
            {"messageType": "broadcast_subscribe", "broadcasts": {"remote-settings/monitor_changes": '"0"'}},
            mozilla.BroadcastSubscribe({"remote-settings/monitor_changes": '"0"'}),
        ),
        ({}, mozilla.Ping()),
        ({"messageType": "ping"}, mozilla.Ping()),
    ],
)
def test_what_firefox_sends_is_understood(members: dict[str, object], frame: mozilla.Frame) -> None:
    assert greeted().hear(json.dumps(members), 1) == frame


def test_hello_comes_once_and_first() -> None:
    with pytest.raises(Violation, match="hello is said once"):
        greeted().hear(HELLO, 1)
    for first in ("{}", '{"messageType":"nack","version":"v"}'):
        with pytest.raises(Violation) as refused:
            Conversation(ping_seconds=0).hear(first, 0)
        assert (refused.value.close_with, refused.value.reason) == (1011, "SM")


def test_the_first_ping_is_free_and_the_next_has_to_wait() -> None:
    conversation = greeted()
    for moment, allowed in ((10, True), (54.9, False), (55, True), (99, False)):
        if allowed:
            assert conversation.hear("{}", moment) == mozilla.Ping()
        else:
            with pytest.raises(Violation, match="pings too often"):
                conversation.hear("{}", moment)


@pytest.mark.parametrize("channel", [CHANNEL.upper(), CHANNEL.replace("-", ""), "x", "", CHANNEL + "\n"])
@pytest.mark.parametrize("kind", ["register", "unregister"])
def test_a_channel_is_a_uuid_in_its_canonical_spelling(kind: str, channel: str) -> None:
    with pytest.raises(Violation) as refused:
        greeted().hear(json.dumps({"messageType": kind, "channelID": channel}), 1)
    assert refused.value.reason == "SM"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "nonsense",
        '{"messageType":"purge"}',
        '{"messageType":"register"}',
        '{"messageType":"ack","updates":[{"code":100}]}',
        json.dumps({"messageType": "ack", "updates": [{"version": "v"}] * 1001}),
        json.dumps({"messageType": "broadcast_subscribe", "broadcasts": {str(n): "" for n in range(101)}}),
        '{"nothing":"known"}',
        "[" * 100_000,
        '{"messageType":"nack","x":' + '{"x":' * 100_000,
    ],
)
def test_what_is_no_frame_is_the_one_error_which_repeats_nothing(text: str) -> None:
    with pytest.raises(Violation) as refused:
        greeted().hear(text, 1)
    assert (refused.value.close_with, refused.value.reason) == (1011, "Json")
    assert refused.value.detail == "no frame of this protocol"


def test_a_binary_frame_is_not_supported() -> None:
    with pytest.raises(Violation) as refused:
        greeted().hear(b"{}", 1)
    assert (refused.value.close_with, refused.value.reason) == (1003, "UnsupportedMessage")


def test_a_key_is_read_in_every_spelling_of_base64() -> None:
    point = b""
    while b"+" not in base64.b64encode(point) or b"/" not in base64.b64encode(point):
        key = ec.generate_private_key(ec.SECP256R1()).public_key()
        point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    canonical = base64.urlsafe_b64encode(point).decode().rstrip("=")
    for spelling in (canonical, canonical + "=", base64.b64encode(point).decode()):
        assert mozilla.parse_key(spelling) == canonical
    assert mozilla.parse_key(None) is None
    for bad in ("AAAA", "é", base64.urlsafe_b64encode(b"\4" + bytes(64)).decode(), canonical[:-1]):
        with pytest.raises(ValueError):  # noqa: PT011 - any
            mozilla.parse_key(bad)


def test_replies_are_spelled_as_firefox_reads_them() -> None:
    headers = mozilla.Headers("aesgcm", "salt=a", "dh=b")
    replies: list[tuple[mozilla.Reply, object]] = [
        (
            mozilla.HelloReply("u", {"a": "1", "errors": {"b": "Broadcast not found"}}),
            {
                "messageType": "hello",
                "uaid": "u",
                "status": 200,
                "use_webpush": True,
                "broadcasts": {"a": "1", "errors": {"b": "Broadcast not found"}},
            },
        ),
        (
            mozilla.RegisterReply("c", 200, "http://x/"),
            {"messageType": "register", "channelID": "c", "status": 200, "pushEndpoint": "http://x/"},
        ),
        (mozilla.UnregisterReply("c", 200), {"messageType": "unregister", "channelID": "c", "status": 200}),
        (mozilla.Notification("c", "v"), {"messageType": "notification", "channelID": "c", "version": "v"}),
        (
            mozilla.Notification("c", "v", "AA", headers),
            {
                "messageType": "notification",
                "channelID": "c",
                "version": "v",
                "data": "AA",
                "headers": {"encoding": "aesgcm", "encryption": "salt=a", "crypto_key": "dh=b"},
            },
        ),
    ]
    for reply, spelled in replies:
        assert json.loads(mozilla.encode(reply)) == spelled
    assert json.loads(mozilla.encode(mozilla.Notification("c", "v", "AA", mozilla.Headers("aes128gcm"))))[
        "headers"
    ] == {"encoding": "aes128gcm"}
