"""Messages that only sender and device can read: the standard's own example, both ends, and what is spoiled."""

import http_ece
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from pushctl.ids import b64url, unb64url
from pushctl.webpush.encryption import (
    MAX_PLAINTEXT_BYTES,
    DeviceKeys,
    Subscription,
    Undecryptable,
    open_message,
    parse_subscription,
    seal_message,
)

PLAINTEXT = b"When I grow up, I want to be a watermelon"

# RFC 8291, section 5
DEVICE = DeviceKeys.parse("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94", "BTBZMqHH6r4Tts7J_aSIgg")
BODY = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_"
    "yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)
SENDER = ec.derive_private_key(int.from_bytes(unb64url("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw")), ec.SECP256R1())
SALT = unb64url("DGv6ra1nlYgDCS1FRnbzlw")


def test_the_example_of_the_standard_opens() -> None:
    assert open_message(unb64url(BODY), "aes128gcm", DEVICE) == PLAINTEXT


def test_the_example_of_the_standard_is_made() -> None:
    assert b64url(seal_message(PLAINTEXT, DEVICE.public(), private=SENDER, salt=SALT)) == BODY


# draft-ietf-webpush-encryption-04, section 5
def test_the_example_of_the_older_draft_opens() -> None:
    device = DeviceKeys.parse("9FWl15_QUQAWDaD3k3l50ZBZQJ4au27F1V4F0uLSD_M", "R29vIGdvbyBnJyBqb29iIQ")
    opened = open_message(
        unb64url("6nqAQUME8hNqw5J3kl8cpVVJylXKYqZOeseZG8UueKpA"),
        "aesgcm",
        device,
        encryption='keyid="dhkey"; salt="lngarbyKfMoi9Z75xYXmkg"',
        crypto_key='keyid="dhkey"; '
        'dh="BNoRDbb84JGm8g5Z5CFxurSqsXWJ11ItfXEWYVLE85Y7CYkDjXsIEc4aqxYaQ1G8BqkXCJ6DPpDrWtdWj_mugHU"',
    )
    assert opened == b"I am the walrus"


def test_each_message_has_a_key_and_a_salt_of_its_own() -> None:
    first, second = [seal_message(b"x", DEVICE.public()) for _ in range(2)]
    assert first[:16] != second[:16]
    assert first[21:86] != second[21:86]


def test_the_longest_message_that_every_service_takes() -> None:
    body = seal_message(b"x" * MAX_PLAINTEXT_BYTES, DEVICE.public())
    assert len(body) == 4096
    assert open_message(body, "aes128gcm", DEVICE) == b"x" * MAX_PLAINTEXT_BYTES
    with pytest.raises(ValueError, match="more than"):
        seal_message(b"x" * 4080, DEVICE.public())


def test_a_message_in_several_records_is_none_whole_or_cut_off_behind_one() -> None:
    device = DEVICE.public()
    body = http_ece.encrypt(
        PLAINTEXT,
        salt=SALT,
        private_key=SENDER,
        dh=unb64url(device.p256dh),
        auth_secret=unb64url(device.auth),
        rs=40,
        version="aes128gcm",
    )
    for spoiled in (body, body[: 21 + 65 + 40]):
        with pytest.raises(Undecryptable):
            open_message(spoiled, "aes128gcm", DEVICE)


def test_keys_are_kept_as_texts() -> None:
    keys = DeviceKeys.generate()
    again = DeviceKeys.parse(*keys.texts())
    assert again.public() == keys.public()
    assert open_message(seal_message(b"x", keys.public()), "aes128gcm", again) == b"x"
    assert not any(secret in repr(keys) for secret in keys.texts())


def test_what_is_for_others_or_spoiled_does_not_open() -> None:
    body = unb64url(BODY)
    for spoiled in (b"", body[:20], body[:21], body[:90], body[:-1], body + b"x", body[:30] + b"x" + body[31:]):
        with pytest.raises(Undecryptable):
            open_message(spoiled, "aes128gcm", DEVICE)
    for keys in (DeviceKeys.generate(), DeviceKeys(DEVICE.private, b"x" * 16)):
        with pytest.raises(Undecryptable):
            open_message(body, "aes128gcm", keys)
    for encoding in ("aesgcm", "gzip", ""):
        with pytest.raises(Undecryptable):
            open_message(body, encoding, DEVICE)


@given(st.binary(max_size=200), st.sampled_from(["aes128gcm", "aesgcm"]), st.text(max_size=30))
@settings(max_examples=50)
def test_whatever_comes_is_plaintext_or_undecryptable(body: bytes, encoding: str, header: str) -> None:
    crypto_key = f"dh={DEVICE.public().p256dh};{header}"
    with pytest.raises(Undecryptable):
        open_message(body, encoding, DEVICE, encryption=f"salt={b64url(SALT)};rs={header}", crypto_key=crypto_key)


def test_a_subscription_is_what_browsers_write() -> None:
    raw = msgspec.json.encode(Subscription("https://push.example/push/x", DEVICE.public()))
    assert msgspec.json.decode(raw).keys() == {"endpoint", "keys", "expirationTime"}
    assert parse_subscription(raw).keys == DEVICE.public()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b'{"endpoint":"x"}',
        b'{"endpoint":"x","keys":{"p256dh":"BA","auth":"BTBZMqHH6r4Tts7J_aSIgg"}}',
        msgspec.json.encode({"endpoint": "x", "keys": {"p256dh": DEVICE.public().p256dh, "auth": "AAAA"}}),
    ],
)
def test_what_is_no_subscription_is_a_mistake(raw: bytes) -> None:
    with pytest.raises(ValueError, match="no subscription"):
        parse_subscription(raw)
