"""Who signed a push: the credentials of RFC 8292 and of the draft before it, checked (docs/protocol.md, section 2).

Owns: the spellings `vapid t=<token>, k=<key>`, and `WebPush` or `Bearer <token>` with `Crypto-Key: p256ecdsa=<key>`;
the checks of the token in their order; a memory of tokens whose signature was verified.
Promises: whatever texts arrive, `Verifier.signed_by` returns the key that signed, None (nothing was signed), or raises
VapidInvalid with what failed, what was expected and what was there. A sender that uses one token for many messages, as
RFC 8292 (section 2) advises, has it verified once. The memory never outlives the token and is bounded.
Must not know: which push URL takes which key (the registry compares), whose message it is. Never repeats a token.
"""

import json
from collections.abc import Iterator
from typing import Final

import idna
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from msgspec import Struct

from pushctl.clock import Clock, rfc3339
from pushctl.errors import VapidInvalid
from pushctl.identity.jws import parse_object
from pushctl.ids import unb64url
from pushctl.webpush import public_key

MAX_AHEAD_SECONDS: Final = 86_400
"""A token says `exp` at most so far ahead (RFC 8292, section 2)."""

MAX_TOKEN_CHARACTERS: Final = 4096
MEMORY: Final = 2048
"""Verified tokens that are remembered; the one that was not used for longest goes. Some 1 MB."""

SHOWN_CHARACTERS: Final = 200
"""Of a claim, in the answer to its sender."""

_OLD_SCHEMES: Final = ("webpush", "bearer")
_LATEST_MS: Final = 253_402_300_799_000
"""9999-12-31T23:59:59Z: later moments cannot be spelled out."""


class Credentials(Struct, frozen=True):
    """What a sender presents: `token`, a JWT, as it came; `key`, the public key's one spelling in base64url."""

    token: str
    key: str


def parameters(text: str, separators: str = ",;") -> Iterator[tuple[str, str]]:
    """(name in lower case, value) of `name=value` pairs, as Authorization, Crypto-Key and Encryption spell them.

    Quotes and `=` at the end, which old senders write, are not part of a value. What is no pair is passed over.
    """
    for separator in separators[1:]:
        text = text.replace(separator, separators[0])
    for part in text.split(separators[0]):
        name, equals, value = part.partition("=")
        if equals:
            yield name.strip(" \t").lower(), value.strip(" \t").strip('"').rstrip("=")


def credentials(authorization: str | None, crypto_key: str | None) -> Credentials | None:
    """What the headers Authorization and Crypto-Key present; None without Authorization. Raises VapidInvalid."""
    if authorization is None:
        return None
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() == "vapid":
        given = dict(_once(parameters(rest, ",")))
        token, key = given.get("t"), given.get("k")
        if not token or not key:
            raise VapidInvalid("send `Authorization: vapid t=<token>, k=<public key>` (RFC 8292, section 3)")
    elif scheme.lower() in _OLD_SCHEMES:
        token, key = rest.strip(" \t"), _old_key(crypto_key)
        if not token or not key:
            raise VapidInvalid(
                f"with the scheme {scheme[:7]} the public key belongs into `Crypto-Key: p256ecdsa=<public key>`; "
                "a push URL takes no session token or other credentials"
            )
    else:
        raise VapidInvalid("a push URL takes the scheme vapid (RFC 8292), or no Authorization at all")
    return Credentials(token, public_key.one_spelling(key))


