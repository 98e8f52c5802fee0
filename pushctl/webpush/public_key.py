"""A VAPID public key as text (RFC 8292, section 3.2), in its one spelling.

Must not know: what it signs, who gives it.
"""

from cryptography.hazmat.primitives.asymmetric import ec

from pushctl.ids import b64url, unb64url

POINT_BYTES = 65
_URL_ALPHABET = str.maketrans("+/", "-_")


def public_key(text: str) -> str:
    """An uncompressed point on P-256 as base64url without padding, from any spelling in base64.

    Raises ValueError.
    """
    point = unb64url(text.rstrip("=").translate(_URL_ALPHABET))
    if len(point) != POINT_BYTES:
        raise ValueError("length")
    ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    return b64url(point)
