"""A VAPID public key as text (RFC 8292, section 3.2): an uncompressed point on P-256, 65 bytes in base64url.

Must not know: what it signs, who gives it.
"""

from cryptography.hazmat.primitives.asymmetric import ec

from pushctl.ids import unb64url

POINT_BYTES = 65
_URL_ALPHABET = str.maketrans("+/", "-_")


def from_point(point: bytes) -> ec.EllipticCurvePublicKey:
    """Raises ValueError for what is no uncompressed point of the curve."""
    if len(point) != POINT_BYTES:
        raise ValueError("length")
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)


def parse(text: str) -> ec.EllipticCurvePublicKey:
    """The key in its one spelling, without padding. Raises ValueError."""
    return from_point(unb64url(text))


def one_spelling(text: str) -> str:
    """Without the padding and the other alphabet of plain base64, which old senders write. It need not be a key."""
    return text.rstrip("=").translate(_URL_ALPHABET)


def canonical(text: str) -> str:
    """The one spelling of a key in any spelling of base64. Raises ValueError if it is none."""
    key = one_spelling(text)
    parse(key)
    return key
