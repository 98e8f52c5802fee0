"""Public keys as BrowserID writes them, and signatures made with them.

Owns: the 2011 form (`algorithm`, decimal or hex strings), the JWK form (`kty`, base64url), the name of a key's
algorithm, and RS256 verification.
Promises: a key is well-formed or ValueError; `verifies` never raises.
Must not know: which algorithms are allowed. Families that this version never accepts are still told apart, so that the
refusal says `unsupported_algorithm` and not `invalid_key`. They verify nothing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.hashes import SHA256

from pushctl.identity.jws import Jws
from pushctl.ids import unb64url

_FAMILIES = {"RS": "RS", "RSA": "RS", "DS": "DS", "DSA": "DS"}
# The number in a name is a security level. browserid-crypto makes moduli one bit short about as often as not.
_RSA_NAMES = {511: "RS64", 512: "RS64", 1023: "RS128", 1024: "RS128", 2047: "RS256", 2048: "RS256"}
_DSA_NAMES = {(1024, 160): "DS128", (2048, 256): "DS256"}

_DECIMAL = re.compile(r"[0-9]+", re.ASCII)
_HEX = re.compile(r"[0-9a-fA-F]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A well-formed key. `algorithm`: RS64, RS128, RS256, DS128 or DS256. `rsa` is None for the DSA family."""

    algorithm: str
    rsa: RSAPublicNumbers | None

    def verifies(self, jws: Jws) -> bool:
        """Whether this key signed it: RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, 8.2.2)."""
        if self.rsa is None:
            return False
        key = self.rsa.public_key()
        # browserid-crypto drops leading zero bytes; OpenSSL wants the length of the modulus.
        signature = jws.signature.rjust((key.key_size + 7) // 8, b"\0")
        try:
            key.verify(signature, jws.signing_input, PKCS1v15(), SHA256())
        except InvalidSignature:
            return False
        return True


def parse_public_key(members: Mapping[str, object]) -> PublicKey:
    """The key of a `public-key` member or of an entry in `keys`. ValueError if it is not well-formed."""
    family = _FAMILIES.get(_text(members, "algorithm" if "algorithm" in members else "kty"))
    if family is None:
        raise ValueError("neither an RSA nor a DSA key")
    is_jwk = "kty" in members
    if family == "RS":
        return _rsa_key(_number(members, "n", 10, is_jwk), _number(members, "e", 10, is_jwk))
    return _dsa_key(*(_number(members, name, 16, is_jwk) for name in ("p", "q", "g", "y")))


def _rsa_key(n: int, e: int) -> PublicKey:
    algorithm = _RSA_NAMES.get(n.bit_length())
    if algorithm is None or n % 2 == 0:
        raise ValueError("the modulus is even or of a size that has no algorithm")
    if e < 3 or e % 2 == 0 or e.bit_length() > 33:
        raise ValueError("the exponent is not odd, from 3, at most 33 bits")
    return PublicKey(algorithm, RSAPublicNumbers(e, n))


def _dsa_key(p: int, q: int, g: int, y: int) -> PublicKey:
    algorithm = _DSA_NAMES.get((p.bit_length(), q.bit_length()))
    if algorithm is None or not (1 < g < p and 1 < y < p):
        raise ValueError("the numbers are of sizes that have no algorithm")
    return PublicKey(algorithm, None)


def _text(members: Mapping[str, object], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} is not a string")
    return value


def _number(members: Mapping[str, object], name: str, base: int, is_jwk: bool) -> int:
    text = _text(members, name)
    if is_jwk:
        try:
            return int.from_bytes(unb64url(text))
        except ValueError:
            raise ValueError(f"{name} is not base64url") from None
    # int() alone would take underscores, spaces, signs and the digits of other scripts.
    if (_DECIMAL if base == 10 else _HEX).fullmatch(text) is None:
        raise ValueError(f"{name} is not a number in base {base}")
    return int(text, base)
