"""The other side of BrowserID: keys, certificates and assertions. For the development provider, the client and tests.

Promises: writes what every verifier ever deployed reads: 2011-form keys, `{"alg":"RS256"}`, times in milliseconds.
Must not know: who may have a certificate (dev_idp.py).
"""

import json
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256

from pushctl.ids import b64url

_HEADER = {"alg": "RS256"}


def make_key() -> RSAPrivateKey:
    """A new RSA-2048 key. Takes some 60 ms of CPU."""
    return generate_private_key(public_exponent=65537, key_size=2048)


def public_key_json(key: RSAPrivateKey) -> dict[str, str]:
    """The public half in the 2011 form: `algorithm`, decimal `n` and `e`."""
    numbers = key.public_key().public_numbers()
    return {"algorithm": "RS", "n": str(numbers.n), "e": str(numbers.e)}


def make_certificate(
    issuer_key: RSAPrivateKey,
    *,
    issuer: str,
    email: str,
    public_key: Mapping[str, object],
    issued_at_ms: int,
    expires_at_ms: int,
) -> str:
    """A certificate by `issuer` that `email` holds `public_key` (as `public_key_json` writes it)."""
    claims = {
        "iss": issuer,
        "iat": issued_at_ms,
        "exp": expires_at_ms,
        "public-key": dict(public_key),
        "principal": {"email": email},
    }
    return sign(issuer_key, claims)


def make_assertion(user_key: RSAPrivateKey, *, audience: str, expires_at_ms: int) -> str:
    """An assertion for the origin `audience`, as Persona's browsers wrote it: `exp` and `aud`, nothing else."""
    return sign(user_key, {"exp": expires_at_ms, "aud": audience})


def make_bundle(certificate: str, assertion: str) -> str:
    """The backed assertion that is sent as `Authorization: BrowserID <bundle>`."""
    return f"{certificate}~{assertion}"


def sign(key: RSAPrivateKey, payload: Mapping[str, object], header: Mapping[str, object] = _HEADER) -> str:
    """A compact JWS (RFC 7515) by RSASSA-PKCS1-v1_5 with SHA-256."""
    signing_input = f"{_json(header)}.{_json(payload)}"
    return f"{signing_input}.{b64url(key.sign(signing_input.encode(), PKCS1v15(), SHA256()))}"


def _json(members: Mapping[str, object]) -> str:
    return b64url(json.dumps(members, separators=(",", ":")).encode())
