"""Public keys as BrowserID writes them, and signatures made with them.

Owns: the 2011 form (`algorithm`, decimal or hex strings), the JWK form (`kty`, base64url), the name of a key's
algorithm, and verification by RS256, DS256 and DS128.
Promises: a key is well-formed or ValueError; `verifies` never raises.
Must not know: which algorithms are allowed; the caller says. Families that nobody ever allows (RS64, RS128) are still
told apart, so that the refusal says `unsupported_algorithm` and not `invalid_key`. They verify nothing.
"""

import re
from collections.abc import Collection, Mapping
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.dsa import DSAParameterNumbers, DSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm

from pushctl.identity.jws import Jws
from pushctl.ids import unb64url

_FAMILIES = {"RS": "RS", "RSA": "RS", "DS": "DS", "DSA": "DS"}
# The number in a name is a security level. browserid-crypto makes moduli one bit short about as often as not.
_RSA_NAMES = {511: "RS64", 512: "RS64", 1023: "RS128", 1024: "RS128", 2047: "RS256", 2048: "RS256"}
_DSA_NAMES = {(1024, 160): "DS128", (2048, 256): "DS256"}
_DSA_HASHES: Final[Mapping[str, type[HashAlgorithm]]] = {"DS128": SHA1, "DS256": SHA256}

_DECIMAL = re.compile(r"[0-9]+", re.ASCII)
_HEX = re.compile(r"[0-9a-fA-F]+", re.ASCII)


class PublicKey(msgspec.Struct, frozen=True):
    """A well-formed key. `algorithm`: RS64, RS128, RS256, DS128 or DS256."""

    algorithm: str
    numbers: RSAPublicNumbers | DSAPublicNumbers

    def verifies(self, jws: Jws) -> bool:
        """Whether this key signed it, by the one algorithm it is for."""
        try:
            if isinstance(self.numbers, DSAPublicNumbers):
                return _verifies_dsa(self.numbers, _DSA_HASHES[self.algorithm](), jws)
            return self.algorithm == "RS256" and _verifies_rsa(self.numbers, jws)
        except InvalidSignature:
            return False


def _verifies_rsa(numbers: RSAPublicNumbers, jws: Jws) -> bool:
    """RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, 8.2.2). Raises InvalidSignature."""
    key = numbers.public_key()
    # browserid-crypto drops leading zero bytes; OpenSSL wants the length of the modulus.
    signature = jws.signature.rjust((key.key_size + 7) // 8, b"\0")
    key.verify(signature, jws.signing_input, PKCS1v15(), SHA256())
    return True


def _verifies_dsa(numbers: DSAPublicNumbers, hashed_by: HashAlgorithm, jws: Jws) -> bool:
    """DSA (FIPS 186-4, 4.7) over r ‖ s, each as long as q. Raises InvalidSignature."""
    q = numbers.parameter_numbers.q
    length = (q.bit_length() + 7) // 8
    if len(jws.signature) != 2 * length:
        return False
    r, s = (int.from_bytes(half) for half in (jws.signature[:length], jws.signature[length:]))
    # Not left to a library: where these pass, r = 1 and s = 0 sign anything under any key.
    if not (0 < r < q and 0 < s < q):
        return False
    numbers.public_key().verify(encode_dss_signature(r, s), jws.signing_input, hashed_by)
    return True


def parse_public_key(members: Mapping[str, object], algorithms: Collection[str]) -> PublicKey:
    """The key of a `public-key` member or of an entry in `keys`. ValueError if it is not well-formed.

    The numbers of a key of another algorithm than `algorithms` are looked at no further than its name needs: that a
    DSA key's belong together costs milliseconds, which nobody gets for a key that is refused anyway.
    """
    family = _FAMILIES.get(_text(members, "algorithm" if "algorithm" in members else "kty"))
    if family is None:
        raise ValueError("neither an RSA nor a DSA key")
    is_jwk = "kty" in members
    if family == "RS":
        return _rsa_key(_number(members, "n", 10, is_jwk), _number(members, "e", 10, is_jwk))
    p, q, g, y = (_number(members, name, 16, is_jwk) for name in ("p", "q", "g", "y"))
    return _dsa_key(DSAPublicNumbers(y, DSAParameterNumbers(p, q, g)), algorithms)


def _rsa_key(n: int, e: int) -> PublicKey:
    algorithm = _RSA_NAMES.get(n.bit_length())
    if algorithm is None or n % 2 == 0:
        raise ValueError("the modulus is even or of a size that has no algorithm")
    if e < 3 or e % 2 == 0 or e.bit_length() > 33:
        raise ValueError("the exponent is not odd, from 3, at most 33 bits")
    return PublicKey(algorithm, RSAPublicNumbers(e, n))


def _dsa_key(numbers: DSAPublicNumbers, algorithms: Collection[str]) -> PublicKey:
    p, q, g = (getattr(numbers.parameter_numbers, name) for name in "pqg")
    algorithm = _DSA_NAMES.get((p.bit_length(), q.bit_length()))
    if algorithm is None or not (1 < g < p and 1 < numbers.y < p):
        raise ValueError("the numbers are of sizes that have no algorithm")
    if algorithm in algorithms and not ((p - 1) % q == 0 and pow(g, q, p) == 1 and pow(numbers.y, q, p) == 1):
        raise ValueError("the numbers are not of one group")
    return PublicKey(algorithm, numbers)


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
