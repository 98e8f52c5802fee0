"""Which keys of a provider's document are kept, and which of them a token is checked with."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushctl.config.oidc_rules import OIDC_ALGORITHMS
from pushctl.identity.jwk import choose_key, parse_keys
from pushctl.ids import b64url
from tests.unit.identity.tokens import Signer


def kept(keys: list[Any], *algorithms: str) -> list[str | None]:
    return [key.kid for key in parse_keys(json.dumps({"keys": keys}).encode(), algorithms or OIDC_ALGORITHMS)]


def test_every_algorithm_that_can_be_configured_has_keys_that_check_it(signer: Signer) -> None:
    keys = parse_keys(signer.document("RS256", "ES256", "EdDSA"), OIDC_ALGORITHMS)

    assert {alg: choose_key(keys, alg, None) is not None for alg in OIDC_ALGORITHMS} == dict.fromkeys(
        OIDC_ALGORITHMS, True
    )


def test_only_keys_that_an_allowed_algorithm_needs_are_kept(signer: Signer) -> None:
    assert kept(signer.public(), "RS256") == ["rsa", "rsa-2"]
    assert kept(signer.public(), "PS256") == ["rsa"]  # the other says that it is for RS256
    assert kept(signer.public(), "ES256", "EdDSA") == ["ec", "okp"]


def broken(signer: Signer) -> dict[str, Any]:
    (rsa,), (ec,), (okp,) = (signer.public(name) for name in ("RS256", "ES256", "EdDSA"))
    one = b64url(b"\x01")
    return {
        "a symmetric key": signer.keys["HS256"].as_dict(private=True),
        "a symmetric key that says RS256": {"kty": "oct", "k": "AAAA", "alg": "RS256", "kid": "rsa"},
        "1024 bits": signer.public("weak RSA")[0],
        "an even modulus": rsa | {"n": b64url(bytes([255] * 255 + [254]))},
        "more than 8192 bits": rsa | {"n": b64url(bytes([255] * 1025))},
        "an exponent of 1": rsa | {"e": one},
        "an even exponent": rsa | {"e": b64url(b"\x04")},
        "no modulus": {name: value for name, value in rsa.items() if name != "n"},
        "a modulus that is a number": rsa | {"n": 7},
        "a modulus with padding": rsa | {"n": rsa["n"] + "=="},
        "for encryption": rsa | {"use": "enc"},
        "for a use that is a list": rsa | {"use": ["sig"]},
        "for another algorithm": rsa | {"alg": "RS512"},
        "an algorithm that is a number": rsa | {"alg": 7},
        "a kid that is a number": rsa | {"kid": 7},
        "an unknown kind": rsa | {"kty": "RSA2"},
        "a kind that is a list": rsa | {"kty": ["RSA"]},
        "no kind": {name: value for name, value in rsa.items() if name != "kty"},
        "another curve": signer.public("P-384")[0],
        "a point off the curve": ec | {"y": ec["x"]},
        "half a point": {name: value for name, value in ec.items() if name != "y"},
        "a short point": okp | {"x": one},
        "the wrong curve of its kind": okp | {"crv": "X25519"},
        "an elliptic curve's name at another kind": okp | {"crv": "P-256"},
        "text": "key",
        "nothing": None,
        "a list": [],
    }


def test_an_odd_key_is_left_out_and_takes_no_other_down(signer: Signer) -> None:
    good = signer.public("other RSA")
    for what, key in broken(signer).items():
        assert kept([key, *good]) == ["rsa-2"], what
    assert kept([*broken(signer).values(), *good]) == ["rsa-2"]


def test_private_parts_in_a_document_are_not_kept(signer: Signer) -> None:
    """A provider's mistake, which must not become ours."""
    private = signer.keys["RS256"].as_dict(private=True)
    assert "d" in private
    (key,) = parse_keys(json.dumps({"keys": [private]}).encode(), OIDC_ALGORITHMS)

    assert not key.key.is_private
    assert "d" not in key.key.as_dict()


@pytest.mark.parametrize(
    "document",
    [b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": null}', b"\xff", b'{"keys": [], "keys": []}', b'{"keys": ' * 40],
)
def test_what_is_no_key_set_is_refused(document: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_keys(document, OIDC_ALGORITHMS)


def test_two_keys_of_one_name_choose_nothing_unless_one_alone_fits(signer: Signer) -> None:
    same = [key | {"kid": "same"} for key in signer.public("RS256", "other RSA", "ES256")]
    keys = parse_keys(json.dumps({"keys": same}).encode(), OIDC_ALGORITHMS)

    assert choose_key(keys, "RS256", "same") is None
    assert choose_key(keys, "PS256", "same") is keys[0]
    assert choose_key(keys, "ES256", "same") is keys[2]
    assert choose_key(keys, "ES256", "other") is None


MEMBERS = st.sampled_from(["kty", "kid", "alg", "use", "n", "e", "crv", "x", "y", "d", "k", "key_ops"])
VALUES = st.none() | st.integers() | st.text() | st.sampled_from(["RSA", "EC", "OKP", "oct", "P-256", "Ed25519", "sig"])


@given(st.binary(), st.lists(st.dictionaries(MEMBERS, VALUES | st.binary().map(b64url)), max_size=4))
def test_whatever_a_provider_publishes_there_are_keys_or_a_value_error(raw: bytes, keys: list[Any]) -> None:
    with suppress(ValueError):
        parse_keys(raw, OIDC_ALGORITHMS)
    for key in parse_keys(json.dumps({"keys": keys}).encode(), OIDC_ALGORITHMS):
        for alg in OIDC_ALGORITHMS:
            if key.fits(alg):
                assert not key.verifies(alg, b"text", raw)
