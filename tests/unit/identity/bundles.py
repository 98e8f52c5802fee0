"""Bundles for tests: a valid one, and every way to spoil it before it is signed or after."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import HealthCheck, settings

from pushctl.identity.browserid_make import make_key, public_key_json
from pushctl.ids import b64url

NOW = 1_800_000_000_000
SKEW = 60_000
MINUTE = 60_000
DAY = 86_400_000
ORIGIN = "https://push.example.net"
ISSUER = "idp.example"
EMAIL = "alice@idp.example"

FUZZ = settings(
    max_examples=150, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow], print_blob=False
)


@dataclass(frozen=True)
class KeyRing:
    """Made once per session: a key costs 60 ms."""

    issuer: RSAPrivateKey
    user: RSAPrivateKey
    stranger: RSAPrivateKey
    short: RSAPrivateKey
    """Its modulus has 2047 bits."""
    weak: RSAPrivateKey
    """Its modulus has 1024 bits: RS128."""

    @classmethod
    def make(cls) -> "KeyRing":
        short, weak = (generate_private_key(65537, size) for size in (2047, 1024))
        return cls(make_key(), make_key(), make_key(), short, weak)


def signed(key: RSAPrivateKey, header: str | bytes, payload: str | bytes) -> str:
    """A JWS over exactly these texts, JSON or not."""
    signing_input = ".".join(b64url(part.encode() if isinstance(part, str) else part) for part in (header, payload))
    return f"{signing_input}.{b64url(key.sign(signing_input.encode(), PKCS1v15(), SHA256()))}"


@dataclass
class Draft:
    """A bundle before it is signed. Valid as it is made."""

    keys: KeyRing
    certificate_key: RSAPrivateKey = field(init=False)
    assertion_key: RSAPrivateKey = field(init=False)
    certificate_header: dict[str, Any] = field(default_factory=lambda: {"alg": "RS256"})
    assertion_header: dict[str, Any] = field(default_factory=lambda: {"alg": "RS256"})
    certificate: dict[str, Any] = field(init=False)
    assertion: dict[str, Any] = field(init=False)
    respell: list[Callable[[str], str]] = field(default_factory=list)
    """Changes of the finished text."""

    def __post_init__(self) -> None:
        self.certificate_key, self.assertion_key = self.keys.issuer, self.keys.user
        self.certificate = {
            "iss": ISSUER,
            "iat": NOW - 10_000,
            "exp": NOW + 60 * MINUTE,
            "public-key": public_key_json(self.keys.user),
            "principal": {"email": EMAIL},
        }
        self.assertion = {"exp": NOW + 2 * MINUTE, "aud": ORIGIN}

    def certify(self, key: RSAPrivateKey) -> None:
        """Let the user hold this key instead."""
        self.certificate["public-key"] = public_key_json(key)
        self.assertion_key = key

    def text(
        self,
        *,
        certificate: str | bytes | None = None,
        assertion: str | bytes | None = None,
        certificate_header: str | bytes | None = None,
    ) -> str:
        """Signed. `certificate`, `assertion`: payloads to sign in place of the claims, as they are."""
        bundle = "~".join(
            (
                signed(
                    self.certificate_key,
                    _json(self.certificate_header) if certificate_header is None else certificate_header,
                    _json(self.certificate) if certificate is None else certificate,
                ),
                signed(
                    self.assertion_key,
                    _json(self.assertion_header),
                    _json(self.assertion) if assertion is None else assertion,
                ),
            )
        )
        for change in self.respell:
            bundle = change(bundle)
        return bundle


def _json(members: Mapping[str, Any]) -> str:
    return json.dumps(members, separators=(",", ":"))
