"""The making side: exactly what verifiers have always read."""

import json

from pushctl.identity import jws
from pushctl.identity.browserid import Verifier
from pushctl.identity.browserid_make import make_assertion, make_bundle, make_certificate, make_key, public_key_json
from pushctl.identity.issuers import DEFAULT_ALGORITHMS
from pushctl.identity.public_keys import parse_public_key
from pushctl.identity.support import Authority
from pushctl.ids import unb64url
from tests.unit.identity.bundles import EMAIL, ISSUER, MINUTE, NOW, ORIGIN, KeyRing


def test_a_made_key_is_rsa_2048_in_the_form_of_2011() -> None:
    members = public_key_json(make_key())

    assert members.keys() == {"algorithm", "n", "e"}
    assert (members["algorithm"], members["e"]) == ("RS", "65537")
    assert int(members["n"]).bit_length() == 2048
    assert parse_public_key(members, ()).algorithm == "RS256"


def test_a_made_bundle_verifies(ring: KeyRing) -> None:
    certificate = make_certificate(
        ring.issuer,
        issuer=ISSUER,
        email=EMAIL,
        public_key=public_key_json(ring.user),
        issued_at_ms=NOW,
        expires_at_ms=NOW + 60 * MINUTE,
    )
    assertion = make_assertion(ring.user, audience=ORIGIN, expires_at_ms=NOW + 2 * MINUTE)
    key = parse_public_key(public_key_json(ring.issuer), DEFAULT_ALGORITHMS)
    verifier = Verifier({ISSUER: Authority(ISSUER, (key,))}, [ORIGIN])

    assert verifier.verify(make_bundle(certificate, assertion), NOW).email == EMAIL


def test_a_header_says_the_algorithm_only(ring: KeyRing) -> None:
    assertion = make_assertion(ring.user, audience=ORIGIN, expires_at_ms=NOW)

    assert unb64url(assertion.partition(".")[0]) == b'{"alg":"RS256"}'


def test_an_assertion_says_the_audience_and_its_end_in_milliseconds_only(ring: KeyRing) -> None:
    parsed = jws.parse(make_assertion(ring.user, audience=ORIGIN, expires_at_ms=NOW), "assertion")

    assert parsed.payload == {"exp": NOW, "aud": ORIGIN}
    assert json.dumps(parsed.payload["exp"]) == "1800000000000"
