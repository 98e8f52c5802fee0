"""A sender's own key, and the header that shows that a push is from its owner (RFC 8292).

Owns: the key file (PKCS #8 in PEM, what openssl and other senders read), tokens and the header made with it.
Promises: a file is never overwritten and readable by its owner only. No private key is in a repr or an error text.
Must not know: HTTP, what is sent.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from pushctl.errors import ConfigError, Failed
from pushctl.ids import b64url

TOKEN_SECONDS = 12 * 3600
"""How long a token holds: a push service takes at most 24 hours, and clocks differ."""

_CURVE = ec.SECP256R1()


def public_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The public half as an uncompressed point: 65 bytes."""
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


@dataclass(frozen=True, slots=True)
class VapidKey:
    private: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> "VapidKey":
        return cls(ec.generate_private_key(_CURVE))

    @classmethod
    def load(cls, path: Path) -> "VapidKey":
        """From a PEM file. Raises ConfigError."""
        try:
            key = load_pem_private_key(path.read_bytes(), password=None)
        except OSError as error:
            raise ConfigError([f"{path}: cannot read the VAPID key: {error.strerror}"]) from None
        except (ValueError, TypeError):
            raise ConfigError([f"{path}: no private key in PEM without a password; `pushctl keys vapid`"]) from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != _CURVE.name:
            raise ConfigError([f"{path}: a VAPID key is on the curve P-256; `pushctl keys vapid` makes one"])
        return cls(key)

    def write(self, path: Path) -> None:
        """Makes the file, mode 0600. Failed if there is one already, or it cannot be written."""
        text = self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, 0o600)  # whatever the umask says
                file.write(text)
        except FileExistsError:
            raise Failed(f"{path}: exists already; keys are never overwritten") from None
        except OSError as error:
            raise Failed(f"cannot write {path}: {error.strerror}") from None

    @property
    def public(self) -> str:
        """What a page gives to the browser as applicationServerKey, and what stands behind `k=`."""
        return b64url(public_bytes(self.private))

    def token(self, claims: dict[str, object]) -> str:
        """A JWT with these claims."""
        header = b64url(msgspec.json.encode({"typ": "JWT", "alg": "ES256"}))
        signing_input = f"{header}.{b64url(msgspec.json.encode(claims))}"
        r, s = decode_dss_signature(self.private.sign(signing_input.encode(), ec.ECDSA(SHA256())))
        return f"{signing_input}.{b64url(r.to_bytes(32) + s.to_bytes(32))}"

    def authorization(self, push_url: str, now_ms: int, subject: str | None = None) -> str:
        """The header's value for a push URL; `subject`: who can be asked about the sender (mailto: or https:)."""
        parts = urlsplit(push_url)
        claims: dict[str, object] = {"aud": f"{parts.scheme}://{parts.netloc}", "exp": now_ms // 1000 + TOKEN_SECONDS}
        if subject is not None:
            claims["sub"] = subject
        return f"vapid t={self.token(claims)}, k={self.public}"
