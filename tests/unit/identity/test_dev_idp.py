"""The development provider: what it certifies, and that its certificates go through the ordinary verifier."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from pushctl.errors import BodyInvalid
from pushctl.identity.browserid import LoginRefused, Verifier
from pushctl.identity.browserid_make import make_assertion, make_bundle, public_key_json
from pushctl.identity.dev_idp import DevIdp
from pushctl.identity.issuers import DEFAULT_ALGORITHMS
from pushctl.identity.jws import parse
from pushctl.identity.support import Authority, parse_document
from tests.unit.identity.bundles import MINUTE, NOW, ORIGIN, KeyRing

ALICE = "alice@dev-idp.localhost"


@pytest.fixture(scope="module")
def dev_idp(ring: KeyRing) -> DevIdp:
    return DevIdp(ring.issuer)


def login(dev_idp: DevIdp, ring: KeyRing, issuers: Mapping[str, Authority], *, later_ms: int = 1000) -> str:
    certificate = dev_idp.certificate(ALICE, public_key_json(ring.user), 3600, NOW)
    assertion = make_assertion(ring.user, audience=ORIGIN, expires_at_ms=NOW + later_ms + 2 * MINUTE)
    return Verifier(issuers, [ORIGIN]).verify(make_bundle(certificate, assertion), NOW + later_ms).email


def refusal(dev_idp: DevIdp, ring: KeyRing, issuers: Mapping[str, Authority]) -> str:
    with pytest.raises(LoginRefused) as caught:
        login(dev_idp, ring, issuers)
    return caught.value.code


def test_a_certificate_logs_in_through_the_ordinary_verifier(dev_idp: DevIdp, ring: KeyRing) -> None:
    assert login(dev_idp, ring, {DevIdp.domain: dev_idp.authority}) == ALICE


def test_it_is_worth_nothing_where_the_provider_is_not_in_the_table(dev_idp: DevIdp, ring: KeyRing) -> None:
    assert refusal(dev_idp, ring, {}) == "no_browserid_support"
    assert refusal(dev_idp, ring, {"idp.example": dev_idp.authority}) == "no_browserid_support"
    other = Authority("idp.example", dev_idp.authority.keys)
    assert refusal(dev_idp, ring, {DevIdp.domain: other}) == "untrusted_issuer"


def test_a_restart_makes_old_certificates_void(dev_idp: DevIdp, ring: KeyRing) -> None:
    restarted = DevIdp.generate()

    assert refusal(dev_idp, ring, {DevIdp.domain: restarted.authority}) == "invalid_certificate_signature"


def test_a_certificate_lives_as_long_as_asked_and_begins_ten_seconds_ago(dev_idp: DevIdp, ring: KeyRing) -> None:
    claims = parse(dev_idp.certificate(ALICE, public_key_json(ring.user), 60, NOW), "certificate").payload

    assert claims == {
        "iss": "dev-idp.localhost",
        "iat": NOW - 10_000,
        "exp": NOW + 50_000,
        "public-key": public_key_json(ring.user),
        "principal": {"email": ALICE},
    }


def test_a_certificate_for_a_day_is_still_let_in(dev_idp: DevIdp, ring: KeyRing) -> None:
    certificate = dev_idp.certificate(ALICE, public_key_json(ring.user), 86_400, NOW)
    assertion = make_assertion(ring.user, audience=ORIGIN, expires_at_ms=NOW + MINUTE)
    strict = Verifier({DevIdp.domain: dev_idp.authority}, [ORIGIN], skew_ms=0)

    assert strict.verify(make_bundle(certificate, assertion), NOW).email == ALICE


def test_a_modulus_of_2047_bits_is_certified(dev_idp: DevIdp, ring: KeyRing) -> None:
    assert dev_idp.certificate(ALICE, public_key_json(ring.short), 3600, NOW)


@pytest.mark.parametrize(
    "email",
    [
        "",
        "alice",
        "@dev-idp.localhost",
        "alice@idp.example",
        "alice@x@dev-idp.localhost",
        "alice@dev-idp.localhost\n",
        "alice@dev-idp.localhost.example",
        "alice@dev-idpxlocalhost",
        "alice@DEV-IDP.localhost",
        "älice@dev-idp.localhost",
        "al ice@dev-idp.localhost",
        "a" * 65 + "@dev-idp.localhost",
    ],
)
def test_an_address_outside_its_domain_is_not_certified(email: str, dev_idp: DevIdp, ring: KeyRing) -> None:
    with pytest.raises(BodyInvalid) as caught:
        dev_idp.certificate(email, public_key_json(ring.user), 3600, NOW)

    assert caught.value.field == "$.email"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"algorithm": "RSA"}, "$.public_key"),
        ({"algorithm": "DS"}, "$.public_key"),
        ({"kty": "RSA"}, "$.public_key"),
        ({"d": "7"}, "$.public_key"),
        ({"e": "3"}, "$.public_key.e"),
        ({"e": 65537}, "$.public_key.e"),
        ({"e": "065537"}, "$.public_key.e"),
        ({"n": "7"}, "$.public_key.n"),
        ({"n": 7}, "$.public_key.n"),
        ({"n": None}, "$.public_key.n"),
        ({"n": "9" * 5000}, "$.public_key.n"),
        ({"n": str(2**2047)}, "$.public_key.n"),
        ({"n": str(2**1023 + 1)}, "$.public_key.n"),
    ],
)
def test_a_key_of_another_form_is_not_certified(
    change: dict[str, Any], field: str, dev_idp: DevIdp, ring: KeyRing
) -> None:
    with pytest.raises(BodyInvalid) as caught:
        dev_idp.certificate(ALICE, public_key_json(ring.user) | change, 3600, NOW)

    assert caught.value.field == field


@pytest.mark.parametrize("missing", ["algorithm", "n", "e"])
def test_a_key_without_a_member_is_not_certified(missing: str, dev_idp: DevIdp, ring: KeyRing) -> None:
    members = public_key_json(ring.user)
    del members[missing]

    with pytest.raises(BodyInvalid):
        dev_idp.certificate(ALICE, members, 3600, NOW)


@pytest.mark.parametrize("seconds", [-1, 0, 59, 86_401, 10**30])
def test_a_duration_out_of_bounds_is_refused(seconds: int, dev_idp: DevIdp, ring: KeyRing) -> None:
    with pytest.raises(BodyInvalid) as caught:
        dev_idp.certificate(ALICE, public_key_json(ring.user), seconds, NOW)

    assert caught.value.field == "$.duration_seconds"


def test_the_support_document_names_the_key_and_both_pages(dev_idp: DevIdp) -> None:
    document = dev_idp.document()

    published = parse_document(json.dumps(document).encode(), DEFAULT_ALGORITHMS, published=True)
    assert published.keys == dev_idp.authority.keys
    assert document["authentication"] == "/dev/browserid/sign_in"
    assert document["provisioning"] == "/dev/browserid/provision"
