"""Tokens for tests, signed by joserfc: one that is right in every way, and each way of being wrong.

Owns: the provider of these tests, its keys, and how a token of it is spelt.
Must not know: the checks.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from pushctl.config.model import OidcProvider
from pushctl.ids import b64url

ISSUER: Final = "https://accounts.example/"
CLIENT: Final = "client-1"
RESOURCE: Final = "https://push.example.net"
SCOPE: Final = "https://accounts.example/apps/push"
SUBJECT: Final = "248289761001"
NOW: Final = 1_700_000_000
GONE: Final = object()
LEEWAY: Final = 60

Key = RSAKey | ECKey | OKPKey | OctKey

ID_TOKENS: Final = OidcProvider(
    name="accounts",
    kind="id_token",
    issuer=ISSUER,
    jwks_uri="https://accounts.example/jwks",
    audiences=(CLIENT, "client-2"),
    algorithms=("RS256", "ES256", "EdDSA", "PS256"),
)
ACCESS_TOKENS: Final = OidcProvider(
    name="api",
    kind="access_token",
    issuer=ISSUER,
    discovery=True,
    audiences=(RESOURCE,),
    required_scope=SCOPE,
    client_ids=(CLIENT,),
    generation_claim="generation",
    max_age_seconds=600,
)


@dataclass(frozen=True)
class Signer:
    """The provider's private keys, by the name of what they are for."""

    keys: Mapping[str, Key]

    @classmethod
    def make(cls) -> "Signer":
        warnings.simplefilter("ignore")  # of keys that are weak on purpose
        keys: dict[str, Key] = {
            "RS256": RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig"}),
            "other RSA": RSAKey.generate_key(2048, {"kid": "rsa-2", "alg": "RS256"}),
            "weak RSA": RSAKey.generate_key(1024, {"kid": "weak"}),
            "ES256": ECKey.generate_key("P-256", {"kid": "ec"}),
            "P-384": ECKey.generate_key("P-384", {"kid": "p-384"}),
            "EdDSA": OKPKey.generate_key("Ed25519", {"kid": "okp"}),
            "HS256": OctKey.generate_key(256, {"kid": "oct"}),
        }
        return cls(keys)

    def public(self, *names: str) -> list[dict[str, Any]]:
        """Entries of a JWKS document; without names, all that are any good."""
        chosen = names or ("RS256", "other RSA", "ES256", "EdDSA")
        return [dict(self.keys[name].as_dict(private=False)) for name in chosen]

    def document(self, *names: str) -> bytes:
        return json.dumps({"keys": self.public(*names)}).encode()


def id_claims() -> dict[str, Any]:
    return {"iss": ISSUER, "sub": SUBJECT, "aud": CLIENT, "iat": NOW - 10, "exp": NOW + 300, "email": "a@b.example"}


def access_claims() -> dict[str, Any]:
    return {
        "iss": ISSUER,
        "sub": SUBJECT,
        "aud": [RESOURCE, "https://other.example"],
        "iat": NOW - 10,
        "exp": NOW + 300,
        "client_id": CLIENT,
        "scope": f"openid {SCOPE}",
        "generation": 7,
    }


@dataclass
class Draft:
    """A token to be. `claims` and `header` change what is right, GONE takes away; `text` stands for the claims."""

    signer: Signer
    kind: str = "id_token"
    alg: str = "RS256"
    key: str | None = None
    claims: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    text: str | None = None

    def token(self) -> str:
        key = self.signer.keys[self.key or self.alg]
        typ = {"typ": "at+jwt"} if self.kind == "access_token" else {}
        header = _merged({"alg": self.alg, "kid": key.kid} | typ, self.header)
        claims = _merged(id_claims() if self.kind == "id_token" else access_claims(), self.claims)
        payload = (self.text or json.dumps(claims)).encode()
        return signed(header, payload, self.alg, key)


def signed(header: dict[str, Any], payload: bytes, alg: str, key: Key) -> str:
    """Signed by `alg` whatever the header says: joserfc itself refuses to write most of what these tests need."""
    signing_input = f"{b64url(json.dumps(header).encode())}.{b64url(payload)}"
    model = JWSRegistry.algorithms["Ed25519" if alg == "EdDSA" else alg]
    return f"{signing_input}.{b64url(model.sign(signing_input.encode(), key))}"


def by_joserfc(header: dict[str, Any], claims: dict[str, Any], key: Key) -> str:
    """As joserfc writes a token all by itself."""
    return jws.serialize_compact(header, json.dumps(claims).encode(), key, algorithms=[header["alg"]])


def _merged(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (base | dict(changes)).items() if value is not GONE}
