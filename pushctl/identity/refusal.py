"""Why a login was refused: one stable word per check, its status, and one sentence for the client.

Owns: the code words of BrowserID and OIDC logins and what each means over HTTP.
Promises: neither the sentence nor the reason quotes the credential; the reason is for the log only.
Must not know: how a check is made (browserid.py, oidc.py), or how the answer is written (http/problem.py).
"""

from typing import ClassVar, Literal, get_args

from pushctl.errors import Problem

TokenCode = Literal[
    "malformed_token",
    "wrong_token_type",
    "unknown_key",
    "invalid_signature",
    "wrong_issuer",
    "token_expired",
    "token_not_yet_valid",
    "token_too_old",
    "wrong_audience",
    "wrong_client",
    "missing_scope",
    "wrong_nonce",
]
"""Those that only a token gets."""

LoginCode = Literal[
    TokenCode,
    "assertion_too_large",
    "malformed_bundle",
    "certificate_chain",
    "malformed_jws",
    "unsupported_algorithm",
    "invalid_claim",
    "invalid_audience",
    "audience_mismatch",
    "assertion_expired",
    "assertion_not_yet_valid",
    "assertion_lifetime",
    "certificate_expired",
    "certificate_not_yet_valid",
    "certificate_lifetime",
    "missing_principal",
    "invalid_principal",
    "invalid_key",
    "algorithm_mismatch",
    "no_browserid_support",
    "issuer_unavailable",
    "invalid_support_document",
    "delegation_loop",
    "delegation_too_deep",
    "untrusted_issuer",
    "invalid_certificate_signature",
    "invalid_assertion_signature",
    "replayed_assertion",
    "token_superseded",
]

_SENTENCES: dict[LoginCode, str] = {
    "assertion_too_large": "certificate and assertion are too large together; send only what is needed",
    "malformed_bundle": "the credentials are not a backed assertion: send certificate~assertion",
    "certificate_chain": "the assertion is backed by several certificates; send exactly one",
    "malformed_jws": "the certificate or the assertion is not a well-formed JWS",
    "unsupported_algorithm": "it is signed by an algorithm that is not accepted here; use RS256",
    "invalid_claim": "a claim is missing or not valid; times are integers in milliseconds in BrowserID, and numbers of "
    "seconds in a token",
    "invalid_audience": "the audience is not an origin; sign for the public origin of this API",
    "audience_mismatch": "the assertion is for another audience; sign for the public origin of this API",
    "assertion_expired": "the assertion has expired; make a new one",
    "assertion_not_yet_valid": "the assertion is from the future; set the clock and make a new one",
    "assertion_lifetime": "the assertion lives too long; make one that lives a few minutes",
    "certificate_expired": "the certificate has expired; get a new one from the identity provider",
    "certificate_not_yet_valid": "the certificate is from the future; one of the clocks is wrong",
    "certificate_lifetime": "the certificate lives too long; get one that lives at most a day",
    "missing_principal": "the certificate names no e-mail address in principal.email",
    "invalid_principal": "the certified e-mail address is not valid",
    "invalid_key": "the certified public key is not valid",
    "algorithm_mismatch": "the signature algorithm does not fit the key",
    "no_browserid_support": "no identity provider is known for the domain of this e-mail address",
    "issuer_unavailable": "the identity provider does not answer; try again later",
    "invalid_support_document": "the support document of the identity provider is not valid",
    "delegation_loop": "the domain's delegation leads back to itself",
    "delegation_too_deep": "the domain's delegation is too long",
    "untrusted_issuer": "the certificate's issuer may not speak for this e-mail address",
    "invalid_certificate_signature": "the signature of the certificate is not valid; get a new certificate",
    "invalid_assertion_signature": "the signature of the assertion is not valid",
    "replayed_assertion": "it was used before; make a new assertion, or get a new token, for each login",
    "malformed_token": "the token is not a JWT of at most 8192 bytes; opaque tokens are not taken",
    "wrong_token_type": "the token is of another kind than this provider is configured for: ID tokens have typ JWT or "
    "none, access tokens at+jwt",
    "unknown_key": "the token is signed with a key that the provider does not publish; get a new token",
    "invalid_signature": "the signature of the token is not valid",
    "wrong_issuer": "the token is from another issuer than the provider that the login names",
    "token_expired": "the token has expired; get a new one",
    "token_not_yet_valid": "the token is from the future; one of the clocks is wrong",
    "token_too_old": "the token was issued too long ago; get a new one",
    "wrong_audience": "the token is for another audience",
    "wrong_client": "the token was made for a client that is not allowed here",
    "missing_scope": "the token has not the scope that is needed here; ask the provider for it",
    "wrong_nonce": "the token belongs to another login",
    "token_superseded": "the identity provider has signed this account out, or its password was changed, since it made "
    "this token; log in there again",
}

_BAD_REQUEST = (
    "malformed_",
    "invalid_",
    "missing_",
    "certificate_chain",
    "unsupported_algorithm",
    "algorithm_mismatch",
)
_TOKEN_UNACCEPTED = ("invalid_signature", "missing_scope")
"""Well-formed all the same: a token's signature is looked at after its form."""
_RETRY_SECONDS = 10
"""A failed look-up of an issuer is remembered this long."""


def status_of(code: LoginCode) -> int:
    """400 for what is not well-formed, 413 too large, 503 for an issuer that is away, 401 for all else."""
    if code == "assertion_too_large":
        return 413
    if code == "issuer_unavailable":
        return 503
    return 400 if code.startswith(_BAD_REQUEST) and code not in _TOKEN_UNACCEPTED else 401


class LoginRefused(Problem):
    """A login that is not let in: `code` and `status` differ per instance, `reason` says more, to the log only."""

    title: ClassVar[str] = "The login is refused"
    close_code: ClassVar[int] = 4501
    code: LoginCode

    def __init__(self, code: LoginCode, reason: str = "") -> None:
        status = status_of(code)
        retry_after_seconds = _RETRY_SECONDS if status == 503 else None
        super().__init__(_SENTENCES[code], field="Authorization", retry_after_seconds=retry_after_seconds)
        self.code = code
        self.status = status
        self.reason = reason or code
        if code in get_args(TokenCode) and status == 401:
            self.challenge = 'Bearer error="invalid_token"'  # RFC 6750, section 3.1
