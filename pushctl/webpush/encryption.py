"""What only sender and device can read: messages encrypted to a subscription's keys.

Owns: both ends of `aes128gcm` (RFC 8291 over RFC 8188) and the device's end of `aesgcm` (the draft before it), each
message one record; the subscription as browsers spell it in JSON.
Promises: `open_message` gives the plaintext or raises Undecryptable, whatever bytes come. No key is in a repr.
Must not know: how a message travels; the service, which never looks into one.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Struct

from pushctl.ids import b64url, unb64url
from pushctl.webpush import public_key
from pushctl.webpush.signing import public_bytes
from pushctl.webpush.vapid import parameters

RECORD_BYTES = 4096
"""Record size: at least the whole message, which is one record (RFC 8291, section 4)."""

MAX_PLAINTEXT_BYTES = 3993
"""What makes a body of 4096 bytes, as much as every push service takes (RFC 8291, section 4)."""

_CURVE = ec.SECP256R1()
_SALT_BYTES = 16
_TAG_BYTES = 16


class Undecryptable(Exception):
    """Not encrypted to these keys, spoiled on the way, or not what the encoding asks for."""


class SubscriptionKeys(Struct, frozen=True):
    """`p256dh`: the device's public key; `auth`: the secret shared with the site. Both in base64url."""

    p256dh: str
    auth: str


class Subscription(Struct, frozen=True):
    """What a page sends to its server: JSON.stringify(subscription)."""

    endpoint: str
    keys: SubscriptionKeys
    expirationTime: int | None = None  # noqa: N815 - the W3C's name


_subscription_decoder = msgspec.json.Decoder(Subscription)


def parse_subscription(raw: bytes) -> Subscription:
    """From the JSON text. ValueError with what is wrong, which repeats no key."""
    try:
        subscription = _subscription_decoder.decode(raw)
    except msgspec.DecodeError as mistake:
        raise ValueError(f"no subscription: {mistake}") from None
    try:
        public_key.parse(subscription.keys.p256dh.rstrip("="))
    except ValueError:
        raise ValueError("no subscription: p256dh is no public key of P-256 in base64url") from None
    try:
        auth = unb64url(subscription.keys.auth.rstrip("="))
    except ValueError:
        auth = b""
    if len(auth) != _SALT_BYTES:
        raise ValueError("no subscription: auth is not 16 bytes in base64url")
    return subscription


@dataclass(frozen=True, slots=True)
class DeviceKeys:
    """The keys of one subscription, as the device has them."""

    private: ec.EllipticCurvePrivateKey = field(repr=False)
    auth: bytes = field(repr=False)

    @classmethod
    def generate(cls) -> "DeviceKeys":
        return cls(ec.generate_private_key(_CURVE), secrets.token_bytes(_SALT_BYTES))

    @classmethod
    def parse(cls, private: str, auth: str) -> "DeviceKeys":
        """From what `texts` gave."""
        return cls(ec.derive_private_key(int.from_bytes(unb64url(private)), _CURVE), unb64url(auth))

    def texts(self) -> tuple[str, str]:
        """(private key, auth) to be kept: secrets."""
        return b64url(self.private.private_numbers().private_value.to_bytes(32)), b64url(self.auth)

    def public(self) -> SubscriptionKeys:
        """What the site is given."""
        return SubscriptionKeys(b64url(public_bytes(self.private)), b64url(self.auth))


