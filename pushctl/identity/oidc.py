"""OIDC ID tokens and JWT access tokens (RFC 9068): the ordered list of checks.

Owns: the order. One token has one answer, the word of the first check it fails:
  1 size, form, no `crit`        5 signature                     9 audience, authorized party
  2 algorithm allowed            6 issuer, byte for byte        10 client, scope, nonce
  3 `typ` fits the kind          7 times are seconds            11 subject, generation
  4 the key (jwks.py, jwk.py)    8 the times themselves
Promises: whatever is given, a value or LoginRefused. Nothing of an unverified token is used but `alg`, `kid` and `typ`
of its header: the provider is what the login said, never what the token's `iss` says. `jwk`, `jku`, `x5u`, `x5c` are
not looked at, and of the claims of a verified one nothing leaves but subject, end and generation: no e-mail address.
Must not know: a clock, a network, storage. The caller refuses a `replay_digest` it has seen.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

from pushctl.config.model import OidcProvider
from pushctl.identity.jwk import ProviderKey
from pushctl.identity.jws import parse_object
from pushctl.identity.refusal import LoginRefused
from pushctl.ids import b64url, unb64url

MAX_TOKEN_BYTES = 8192
MAX_SUBJECT = 255

_FIRST_MILLISECONDS = 1e11
"""The year 5138 in seconds, 1973 in milliseconds: so large a number was not meant as seconds."""
_LARGEST_GENERATION = 2**53 - 1
_TYPES: dict[str, frozenset[str]] = {
    "id_token": frozenset({"jwt"}),
    "access_token": frozenset({"at+jwt", "application/at+jwt"}),
}


@dataclass(frozen=True, slots=True)
class Token:
    """A token whose signature is not checked yet: what is needed to find its key."""

    alg: str
    kid: str | None
    signing_input: bytes
    payload: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """Who logs in. `replay_digest`: SHA-256 of the signing input, base64url; signatures may have several spellings."""

    subject: str
    expires_at_ms: int
    replay_digest: str
    generation: int | None


def examine(text: str, provider: OidcProvider) -> Token:
    """Checks 1 to 3. Raises LoginRefused."""
    token, header = _parse(text)
    if token.alg not in provider.algorithms:
        raise LoginRefused("unsupported_algorithm", "token: alg of the header")
    typ = header.get("typ", "JWT" if provider.kind == "id_token" else None)
    if not isinstance(typ, str) or typ.lower() not in _TYPES[provider.kind]:
        raise LoginRefused("wrong_token_type")
    return token


def conclude(token: Token, key: ProviderKey, provider: OidcProvider, *, now_ms: int, leeway_ms: int) -> VerifiedToken:
    """Checks 5 to 11, with the key that check 4 found. Raises LoginRefused."""
    if not key.fits(token.alg) or not key.verifies(token.alg, token.signing_input, token.signature):
        raise LoginRefused("invalid_signature")
    try:
        claims = parse_object(token.payload)
    except ValueError:
        raise LoginRefused("malformed_token", "the claims are not an unambiguous JSON object") from None
    subject, expires_at_ms = check_claims(claims, provider, now_ms=now_ms, leeway_ms=leeway_ms)
    digest = b64url(hashlib.sha256(token.signing_input).digest())
    return VerifiedToken(subject, expires_at_ms, digest, _generation(claims, provider))


def check_claims(
    claims: Mapping[str, object], provider: OidcProvider, *, now_ms: int, leeway_ms: int, nonce: str | None = None
) -> tuple[str, int]:
    """(subject, end in ms): checks 6 to 11. `nonce`: of whoever started the login. Raises LoginRefused."""
    if claims.get("iss") != provider.issuer:
        raise LoginRefused("wrong_issuer")
    expires_at = _check_times(claims, provider, now_ms / 1000, leeway_ms / 1000)
    _check_audience(claims, provider)
    if provider.kind == "access_token":
        _check_permission(claims, provider)
    elif nonce is not None and claims.get("nonce") != nonce:
        raise LoginRefused("wrong_nonce")
    return _subject(claims), int(expires_at * 1000)


def _parse(text: str) -> tuple[Token, dict[str, object]]:
    """Check 1."""
    if len(text) > MAX_TOKEN_BYTES:
        raise LoginRefused("malformed_token", f"more than {MAX_TOKEN_BYTES} bytes")
    parts = text.split(".")
    if len(parts) != 3:
        raise LoginRefused("malformed_token", "not three parts: an opaque token, perhaps")
    try:
        header, payload, signature = (unb64url(part) for part in parts)
        members = parse_object(header)
    except ValueError:
        raise LoginRefused("malformed_token", "not base64url, or the header is no unambiguous JSON object") from None
    alg, kid = members.get("alg"), members.get("kid")
    if "crit" in members or not isinstance(alg, str) or not (kid is None or isinstance(kid, str)):
        raise LoginRefused("malformed_token", "header: crit, no alg, or a kid that is no text")
    return Token(alg, kid, text.rpartition(".")[0].encode("ascii"), payload, signature), members


def _check_times(claims: Mapping[str, object], provider: OidcProvider, now: float, leeway: float) -> float:
    """Checks 7 and 8, in seconds; `exp`."""
    needs_iat = provider.kind == "id_token" or provider.max_age_seconds > 0
    expires = _time(claims, "exp")
    starts = _time(claims, "nbf") if "nbf" in claims else None
    issued = _time(claims, "iat") if needs_iat or "iat" in claims else None
    if now >= expires + leeway:
        raise LoginRefused("token_expired")
    if any(moment is not None and now < moment - leeway for moment in (starts, issued)):
        raise LoginRefused("token_not_yet_valid")
    if provider.max_age_seconds and issued is not None and now > issued + provider.max_age_seconds + leeway:
        raise LoginRefused("token_too_old")
    return expires


def _time(claims: Mapping[str, object], name: str) -> float:
    value = claims.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise LoginRefused("invalid_claim", f"token: {name} is not a number")
    if not math.isfinite(value) or value >= _FIRST_MILLISECONDS:
        raise LoginRefused("invalid_claim", f"token: {name} is not in seconds")
    return float(value)


def _check_audience(claims: Mapping[str, object], provider: OidcProvider) -> None:
    """Check 9. An ID token for several, or with `azp`, was made at the request of the one that `azp` names."""
    if not provider.check_audience:
        return
    said = claims.get("aud")
    audiences = [said] if isinstance(said, str) else said
    if not isinstance(audiences, list) or not any(ours in audiences for ours in provider.audiences):
        raise LoginRefused("wrong_audience")
    has_party = provider.kind == "id_token" and ("azp" in claims or len(audiences) > 1)
    if has_party and claims.get("azp") not in provider.audiences:
        raise LoginRefused("wrong_audience", "token: azp")


def _check_permission(claims: Mapping[str, object], provider: OidcProvider) -> None:
    """Check 10 of an access token. Scopes are compared as whole words: what one grants beyond its name is not ours."""
    if provider.client_ids and claims.get("client_id") not in provider.client_ids:
        raise LoginRefused("wrong_client")
    scope = claims.get("scope")
    if provider.required_scope and not (isinstance(scope, str) and provider.required_scope in scope.split(" ")):
        raise LoginRefused("missing_scope")


def _subject(claims: Mapping[str, object]) -> str:
    """Check 11. Byte for byte: nothing is folded, which could merge two people."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT:
        raise LoginRefused("invalid_claim", f"token: sub is not a text of 1 to {MAX_SUBJECT} characters")
    try:
        subject.encode()
    except UnicodeEncodeError:
        raise LoginRefused("invalid_claim", "token: sub has half a character") from None
    return subject


def _generation(claims: Mapping[str, object], provider: OidcProvider) -> int | None:
    """Where one is configured, a token without it would slip past the sign-outs that it stands for."""
    if not provider.generation_claim:
        return None
    value = claims.get(provider.generation_claim)
    if type(value) is not int or not 0 <= value <= _LARGEST_GENERATION:
        raise LoginRefused("invalid_claim", f"token: {provider.generation_claim} is not a whole number")
    return value
