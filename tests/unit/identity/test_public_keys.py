"""The forms of public keys, and which algorithm each is of."""

from typing import Any

import pytest

from pushctl.identity import jws
from pushctl.identity.browserid_make import public_key_json
from pushctl.identity.public_keys import parse_public_key
from pushctl.ids import b64url
from tests.unit.identity.bundles import KeyRing, signed

N = 2**2047 + 1
RSA: dict[str, Any] = {"algorithm": "RS", "n": str(N), "e": "65537"}
JWK: dict[str, Any] = {"kty": "RSA", "n": b64url(N.to_bytes(256)), "e": "AQAB"}
DSA: dict[str, Any] = {"algorithm": "DS", "p": f"{2**2047 + 1:x}", "q": f"{2**255 + 1:x}", "g": "2", "y": "abc"}


@pytest.mark.parametrize(
    ("members", "algorithm"),
    [
        (RSA, "RS256"),
        (RSA | {"algorithm": "RSA"}, "RS256"),
        (RSA | {"n": str(2**2046 + 1)}, "RS256"),
        (RSA | {"n": "000" + str(N)}, "RS256"),
        (RSA | {"e": "3"}, "RS256"),
        (RSA | {"e": str(2**33 - 1)}, "RS256"),
        (RSA | {"use": "sig", "kid": "1"}, "RS256"),
        (JWK, "RS256"),
        (JWK | {"algorithm": "RS"}, "RS256"),
        (RSA | {"n": str(2**1023 + 1)}, "RS128"),
        (RSA | {"n": str(2**1022 + 1)}, "RS128"),
        (RSA | {"n": str(2**511 + 1)}, "RS64"),
        (DSA, "DS256"),
        (DSA | {"algorithm": "DSA", "y": "ABC"}, "DS256"),
        (DSA | {"p": f"{2**1023 + 1:X}", "q": f"{2**159 + 1:x}"}, "DS128"),
    ],
)
def test_a_well_formed_key_has_an_algorithm(members: dict[str, Any], algorithm: str) -> None:
    assert parse_public_key(members, ()).algorithm == algorithm


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"alg": "RS256", "n": str(N), "e": "65537"},
        {"version": "2012.08.15", "modulus": "AQAB", "exponent": "AQAB"},
        RSA | {"algorithm": "rs"},
        RSA | {"algorithm": "RS256"},
        RSA | {"algorithm": 256},
        JWK | {"kty": "EC"},
        JWK | {"kty": "oct"},
        RSA | {"n": N},
        RSA | {"n": None},
        RSA | {"n": ""},
        RSA | {"n": "1_" + str(N)},
        RSA | {"n": " " + str(N)},
        RSA | {"n": "+" + str(N)},
        RSA | {"n": "-" + str(N)},
        RSA | {"n": str(N) + "\n"},
        RSA | {"n": str(N).replace("1", "１")},
        RSA | {"n": f"{N:x}"},
        RSA | {"n": "0x" + f"{N:x}"},
        RSA | {"n": "9" * 5000},
        RSA | {"n": str(N - 1)},
        RSA | {"n": str(2**2045 + 1)},
        RSA | {"n": str(2**2048 + 1)},
        RSA | {"n": str(2**4095 + 1)[:1024]},
        RSA | {"e": 65537},
        RSA | {"e": "AQAB"},
        RSA | {"e": "0"},
        RSA | {"e": "1"},
        RSA | {"e": "4"},
        RSA | {"e": str(2**33 + 1)},
        JWK | {"n": JWK["n"] + "=="},
        JWK | {"n": str(N)},
        JWK | {"n": "é"},
        {"kty": "RSA", "n": JWK["n"]},
        DSA | {"y": "1"},
        DSA | {"y": DSA["p"]},
        DSA | {"g": "0"},
        DSA | {"q": f"{2**159 + 1:x}"},
        DSA | {"y": "0x2"},
        DSA | {"y": 2},
    ],
    ids=lambda members: ascii(members)[:60],
)
def test_a_key_that_is_not_well_formed_is_a_value_error(members: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"algorithm|exponent|string|number|base64url|key") as caught:
        parse_public_key(members, ())

    assert str(N) not in str(caught.value)


def test_a_key_of_another_family_verifies_nothing(ring: KeyRing) -> None:
    parsed = jws.parse(signed(ring.user, '{"alg":"RS256"}', "{}"), "assertion")

    assert parse_public_key(public_key_json(ring.user), ()).verifies(parsed)
    assert not parse_public_key(DSA, ()).verifies(parsed)