def seal_message(
    plaintext: bytes,
    keys: SubscriptionKeys,
    *,
    private: ec.EllipticCurvePrivateKey | None = None,
    salt: bytes | None = None,
) -> bytes:
    """The body of Content-Encoding aes128gcm. `private` and `salt` are fresh for each message but in tests. ValueError
    for a key that is none, or more plaintext than a record takes."""
    if len(plaintext) > RECORD_BYTES - _TAG_BYTES - 1:
        raise ValueError(f"more than {RECORD_BYTES - _TAG_BYTES - 1} bytes")
    private = private or ec.generate_private_key(_CURVE)
    salt = salt or secrets.token_bytes(_SALT_BYTES)
    device, sender = unb64url(keys.p256dh.rstrip("=")), public_bytes(private)
    shared = private.exchange(ec.ECDH(), public_key.from_point(device))
    cipher, nonce = _aes128gcm(shared, unb64url(keys.auth.rstrip("=")), salt, device, sender)
    header = salt + RECORD_BYTES.to_bytes(4) + bytes([len(sender)]) + sender
    return header + cipher.encrypt(nonce, plaintext + b"\x02", None)  # 2: the last record (RFC 8188, section 2)


def open_message(
    body: bytes, encoding: str, keys: DeviceKeys, *, encryption: str | None = None, crypto_key: str | None = None
) -> bytes:
    """The plaintext of a body; `encryption` and `crypto_key`: headers that aesgcm has beside it. Raises
    Undecryptable."""
    opens: dict[str, Callable[[], bytes]] = {
        "aes128gcm": lambda: _open_aes128gcm(body, keys),
        "aesgcm": lambda: _open_aesgcm(body, keys, encryption or "", crypto_key or ""),
    }
    try:
        return opens[encoding]()
    except (LookupError, ValueError, InvalidTag):
        raise Undecryptable from None


def _open_aes128gcm(body: bytes, keys: DeviceKeys) -> bytes:
    salt, record_bytes, length = body[:16], int.from_bytes(body[16:20]), body[20]
    sender, record = body[21 : 21 + length], body[21 + length :]
    if not _TAG_BYTES < len(record) <= record_bytes:
        raise ValueError("not one record")
    shared = keys.private.exchange(ec.ECDH(), public_key.from_point(sender))
    cipher, nonce = _aes128gcm(shared, keys.auth, salt, public_bytes(keys.private), sender)
    padded = cipher.decrypt(nonce, record, None).rstrip(b"\0")
    if not padded.endswith(b"\x02"):
        raise ValueError("not the last record")
    return padded[:-1]


def _aes128gcm(shared: bytes, auth: bytes, salt: bytes, device: bytes, sender: bytes) -> tuple[AESGCM, bytes]:
    """RFC 8291, section 3.4."""
    secret = _hkdf(auth, shared, b"WebPush: info\0" + device + sender, 32)
    key = _hkdf(salt, secret, b"Content-Encoding: aes128gcm\0", 16)
    return AESGCM(key), _hkdf(salt, secret, b"Content-Encoding: nonce\0", 12)


def _open_aesgcm(body: bytes, keys: DeviceKeys, encryption: str, crypto_key: str) -> bytes:
    """draft-ietf-webpush-encryption-04 over draft-ietf-httpbis-encryption-encoding-03."""
    given = dict(parameters(encryption))
    salt, sender = unb64url(given["salt"]), unb64url(dict(parameters(crypto_key))["dh"])
    if len(salt) != _SALT_BYTES or len(body) >= int(given.get("rs", "4096")) + _TAG_BYTES:
        raise ValueError("not one record")
    device = public_bytes(keys.private)
    shared = keys.private.exchange(ec.ECDH(), public_key.from_point(sender))
    secret = _hkdf(keys.auth, shared, b"Content-Encoding: auth\0", 32)
    context = b"P-256\0" + len(device).to_bytes(2) + device + len(sender).to_bytes(2) + sender
    key = _hkdf(salt, secret, b"Content-Encoding: aesgcm\0" + context, 16)
    nonce = _hkdf(salt, secret, b"Content-Encoding: nonce\0" + context, 12)
    padded = AESGCM(key).decrypt(nonce, body, None)
    padding = int.from_bytes(padded[:2])
    if len(padded) < 2 + padding or any(padded[2 : 2 + padding]):
        raise ValueError("padding")
    return padded[2 + padding :]


def _hkdf(salt: bytes, secret: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(secret)
