"""DSA keys and signatures as browsers of Persona's days made them, in the groups that browserid-crypto uses."""

import re
from typing import Any

from cryptography.hazmat.primitives.asymmetric.dsa import DSAParameterNumbers, DSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

from pushctl.ids import b64url
from tests.unit.identity.bundles import Draft, KeyRing

_GROUPS = {
    "DS256": """
p d6c4e5045697756c7a312d02c2289c25d40f9954261f7b5876214b6df109c738b76226b199bb7e33f8fc7ac1dcc316e1e7c7
  8973951bfc6ff2e00cc987cd76fcfb0b8c0096b0b460fffac960ca4136c28f4bfb580de47cf7e7934c3985e3b3d943b77f06
  ef2af3ac3494fc3c6fc49810a63853862a02bb1c824a01b7fc688e4028527a58ad58c9d512922660db5d505bc263af293bc9
  3bcd6d885a157579d7f52952236dd9d06a4fc3bc2247d21f1a70f5848eb0176513537c983f5a36737f01f82b44546e8e7f0f
  abc457e3de1d9c5dba96965b10a2a0580b0ad0f88179e10066107fb74314a07e6745863bc797b7002ebec0b000a98eb69741
  4709ac17b401
q b1e370f6472c8754ccd75e99666ec8ef1fd748b748bbbc08503d82ce8055ab3b
g 9a8269ab2e3b733a5242179d8f8ddb17ff93297d9eab00376db211a22b19c854dfa80166df2132cbc51fb224b0904abb22da
  2c7b7850f782124cb575b116f41ea7c4fc75b1d77525204cd7c23a15999004c23cdeb72359ee74e886a1dde7855ae05fe847
  447d0a68059002c3819a75dc7dcbb30e39efac36e07e2c404b7ca98b263b25fa314ba93c0625718bd489cea6d04ba4b0b7f1
  56eeb4c56c44b50e4fb5bce9d7ae0d55b379225feb0214a04bed72f33e0664d290e7c840df3e2abb5e48189fa4e90646f186
  7db289c6560476799f7be8420a6dc01d078de437f280fff2d7ddf1248d56e1a54b933a41629d6c252983c58795105802d30d
  7bcd819cf6ef
    """,
    "DS128": """
p ff600483db6abfc5b45eab78594b3533d550d9f1bf2a992a7a8daa6dc34f8045ad4e6e0c429d334eeeaaefd7e23d4810be00
  e4cc1492cba325ba81ff2d5a5b305a8d17eb3bf4a06a349d392e00d329744a5179380344e82a18c47933438f891e22aeef81
  2d69c8f75e326cb70ea000c3f776dfdbd604638c2ef717fc26d02e17
q e21e04f911d1ed7991008ecaab3bf775984309c3
g c52a4a0ff3b7e61fdf1867ce84138369a6154f4afa92966e3c827e25cfa6cf508b90e5de419e1337e07a2e9e2a3cd5dea704
  d175f8ebf6af397d69e110b96afb17c7a03259329e4829b0d03bbc7896b15b4ade53e130858cc34d96269aa89041f409136c
  7242a38895c9d5bccad4f389af1d7a4bd1398bd072dffa896233397a
    """,
}
"""p, q and g, hexadecimal."""


def dsa_key(name: str) -> DSAPrivateKey:
    p, q, g = (int("".join(part.split()), 16) for part in re.split("[pqg] ", _GROUPS[name])[1:])
    return DSAParameterNumbers(p, q, g).parameters().generate_private_key()


def dsa_public_key_json(key: DSAPrivateKey) -> dict[str, str]:
    """In the form of 2011: hexadecimal, no zeros in front."""
    public = key.public_key().public_numbers()
    group = public.parameter_numbers
    numbers = {"y": public.y, "p": group.p, "q": group.q, "g": group.g}
    return {"algorithm": "DS", **{name: f"{number:x}" for name, number in numbers.items()}}


def dsa_bundle(ring: KeyRing, key: DSAPrivateKey, name: str, **changes: Any) -> str:
    """A valid bundle of a user who holds `key`; `changes` of the members that are certified."""
    draft = Draft(ring)
    draft.certificate["public-key"] = dsa_public_key_json(key) | changes
    draft.assertion_header["alg"] = name
    certificate, _, assertion = draft.text().partition("~")
    signing_input = assertion.rpartition(".")[0]
    octets = (key.parameters().parameter_numbers().q.bit_length() + 7) // 8
    hashed_by = SHA256() if name == "DS256" else SHA1()  # noqa: S303 - as it was
    r, s = decode_dss_signature(key.sign(signing_input.encode(), hashed_by))
    return f"{certificate}~{signing_input}.{b64url(r.to_bytes(octets) + s.to_bytes(octets))}"
