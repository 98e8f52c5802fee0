"""The headers of an encrypted body: what each encoding needs and must not have, and what travels on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushctl.errors import EncodingInvalid
from pushctl.protocol.frames import EncryptionHeaders
from pushctl.webpush.encoding import encryption_of

NEW = "aes128gcm"
OLD = "aesgcm"


def of(encoding: str, encryption: str | None = None, crypto_key: str | None = None, older: str | None = None) -> object:
    return encryption_of(encoding, encryption=encryption, crypto_key=crypto_key, encryption_key=older)


def refused(field: str, *headers: str | None) -> bool:
    with pytest.raises(EncodingInvalid) as caught:
        of(*headers)  # type: ignore[arg-type]
    return (caught.value.status, caught.value.errno, caught.value.field) == (400, 110, field)


@pytest.mark.parametrize("encoding", ["aes128gcm", "AES128GCM"])
def test_of_aes128gcm_nothing_travels_beside_the_body(encoding: str) -> None:
    assert of(encoding) == (NEW, None)
    assert of(encoding, "rs=4096", "p256ecdsa=abc; keyid=x") == (NEW, None)


def test_aes128gcm_has_its_parameters_in_the_body_only() -> None:
    assert refused("Encryption", NEW, "salt=abc")
    assert refused("Encryption", NEW, 'rs=4096; SALT = "abc"')
    assert refused("Crypto-Key", NEW, None, "p256ecdsa=abc, dh=def")


@pytest.mark.parametrize(
    ("encryption", "crypto_key", "expected"),
    [
        ("salt=abc", "dh=def", EncryptionHeaders("salt=abc", "dh=def")),
        ("salt=abc", None, EncryptionHeaders("salt=abc", None)),
        (
            'keyid="p256dh"; salt="abc=="; rs=4096',
            "dh=def",
            EncryptionHeaders("keyid=p256dh;salt=abc;rs=4096", "dh=def"),
        ),
        ("salt=abc", 'keyid=p256dh;dh="def==";p256ecdsa=KEY', EncryptionHeaders("salt=abc", "keyid=p256dh;dh=def")),
        ("salt=abc", "p256ecdsa=KEY,dh=def", EncryptionHeaders("salt=abc", "dh=def")),
        ("SALT=abc", "DH=def , keyid=a; dh=ghi", EncryptionHeaders("salt=abc", "dh=def,keyid=a;dh=ghi")),
    ],
)
def test_of_aesgcm_salt_and_key_travel_without_quotes_padding_and_the_senders_vapid_key(
    encryption: str, crypto_key: str | None, expected: EncryptionHeaders
) -> None:
    assert of(OLD, encryption, crypto_key) == (OLD, expected)


def test_aesgcm_needs_a_salt_and_a_key_where_there_is_a_crypto_key() -> None:
    for encryption in (None, "", "rs=4096", "salt=", 'salt=""', "salt=a+b", "salt"):
        assert refused("Encryption", OLD, encryption, "dh=def")
    for crypto_key in ("", "p256ecdsa=KEY", "dh=", "dh=ä"):
        assert refused("Crypto-Key", OLD, "salt=abc", crypto_key)
    assert refused("Encryption-Key", OLD, "salt=abc", "dh=def", "dh=def")


@pytest.mark.parametrize("encoding", ["", "gzip", "identity", "aesgcm128", "aesgcm, gzip", "aes128gcm;q=1"])
def test_other_encodings_are_refused(encoding: str) -> None:
    assert refused("Content-Encoding", encoding)


pairs = st.lists(st.sampled_from(["salt", "dh", "p256ecdsa", "=", ";", ",", '"', "abc", " ", "\xff"])).map("".join)


@given(st.sampled_from([NEW, OLD]), st.none() | pairs, st.none() | pairs)
def test_whatever_arrives_never_tells_the_senders_key(encoding: str, encryption: str | None, key: str | None) -> None:
    try:
        _, travels = encryption_of(encoding, encryption=encryption, crypto_key=key, encryption_key=None)
    except EncodingInvalid:
        return
    for value in (travels and travels.encryption, travels and travels.crypto_key):
        assert not value or not ({'"', " "} & set(value) or "p256ecdsa=" in value.replace(",", ";").split(";"))
