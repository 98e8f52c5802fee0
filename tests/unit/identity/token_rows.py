"""The rows of the token check list: what is valid, and for each check what fails it.

Owns: the rows, in the order of the checks. Must not know: how they are run (test_oidc.py).
"""

import hmac
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import RSAKey

from pushctl.config.model import OidcProvider
from pushctl.ids import b64url
from tests.unit.identity.tokens import (
    ACCESS_TOKENS,
    CLIENT,
    GONE,
    ID_TOKENS,
    LEEWAY,
    NOW,
    RESOURCE,
    SCOPE,
    Draft,
    Signer,
    id_claims,
    signed,
)

Make = Callable[[Signer], str]
Row = tuple[OidcProvider, Make]


def id_token(*, provider: OidcProvider = ID_TOKENS, **claims: Any) -> Row:
    return provider, lambda signer: Draft(signer, claims=claims).token()


def access(*, provider: OidcProvider = ACCESS_TOKENS, **claims: Any) -> Row:
    return provider, lambda signer: Draft(signer, "access_token", claims=claims).token()


def header(kind: str = "id_token", **members: Any) -> Row:
    provider = ID_TOKENS if kind == "id_token" else ACCESS_TOKENS
    return provider, lambda signer: Draft(signer, kind, header=members).token()


def by(by_alg: str, key: str | None = None, **members: Any) -> Row:
    return ID_TOKENS, lambda signer: Draft(signer, alg=by_alg, key=key, header=members).token()


def payload(text: str) -> Row:
    return ID_TOKENS, lambda signer: Draft(signer, text=text).token()


def spoilt(spoil: Callable[[str], str]) -> Row:
    return ID_TOKENS, lambda signer: spoil(Draft(signer).token())


def hmac_by_public_key(form: str) -> Row:
    """Algorithm confusion: signed with what everybody knows, in the hope that it is taken for a shared secret."""

    def make(signer: Signer) -> str:
        key = signer.keys["RS256"]
        assert isinstance(key, RSAKey)
        pem = key.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        secret = {"PEM": pem, "JWK": key.as_dict(private=False)["n"].encode()}[form]  # type: ignore[union-attr]
        header = b64url(b'{"alg":"HS256","kid":"rsa"}')
        signing_input = f"{header}.{b64url(json.dumps(id_claims()).encode())}"
        # Not by joserfc, which sees what this is.
        return f"{signing_input}.{b64url(hmac.digest(secret, signing_input.encode(), 'sha256'))}"

    return ID_TOKENS, make


def unsigned(alg: str, signature: str = "") -> Row:
    def make(signer: Signer) -> str:
        body = Draft(signer, header={"alg": alg}).token().rpartition(".")[0]
        return f"{body}.{signature}"

    return ID_TOKENS, make


def _duplicate(text: str) -> str:
    _, rest = text.split(".", 1)
    return b64url(b'{"alg":"RS256","alg":"none","kid":"rsa"}') + "." + rest


def _other_payload(text: str) -> str:
    first, _, last = text.split(".")
    return ".".join((first, b64url(json.dumps(id_claims() | {"sub": "1"}).encode()), last))


def _own_key(signer: Signer) -> str:
    """A key of the attacker's own, brought along in the header."""
    key = signer.keys["weak RSA"]
    members = {"alg": "RS256", "kid": "rsa", "jwk": dict(key.as_dict(private=False))}
    return signed(members, json.dumps(id_claims()).encode(), "RS256", key)


SMALL_AUDIENCE = replace(ID_TOKENS, audiences=(CLIENT,))
NO_AUDIENCE = replace(ACCESS_TOKENS, check_audience=False)
AGED = replace(ID_TOKENS, max_age_seconds=100)

VALID: dict[str, Row] = {
    "an ID token as it is made": id_token(),
    "by ES256": by("ES256"),
    "by EdDSA": by("EdDSA"),
    "by PS256": by("PS256", "RS256"),
    "typ JWT": header(typ="JWT"),
    "typ in small letters": header(typ="jwt"),
    "a key that is brought along is not looked at": header(jwk={"kty": "oct", "k": "AAAA"}, jku="https://evil.example"),
    "claims nobody knows": id_token(deep=[{"a": None}], email_verified=True),
    "several audiences and azp": id_token(aud=["other", CLIENT], azp=CLIENT),
    "azp alone": id_token(azp=CLIENT),
    "the other of our clients": id_token(aud="client-2"),
    "the last moment": id_token(exp=NOW - LEEWAY + 0.001),
    "a clock that is ahead": id_token(iat=NOW + LEEWAY, nbf=NOW + LEEWAY),
    "fractions of seconds": id_token(iat=NOW - 0.5, exp=NOW + 0.5),
    "a subject of 255 characters": id_token(sub="s" * 255),
    "just young enough": id_token(provider=AGED, iat=NOW - 160),
    "an access token as it is made": access(),
    "typ with its whole name": header("access_token", typ="application/at+jwt"),
    "typ in capitals": header("access_token", typ="AT+JWT"),
    "one audience": access(aud=RESOURCE),
    "an access token with azp": access(azp="whoever"),
    "no audience, where none is looked at": access(provider=NO_AUDIENCE, aud=GONE),
    "any client, where none is named": access(provider=replace(ACCESS_TOKENS, client_ids=()), client_id=GONE),
    "no scope, where none is needed": access(provider=replace(ACCESS_TOKENS, required_scope=""), scope=GONE),
    "no generation, where none is kept": access(provider=replace(ACCESS_TOKENS, generation_claim=""), generation=GONE),
    "no iat, where age does not matter": access(provider=replace(ACCESS_TOKENS, max_age_seconds=0), iat=GONE),
}

