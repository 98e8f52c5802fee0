"""The headers of an encrypted body: `aes128gcm` (RFC 8188) and `aesgcm` (the draft before it, still sent by many).

Owns: which headers each encoding needs and must not have, and what of them travels on to the device.
Promises: the ciphertext is never looked into. A value that travels on has neither quotes nor padding, which old
senders write and devices do not expect. A sender's public VAPID key, which the older encoding carries beside its own,
stays here (RFC 8292, section 4.2).
Must not know: keys, bodies, HTTP.
"""

import re
from typing import Final

from pushctl.errors import EncodingInvalid
from pushctl.protocol.frames import EncryptionHeaders
from pushctl.webpush.vapid import parameters

ENCODINGS: Final = ("aes128gcm", "aesgcm")

_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")
_STAYS_HERE: Final = "p256ecdsa"


def encryption_of(
    encoding: str, *, encryption: str | None, crypto_key: str | None, encryption_key: str | None
) -> tuple[str, EncryptionHeaders | None]:
    """(the encoding's one spelling, what travels on) of the headers Content-Encoding, Encryption, Crypto-Key and
    Encryption-Key. Raises EncodingInvalid with the header's name."""
    name = encoding.lower()
    if name not in ENCODINGS:
        raise EncodingInvalid(f"Content-Encoding is one of {' and '.join(ENCODINGS)}", field="Content-Encoding")
    if name == "aes128gcm":
        _must_not_have("Encryption", encryption, "salt")
        _must_not_have("Crypto-Key", crypto_key, "dh")
        return name, None  # its parameters stand in front of the ciphertext
    if encryption_key is not None:
        raise EncodingInvalid("aesgcm has Crypto-Key in place of Encryption-Key", field="Encryption-Key")
    _must_have("Encryption", encryption, "salt")
    if crypto_key is not None:
        _must_have("Crypto-Key", crypto_key, "dh")
    return name, EncryptionHeaders(_plain(encryption), _plain(crypto_key))


def _must_not_have(header: str, value: str | None, name: str) -> None:
    if value is not None and any(name == given for given, _ in parameters(value)):
        raise EncodingInvalid(f"aes128gcm has `{name}` in the body, not in {header}", field=header)


def _must_have(header: str, value: str | None, name: str) -> None:
    if not any(given == name and _BASE64URL.fullmatch(text) for given, text in parameters(value or "")):
        raise EncodingInvalid(f"aesgcm needs {header} with `{name}=` and base64url", field=header)


def _plain(value: str | None) -> str | None:
    """The pairs, grouped as they came; None when nothing is left."""
    groups = []
    for group in (value or "").split(","):
        pairs = [f"{name}={text}" for name, text in parameters(group) if name != _STAYS_HERE]
        if pairs:
            groups.append(";".join(pairs))
    return ",".join(groups) or None
