"""Backed BrowserID assertions (`certificate~assertion`): the ordered list of checks, and what is left after the last.

Owns: the order. One bundle has one answer, the word of the first check it fails:
  1 size and number of parts      5 times (milliseconds), assertion before certificate
  2 JWS form, algorithm allowed   6 the certified e-mail address
  3 types of the claims           7 the certified key and its algorithm
  4 audience                      8 the authority for the address, its keys
                                  9 signatures, certificate before assertion
Steps 1 to 7 (`examine`) need no secret and no network; the authority, which may need one, comes in after them
(`conclude`). `verify` is both, with a table of authorities.
Promises: whatever is given, a Verified or a LoginRefused; nothing of the payload but e-mail and issuer leaves.
Must not know: a clock, storage. The caller refuses a `replay_digest` it has seen, only after `verify` returned.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping

import msgspec

from pushctl.identity import jws
from pushctl.identity.issuers import DEFAULT_ALGORITHMS
from pushctl.identity.jws import Jws
from pushctl.identity.public_keys import PublicKey, parse_public_key
from pushctl.identity.refusal import LoginCode, LoginRefused
from pushctl.identity.support import Authority
from pushctl.identity.syntax import Origin, email_domain
from pushctl.ids import b64url

__all__ = ["Candidate", "LoginRefused", "Verified", "Verifier"]

MAX_BUNDLE_BYTES = 16_384
_LARGEST_TIME = 2**53 - 1

_TIME_CODES: dict[str, tuple[LoginCode, LoginCode, LoginCode]] = {
    "assertion": ("assertion_expired", "assertion_not_yet_valid", "assertion_lifetime"),
    "certificate": ("certificate_expired", "certificate_not_yet_valid", "certificate_lifetime"),
}


class Verified(msgspec.Struct, frozen=True):
    """A login that holds. `audience`: which of our origins it was for; `expires_at_ms`: of whichever ends first.

    `replay_digest`: SHA-256 over both signing inputs, base64url. Signatures are left out: they have several spellings.
    """

    email: str
    issuer: str
    audience: str
    expires_at_ms: int
    replay_digest: str


class _Validity(msgspec.Struct, frozen=True):
    """From when to when, in milliseconds since 1970."""

    issued_at_ms: int | None
    expires_at_ms: int


class Candidate(msgspec.Struct, frozen=True):
    """A bundle that is all right but for the question who signed it (steps 8 and 9)."""

    certificate: Jws
    assertion: Jws
    issuer: str
    email: str
    domain: str
    user_key: PublicKey
    audience: Origin
    expires_at_ms: int


class Verifier:
    """Verifies bundles for `audiences` (our origins, an exact list). `authorities`: who signs, by e-mail domain.

    `skew_ms`: how far clocks may differ, in both directions. `algorithms`: what headers and keys may name.
    ValueError for an audience that is no origin.
    """

    def __init__(
        self,
        authorities: Mapping[str, Authority],
        audiences: Iterable[str],
        *,
        skew_ms: int = 60_000,
        max_assertion_ms: int = 600_000,
        max_certificate_ms: int = 86_400_000,
        max_bundle_bytes: int = MAX_BUNDLE_BYTES,
        algorithms: Collection[str] = DEFAULT_ALGORITHMS,
    ) -> None:
        self._authorities = authorities
        self._audiences = frozenset(Origin.parse(audience) for audience in audiences)
        self._skew_ms = skew_ms
        self._max_bundle_bytes = max_bundle_bytes
        self._algorithms = algorithms
        self._max_lifetime_ms = {"assertion": max_assertion_ms, "certificate": max_certificate_ms}

    def verify(self, bundle: str, now_ms: int) -> Verified:
        """Who logs in. Raises LoginRefused with the word of the first check that fails."""
        candidate = self.examine(bundle, now_ms)
        authority = self._authorities.get(candidate.domain)
        if authority is None:
            raise LoginRefused("no_browserid_support", "no issuer is configured for this domain")
        return self.conclude(candidate, authority)

    def examine(self, bundle: str, now_ms: int) -> Candidate:
        """Steps 1 to 7. Raises LoginRefused."""
        certificate, assertion = self._parse(bundle)
        issuer, key_members, certificate_validity = _certificate_claims(certificate)
        audience_text, assertion_validity = _assertion_claims(assertion)
        audience = self._audience(audience_text)
        self._check_times("assertion", assertion_validity, now_ms)
        self._check_times("certificate", certificate_validity, now_ms)
        email, domain = _principal(certificate)
        return Candidate(
            certificate=certificate,
            assertion=assertion,
            issuer=issuer,
            email=email,
            domain=domain,
            user_key=self._user_key(key_members, assertion.alg),
            audience=audience,
            expires_at_ms=min(certificate_validity.expires_at_ms, assertion_validity.expires_at_ms),
        )

    def _parse(self, bundle: str) -> tuple[Jws, Jws]:
        """Steps 1 and 2."""
        if len(bundle.encode("utf-8", "surrogatepass")) > self._max_bundle_bytes:
            raise LoginRefused("assertion_too_large")
        parts = bundle.split("~")
        if len(parts) < 2 or not all(parts):
            raise LoginRefused("malformed_bundle")
        if len(parts) > 2:
            raise LoginRefused("certificate_chain")
        certificate, assertion = jws.parse(parts[0], "certificate"), jws.parse(parts[1], "assertion")
        for name, part in (("certificate", certificate), ("assertion", assertion)):
            if part.alg not in self._algorithms:
                raise LoginRefused("unsupported_algorithm", f"{name}: alg of the header")
        return certificate, assertion

    def _audience(self, text: str) -> Origin:
        try:
            audience = Origin.parse(text)
        except ValueError:
            raise LoginRefused("invalid_audience") from None
        if audience not in self._audiences:
            raise LoginRefused("audience_mismatch")
        return audience

    def _check_times(self, what: str, validity: _Validity, now_ms: int) -> None:
        expired, not_yet_valid, lifetime = _TIME_CODES[what]
        issued, expires, skew = validity.issued_at_ms, validity.expires_at_ms, self._skew_ms
        if now_ms > expires + skew:
            raise LoginRefused(expired)
        if issued is not None and issued > now_ms + skew:
            raise LoginRefused(not_yet_valid)
        if issued is not None and issued > expires:
            raise LoginRefused("invalid_claim", f"{what}: iat is after exp")
        # Counted from now too: an iat long ago must not buy a longer future, nor a missing one an endless life.
        begins = now_ms if issued is None else min(issued, now_ms)
        if expires - begins > self._max_lifetime_ms[what] + skew:
            raise LoginRefused(lifetime)

    def _user_key(self, members: Mapping[str, object], alg: str) -> PublicKey:
        """Step 7. The key says which algorithm is due, the header only agrees."""
        try:
            key = parse_public_key(members, self._algorithms)
        except ValueError as error:
            raise LoginRefused("invalid_key", f"certificate: public-key: {error}") from None
        if key.algorithm not in self._algorithms:
            raise LoginRefused("unsupported_algorithm", "certificate: public-key")
        if key.algorithm != alg:
            raise LoginRefused("algorithm_mismatch", "assertion: alg does not fit the certified key")
        return key

    def conclude(self, candidate: Candidate, authority: Authority) -> Verified:
        """The end of step 8, and step 9, with the keys of whoever may speak for the address. Raises LoginRefused."""
        certificate, assertion = candidate.certificate, candidate.assertion
        if candidate.issuer != authority.name:
            raise LoginRefused("untrusted_issuer")
        allowed = [key for key in authority.keys if key.algorithm in self._algorithms]
        if not allowed:
            raise LoginRefused("unsupported_algorithm", "the issuer has no key of an accepted algorithm")
        fitting = [key for key in allowed if key.algorithm == certificate.alg]
        if not fitting:
            raise LoginRefused("algorithm_mismatch", "certificate: alg fits no key of its issuer")
        if not any(key.verifies(certificate) for key in fitting):
            raise LoginRefused("invalid_certificate_signature")
        if not candidate.user_key.verifies(assertion):
            raise LoginRefused("invalid_assertion_signature")
        digest = hashlib.sha256(certificate.signing_input + b"~" + assertion.signing_input).digest()
        return Verified(
            candidate.email, candidate.issuer, str(candidate.audience), candidate.expires_at_ms, b64url(digest)
        )


def _certificate_claims(certificate: Jws) -> tuple[str, dict[str, object], _Validity]:
    """Step 3: (issuer, members of the certified key, validity)."""
    issuer, key = certificate.payload.get("iss"), certificate.payload.get("public-key")
    if not isinstance(issuer, str):
        raise LoginRefused("invalid_claim", "certificate: iss is not a string")
    if not isinstance(key, dict):
        raise LoginRefused("invalid_claim", "certificate: public-key is not an object")
    return issuer, key, _validity("certificate", certificate.payload)


def _assertion_claims(assertion: Jws) -> tuple[str, _Validity]:
    """Step 3: (audience, validity)."""
    audience = assertion.payload.get("aud")
    if not isinstance(audience, str):
        raise LoginRefused("invalid_claim", "assertion: aud is not a string")
    return audience, _validity("assertion", assertion.payload)


def _validity(what: str, claims: Mapping[str, object]) -> _Validity:
    expires = _time(what, claims, "exp")
    return _Validity(_time(what, claims, "iat") if "iat" in claims else None, expires)


def _time(what: str, claims: Mapping[str, object], name: str) -> int:
    value = claims.get(name)
    # `type is`, because True is an int to isinstance.
    if type(value) is not int or abs(value) > _LARGEST_TIME:
        raise LoginRefused("invalid_claim", f"{what}: {name} is not an integer of milliseconds")
    return value


def _principal(certificate: Jws) -> tuple[str, str]:
    """Step 6: (e-mail address, its domain)."""
    principal = certificate.payload.get("principal")
    email = principal.get("email") if isinstance(principal, dict) else None
    if not isinstance(email, str):
        raise LoginRefused("missing_principal")
    domain = email_domain(email)
    if domain is None:
        raise LoginRefused("invalid_principal")
    return email, domain