def _once(pairs: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    seen = set()
    for name, value in pairs:
        if name in seen:
            raise VapidInvalid(f"the parameter {name[:20]!a} of Authorization is given more than once")
        seen.add(name)
        yield name, value


def _old_key(crypto_key: str | None) -> str | None:
    keys = [value for name, value in parameters(crypto_key or "") if name == "p256ecdsa"]
    return keys[0] if keys else None


class Verifier:
    def __init__(self, audience: str, clock: Clock) -> None:
        """`audience`: the origin of push URLs, as RFC 6454, section 6.2 serialises it."""
        self._audience = audience
        self._audiences = (audience, _unicode(audience))
        self._clock = clock
        self._verified: dict[Credentials, int] = {}
        """Until when each token holds, in milliseconds; the one used last stands last."""
        self.verifications = 0
        """Signatures looked at so far; a remembered token costs none."""

    def signed_by(self, authorization: str | None, crypto_key: str | None) -> str | None:
        """The public key that signed, in base64url as a push URL's `vapid_key`; None if nothing did.

        Raises VapidInvalid.
        """
        presented = credentials(authorization, crypto_key)
        if presented is None:
            return None
        now_ms = self._clock()
        expires_at_ms = self._verified.pop(presented, 0)
        if expires_at_ms < now_ms:
            expires_at_ms = self._verify(presented, now_ms)
        self._verified[presented] = expires_at_ms
        if len(self._verified) > MEMORY:
            del self._verified[next(iter(self._verified))]
        return presented.key

    def _verify(self, presented: Credentials, now_ms: int) -> int:
        """Until when it holds. What costs most comes last."""
        signing_input, claims, signature = _open(presented.token)
        key = _public_key(presented.key)
        expires_at_ms = _check_expiry(claims.get("exp"), now_ms)
        self._check_audience(claims.get("aud"))
        self.verifications += 1
        _check_signature(key, signing_input, signature)
        return expires_at_ms

    def _check_audience(self, audience: object) -> None:
        """RFC 8292, section 2: it must include the origin; RFC 7519, section 4.1.3: it may be a list."""
        named = audience if isinstance(audience, list) else [audience]
        if not any(name in self._audiences for name in named):
            raise _wrong("aud", self._audience, audience, "the token is for another push service")


def _unicode(origin: str) -> str:
    """RFC 8292 asks for the Unicode serialization of the origin; senders take the host as the push URL spells it."""
    scheme, _, rest = origin.partition("://")
    host, colon, port = rest.partition(":")
    try:
        return f"{scheme}://{idna.decode(host)}{colon}{port}"
    except idna.IDNAError:  # an address
        return origin


def _open(token: str) -> tuple[bytes, dict[str, object], bytes]:
    """(what was signed, the claims, the signature) of a compact JWS (RFC 7515, section 7.1) with ES256."""
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise VapidInvalid(f"a token has at most {MAX_TOKEN_CHARACTERS} characters")
    parts = token.split(".")
    if len(parts) != 3:
        raise VapidInvalid("the token is no JWT: a JWT has three parts with a dot between them")
    try:
        header, claims, signature = (unb64url(part.rstrip("=")) for part in parts)
        members, said = parse_object(header), parse_object(claims)
    except ValueError:
        raise VapidInvalid("the token is no JWT: its parts are base64url, the first two of JSON objects") from None
    if members.get("alg") != "ES256":
        raise _wrong("alg", "ES256", members.get("alg"), "the token is signed in another way")
    if "crit" in members:
        raise _wrong("crit", "none", members["crit"], "the token asks for what is not understood here")
    return token.rpartition(".")[0].encode("ascii"), said, signature


def _public_key(key: str) -> ec.EllipticCurvePublicKey:
    try:
        return public_key.parse(key)
    except ValueError:
        raise VapidInvalid(
            "the public key is an uncompressed P-256 point (65 bytes) in base64url (RFC 8292, section 3.2)"
        ) from None


def _check_expiry(expiry: object, now_ms: int) -> int:
    """RFC 8292, sections 2 and 4.2. Returns the last millisecond at which it holds."""
    latest = now_ms + MAX_AHEAD_SECONDS * 1000
    expected = f"from {rfc3339(now_ms)} to {rfc3339(latest)}, in seconds since 1970"
    if isinstance(expiry, bool) or not isinstance(expiry, int | float) or not 0 <= expiry * 1000 <= _LATEST_MS:
        raise _wrong("exp", expected, expiry, "the token does not say when it expires")
    expires_at_ms = int(expiry * 1000)
    if expires_at_ms < now_ms:
        raise _wrong("exp", expected, f"{expiry} ({rfc3339(expires_at_ms)})", "the token is expired")
    if expires_at_ms > latest:
        raise _wrong("exp", expected, f"{expiry} ({rfc3339(expires_at_ms)})", "the token lives for more than 24 hours")
    return expires_at_ms


def _check_signature(key: ec.EllipticCurvePublicKey, signing_input: bytes, signature: bytes) -> None:
    """RFC 7518, section 3.4: the two numbers side by side, 32 bytes each."""
    if len(signature) != 64:
        raise _wrong("signature", "64 bytes", f"{len(signature)} bytes", "the signature is not one of ES256")
    numbers = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
    try:
        key.verify(numbers, signing_input, ec.ECDSA(SHA256()))
    except InvalidSignature:
        raise _wrong("signature", "one by the key sent along", "another", "the signature does not hold") from None


def _wrong(claim: str, expected: str | None, got: object, why: str) -> VapidInvalid:
    shown = got if isinstance(got, str) else json.dumps(got)
    shown = shown[:SHOWN_CHARACTERS].encode(errors="replace").decode()  # JSON may hold half a character
    detail = f"{why}: `{claim}` is {shown}, expected {expected}"
    return VapidInvalid(detail, claim=claim, expected=expected, got=shown)