INVALID: dict[str, tuple[str, Row]] = {
    # 1
    "nothing": ("malformed_token", spoilt(lambda _: "")),
    "an opaque token": ("malformed_token", spoilt(lambda _: "a" * 64)),
    "two parts": ("malformed_token", spoilt(lambda text: text.rpartition(".")[0])),
    "four parts": ("malformed_token", spoilt(lambda text: text + ".x")),
    "padding": ("malformed_token", spoilt(lambda text: text + "=")),
    "a line end": ("malformed_token", spoilt(lambda text: text + "\n")),
    "another script": ("malformed_token", spoilt(lambda text: "é" + text)),
    "half a character": ("malformed_token", spoilt(lambda text: "\ud800" + text)),
    "a header that is a list": ("malformed_token", spoilt(lambda text: b64url(b"[]") + text[text.index(".") :])),
    "a member twice": ("malformed_token", spoilt(_duplicate)),
    "crit": ("malformed_token", header(crit=["b64"], b64=False)),
    "crit of nothing": ("malformed_token", header(crit=[])),
    "no alg": ("malformed_token", header(alg=GONE)),
    "an alg that is a list": ("malformed_token", header(alg=["RS256"])),
    "a kid that is a number": ("malformed_token", header(kid=7)),
    "more than 8192 bytes": ("malformed_token", id_token(filler="x" * 8000)),
    # 2
    "alg none": ("unsupported_algorithm", unsigned("none")),
    "alg nOnE": ("unsupported_algorithm", unsigned("nOnE")),
    "alg none with something for a signature": ("unsupported_algorithm", unsigned("none", "AAAA")),
    "HS256 by the PEM of the public key": ("unsupported_algorithm", hmac_by_public_key("PEM")),
    "HS256 by the modulus": ("unsupported_algorithm", hmac_by_public_key("JWK")),
    "HS256 by a key of its own": ("unsupported_algorithm", by("HS256")),
    "RS512": ("unsupported_algorithm", by("RS512", "RS256")),
    "an algorithm in small letters": ("unsupported_algorithm", header(alg="rs256")),
    "an algorithm that this provider does not use": (
        "unsupported_algorithm",
        (ACCESS_TOKENS, lambda signer: Draft(signer, "access_token", "ES256").token()),
    ),
    # 3
    "an access token where an ID token is wanted": ("wrong_token_type", header(typ="at+jwt")),
    "a token of another purpose": ("wrong_token_type", header(typ="logout+jwt")),
    "a typ that is no text": ("wrong_token_type", header(typ=None)),
    "an ID token where an access token is wanted": ("wrong_token_type", header("access_token", typ="JWT")),
    "an access token without typ": ("wrong_token_type", header("access_token", typ=GONE)),
    # 4
    "a kid that nobody knows": ("unknown_key", header(kid="made-up")),
    "no kid, and several keys fit": ("unknown_key", header(kid=GONE)),
    "the kid of a key of another kind": ("unknown_key", header(kid="ec")),
    "the kid of a key for another algorithm": ("unknown_key", by("PS256", "other RSA")),
    "a curve that does not fit": ("unknown_key", by("ES384", "P-384", alg="ES256")),
    "a weak key": ("unknown_key", by("RS256", "weak RSA")),
    # 5
    "another key's signature": ("invalid_signature", by("RS256", "other RSA", kid="rsa")),
    "a key of its own in the header": ("invalid_signature", (ID_TOKENS, _own_key)),
    "other claims under the signature": ("invalid_signature", spoilt(_other_payload)),
    "another algorithm under the header": ("invalid_signature", by("PS256", "RS256", alg="RS256")),
    "no signature": ("invalid_signature", spoilt(lambda text: text.rpartition(".")[0] + ".")),
    "half a signature": ("invalid_signature", spoilt(lambda text: text[: text.rindex(".") + 129])),
    "claims that are no JSON": ("malformed_token", payload("{")),
    "claims that are a list": ("malformed_token", payload("[]")),
    "claims with one twice": ("malformed_token", payload('{"sub": "a", "sub": "b"}')),
    "NaN": ("malformed_token", payload('{"exp": NaN}')),
    # 6
    "another issuer": ("wrong_issuer", id_token(iss="https://evil.example/")),
    "an issuer without its slash": ("wrong_issuer", id_token(iss="https://accounts.example")),
    "an issuer in other letters": ("wrong_issuer", id_token(iss="https://Accounts.example/")),
    "an issuer in a list": ("wrong_issuer", id_token(iss=["https://accounts.example/"])),
    "no issuer": ("wrong_issuer", id_token(iss=GONE)),
    # 7
    "no exp": ("invalid_claim", id_token(exp=GONE)),
    "an exp that is text": ("invalid_claim", id_token(exp=str(NOW + 300))),
    "an exp that is true": ("invalid_claim", id_token(exp=True)),
    "exp in milliseconds": ("invalid_claim", id_token(exp=(NOW + 300) * 1000)),
    "an exp without end": ("invalid_claim", payload('{"iss": "https://accounts.example/", "exp": 1e999}')),
    "iat in milliseconds": ("invalid_claim", id_token(iat=NOW * 1000)),
    "nbf in milliseconds": ("invalid_claim", id_token(nbf=NOW * 1000)),
    "nbf null": ("invalid_claim", id_token(nbf=None)),
    "an ID token without iat": ("invalid_claim", id_token(iat=GONE)),
    "an access token without iat, where age matters": ("invalid_claim", access(iat=GONE)),
    # 8
    "expired": ("token_expired", id_token(exp=NOW - LEEWAY)),
    "long expired": ("token_expired", id_token(exp=-1e308)),
    "nbf in the future": ("token_not_yet_valid", id_token(nbf=NOW + LEEWAY + 1)),
    "iat in the future": ("token_not_yet_valid", id_token(iat=NOW + LEEWAY + 1)),
    "too old": ("token_too_old", id_token(provider=AGED, iat=NOW - 161)),
    # 9
    "another audience": ("wrong_audience", id_token(aud="client-3")),
    "no audience": ("wrong_audience", id_token(aud=GONE)),
    "an audience that is an object": ("wrong_audience", id_token(aud={CLIENT: 1})),
    "an audience that only begins like ours": ("wrong_audience", id_token(aud="client-10")),
    "several audiences without azp": ("wrong_audience", id_token(aud=[CLIENT, "other"])),
    "several audiences and another azp": ("wrong_audience", id_token(aud=[CLIENT, "other"], azp="other")),
    "our audience and another azp": ("wrong_audience", id_token(azp="other")),
    "an azp that is null": ("wrong_audience", id_token(azp=None)),
    "an access token for somebody else": ("wrong_audience", access(aud="https://other.example")),
    "an access token for our client": ("wrong_audience", access(aud=CLIENT)),
    # 10
    "another client": ("wrong_client", access(client_id="client-3")),
    "no client": ("wrong_client", access(client_id=GONE)),
    "no scope": ("missing_scope", access(scope=GONE)),
    "another scope": ("missing_scope", access(scope="openid")),
    "a scope that only begins like ours": ("missing_scope", access(scope=SCOPE + "/all")),
    "a wider scope": ("missing_scope", access(scope=SCOPE.rpartition("/")[0])),
    "a scope in a list": ("missing_scope", access(scope=[SCOPE])),
    "no scope where no audience is looked at": (
        "missing_scope",
        access(provider=NO_AUDIENCE, scope="openid"),
    ),
    # 11
    "no subject": ("invalid_claim", id_token(sub=GONE)),
    "an empty subject": ("invalid_claim", id_token(sub="")),
    "a subject that is a number": ("invalid_claim", id_token(sub=7)),
    "a subject of 256 characters": ("invalid_claim", id_token(sub="s" * 256)),
    "half a character in the subject": ("invalid_claim", id_token(sub="a\ud800")),
    "no generation": ("invalid_claim", access(generation=GONE)),
    "a generation that is text": ("invalid_claim", access(generation="7")),
    "a generation that is true": ("invalid_claim", access(generation=True)),
    "a generation below nothing": ("invalid_claim", access(generation=-1)),
    "a generation beyond all numbers": ("invalid_claim", access(generation=2**53)),
}

IN_ORDER: dict[str, tuple[str, Row]] = {
    "1 before 2": ("malformed_token", header(alg="none", crit=["x"])),
    "2 before 3": ("unsupported_algorithm", header(alg="HS256", typ="at+jwt")),
    "3 before 4": ("wrong_token_type", header(typ="at+jwt", kid="made-up")),
    "4 before 5": ("unknown_key", by("RS256", "other RSA", kid="made-up")),
    "5 before 6": (
        "invalid_signature",
        (ID_TOKENS, lambda s: Draft(s, key="other RSA", header={"kid": "rsa"}, claims={"iss": "x"}).token()),
    ),
    "6 before 7": ("wrong_issuer", id_token(iss="x", exp=GONE)),
    "7 before 8": ("invalid_claim", id_token(nbf="x", exp=0)),
    "8 before 9": ("token_expired", id_token(exp=0, aud="x")),
    "9 before 10": ("wrong_audience", access(aud="x", client_id="x")),
    "client before scope": ("wrong_client", access(client_id="x", scope="x")),
    "10 before 11": ("missing_scope", access(scope="x", sub="")),
}
