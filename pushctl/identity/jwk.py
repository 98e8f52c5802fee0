"""The public keys of an OpenID provider (RFC 7517), and signatures made with them.

Owns: which keys of a provider's document are kept, which of them a token may be checked with, and the check (joserfc).
Promises: one odd key does not take the others down; what is kept is public, of a kind that an allowed algorithm needs,
and not weak. `verifies` never raises. A symmetric key is never kept: with one, whoever reads the document could sign.
Must not know: tokens beyond their `alg` and `kid`, where the document came from.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from pushctl.identity.jws import parse_object
from pushctl.ids import unb64url

MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192
"""A larger one only costs time: a check takes the square of its length."""

_Jose = RSAKey | ECKey | OKPKey
_KINDS: Final[Mapping[str, tuple[str, str | None]]] = {
    "RS256": ("RSA", None),
    "PS256": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "EdDSA": ("OKP", "Ed25519"),
}
_JOSE_NAMES: Final = {"EdDSA": "Ed25519"}
"""RFC 9864 gave it a name that says the curve."""
_MEMBERS: Final = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_IMPORTERS: Final[Mapping[str, type[_Jose]]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """One key. `alg`: the only algorithm it is for, if the provider says so."""

    kid: str | None
    alg: str | None
    kty: str
    crv: str | None
    key: _Jose = field(repr=False)

    def fits(self, alg: str) -> bool:
        """Whether it may check signatures of this algorithm: by its kind, and by what it says of itself."""
        return (self.kty, self.crv) == _KINDS[alg] and self.alg in (None, alg)

    def verifies(self, alg: str, signing_input: bytes, signature: bytes) -> bool:
        """Whether this key made the signature, by exactly this algorithm."""
        model = JWSRegistry.algorithms[_JOSE_NAMES.get(alg, alg)]
        try:
            return model.verify(signing_input, signature, self.key)
        except (JoseError, ValueError):
            return False


def parse_keys(document: bytes, algorithms: Collection[str]) -> tuple[ProviderKey, ...]:
    """The usable keys of a JWKS document (`{"keys": [...]}`); ValueError if it is none. May be empty."""
    listed = parse_object(document).get("keys")
    if not isinstance(listed, list):
        raise ValueError("keys is not a list")
    found = []
    for members in listed:
        try:
            found.append(_key(members, algorithms))
        except (JoseError, ValueError):
            continue
    return tuple(found)


def choose_key(keys: Sequence[ProviderKey], alg: str, kid: str | None) -> ProviderKey | None:
    """The one key that fits: by `kid`, or, where the token names none, if exactly one does. None: it cannot be said."""
    fitting = [key for key in keys if key.fits(alg) and kid in (None, key.kid)]
    return fitting[0] if len(fitting) == 1 else None


def _key(members: object, algorithms: Collection[str]) -> ProviderKey:
    if not isinstance(members, dict):
        raise ValueError("not an object")
    kty, kid, alg = (_text(members, name) for name in ("kty", "kid", "alg"))
    if members.get("use", "sig") != "sig" or (alg is not None and alg not in algorithms):
        raise ValueError("for another use")
    if kty not in {_KINDS[allowed][0] for allowed in algorithms}:
        raise ValueError("of a kind that no allowed algorithm needs")
    # Nothing else gets as far as the library: no private parts, no key_ops, no certificates.
    public = {"kty": kty} | {name: _text(members, name) or "" for name in _MEMBERS[kty]}
    if kty == "RSA":
        _check_rsa(public["n"], public["e"])
    elif (kty, public["crv"]) not in _KINDS.values():
        raise ValueError("a curve that is not used here")
    key = _IMPORTERS[kty].import_key(public)  # type: ignore[arg-type]  # each takes the members of its own kind
    key.get_op_key("verify")  # now, not at the first token: this is where a point off the curve is noticed
    return ProviderKey(kid, alg, kty, public.get("crv"), key)


def _check_rsa(n: str, e: str) -> None:
    modulus, exponent = (int.from_bytes(unb64url(text)) for text in (n, e))
    if not MIN_RSA_BITS <= modulus.bit_length() <= MAX_RSA_BITS or modulus % 2 == 0:
        raise ValueError("the modulus is even, or of a size that is not used here")
    if exponent < 3 or exponent % 2 == 0 or exponent.bit_length() > 33:
        raise ValueError("the exponent is not odd, from 3, at most 33 bits")


def _text(members: Mapping[str, object], name: str) -> str | None:
    value = members.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name} is not a string")
    return value
