"""The check list of BrowserID logins: a row for each check, their order, and whatever else may arrive."""

import hashlib
from collections.abc import Collection

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from hypothesis import given
from hypothesis import strategies as st

from pushctl.identity.browserid import LoginRefused, Verified, Verifier
from pushctl.identity.browserid_make import public_key_json
from pushctl.identity.issuers import DEFAULT_ALGORITHMS
from pushctl.identity.public_keys import parse_public_key
from pushctl.identity.support import SupportDocument, delegation
from pushctl.ids import b64url, unb64url
from tests.unit.identity.bundles import EMAIL, FUZZ, ISSUER, MINUTE, NOW, ORIGIN, Draft, KeyRing, signed
from tests.unit.identity.check_rows import FAULTS, IN_ORDER, VALID
from tests.unit.identity.dsa import dsa_bundle, dsa_key, dsa_public_key_json
from tests.unit.identity.spoiling import (
    Change,
    cert,
    cert_header,
    claim,
    header,
    key_member,
    short_assertion_signature,
    signature_of,
    spoiled,
    with_signature,
)


class Offline:
    """The verifier and the walk of delegation, over documents at hand."""

    def __init__(
        self, documents: dict[str, SupportDocument], audiences: list[str], algorithms: Collection[str]
    ) -> None:
        self._documents = documents
        self._verifier = Verifier({}, audiences, algorithms=algorithms)

    def verify(self, bundle: str, now_ms: int) -> Verified:
        candidate = self._verifier.examine(bundle, now_ms)
        walk = delegation(candidate.domain)
        name = next(walk)
        while True:
            try:
                name = walk.send(self._documents.get(name))
            except StopIteration as end:
                return self._verifier.conclude(candidate, end.value)


def issuer_of(*keys: RSAPrivateKey) -> SupportDocument:
    return SupportDocument(tuple(parse_public_key(public_key_json(key), DEFAULT_ALGORITHMS) for key in keys))


@pytest.fixture(scope="session")
def issuers(ring: KeyRing) -> dict[str, SupportDocument]:
    chain = {f"hop{at}.example": SupportDocument(authority=f"hop{at + 1}.example") for at in range(6)}
    return {
        ISSUER: issuer_of(ring.issuer),
        "rotating.example": issuer_of(ring.stranger, ring.weak, ring.issuer),
        "short.example": issuer_of(ring.short),
        "weak.example": issuer_of(ring.weak),
        "delegating.example": SupportDocument(authority=ISSUER),
        "lost.example": SupportDocument(authority="nobody.example"),
        "disabled.example": SupportDocument(disabled=True),
        "loop.example": SupportDocument(authority="pool.example"),
        "pool.example": SupportDocument(authority="loop.example"),
        **chain,
        "hop6.example": issuer_of(ring.issuer),
    }


@pytest.fixture(scope="session")
def verifier(issuers: dict[str, SupportDocument]) -> Offline:
    return Offline(issuers, [ORIGIN, "http://127.0.0.1:8080"], DEFAULT_ALGORITHMS)


def code_of(verifier: Offline, bundle: str) -> str:
    with pytest.raises(LoginRefused) as caught:
        verifier.verify(bundle, NOW)
    return caught.value.code


# --- the rows of the check list ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", VALID.values(), ids=VALID.keys())
def test_a_valid_bundle_logs_in(change: Change, ring: KeyRing, verifier: Offline) -> None:
    assert isinstance(verifier.verify(spoiled(ring, change), NOW), Verified)


@pytest.mark.parametrize(
    ("code", "change"), [(code, change) for code, _, change in FAULTS], ids=[f"{row[0]}: {row[1]!a}" for row in FAULTS]
)
def test_a_bundle_with_one_fault_is_refused_with_the_word_of_that_check(
    code: str, change: Change, ring: KeyRing, verifier: Offline
) -> None:
    assert code_of(verifier, spoiled(ring, change)) == code


def test_a_signature_plus_the_modulus_is_not_another_spelling_of_it(ring: KeyRing, verifier: Offline) -> None:
    draft = Draft(ring)
    draft.certify(ring.short)  # so that the sum still fits into 256 bytes
    bundle = draft.text()
    total = int.from_bytes(signature_of(bundle)) + ring.short.public_key().public_numbers().n

    assert code_of(verifier, with_signature(bundle, total.to_bytes(256))) == "invalid_assertion_signature"


def test_a_key_and_a_header_of_two_allowed_algorithms_do_not_fit(
    ring: KeyRing, issuers: dict[str, SupportDocument]
) -> None:
    wider = Offline(issuers, [ORIGIN], {"RS256", "DS256"})

    assert code_of(wider, spoiled(ring, header("alg", "DS256"))) == "algorithm_mismatch"
    assert code_of(wider, spoiled(ring, cert_header("alg", "DS256"))) == "algorithm_mismatch"


@pytest.mark.parametrize("user", ["DS256", "DS128"])
def test_a_dsa_key_logs_in_where_its_algorithm_is_allowed_and_nowhere_else(
    user: str, ring: KeyRing, issuers: dict[str, SupportDocument]
) -> None:
    key = dsa_key(user)
    bundle = dsa_bundle(ring, key, user)

    allowing = Offline(issuers, [ORIGIN], {"RS256", user})
    assert allowing.verify(bundle, NOW).email == EMAIL
    head, _, tail = bundle.rpartition(".")
    signature, half = unb64url(tail), len(unb64url(tail)) // 2
    q = int(dsa_public_key_json(key)["q"], 16)
    # Where ranges are not checked, r = 1 with s = 0 or s = q signs anything.
    for r, s in ((1, 0), (0, 1), (0, 0), (1, q), (q, 1), (q, q)):
        forged = f"{head}.{b64url(r.to_bytes(half) + s.to_bytes(half))}"
        assert code_of(allowing, forged) == "invalid_assertion_signature"
    for other in (signature[1:], b"\0" + signature, signature + b"\0", signature[:-1], b""):
        assert code_of(allowing, f"{head}.{b64url(other)}") == "invalid_assertion_signature"
    for name, number in (("g", 2), ("y", 3), ("q", q - 2), ("y", 1), ("g", 1)):
        odd = dsa_bundle(ring, key, user, **{name: f"{number:x}"})
        assert code_of(allowing, odd) == "invalid_key"
    for algorithms in ({"RS256"}, {"RS256", "DS256", "DS128"} - {user}):
        assert code_of(Offline(issuers, [ORIGIN], algorithms), bundle) == "unsupported_algorithm"


def test_a_dsa_signature_keeps_the_zeros_in_front_of_its_numbers(
    ring: KeyRing, issuers: dict[str, SupportDocument]
) -> None:
    allowing, key = Offline(issuers, [ORIGIN], {"RS256", "DS256"}), dsa_key("DS256")
    bundles = (dsa_bundle(ring, key, "DS256") for _ in range(20_000))  # each signature is another one
    bundle = next(bundle for bundle in bundles if signature_of(bundle)[32] == 0)
    signature = signature_of(bundle)

    assert allowing.verify(bundle, NOW).email == EMAIL
    stripped = with_signature(bundle, signature[:32] + signature[33:])
    assert code_of(allowing, stripped) == "invalid_assertion_signature"


@pytest.mark.parametrize("first", range(len(IN_ORDER)), ids=[f"{at}-{row[0]}" for at, row in enumerate(IN_ORDER)])
def test_a_bundle_with_two_faults_gets_the_word_of_the_earlier_check(
    first: int, ring: KeyRing, verifier: Offline
) -> None:
    code, earlier = IN_ORDER[first]
    # The earlier fault is made last: where both change one member, it is the one that stays.
    answers = {code_of(verifier, spoiled(ring, later, earlier)) for _, later in IN_ORDER[first + 1 :]}

    assert answers <= {code}


# --- what is left of a valid bundle ----------------------------------------------------------------------------------


def test_what_leaves_the_verifier_is_address_issuer_audience_end_and_digest(ring: KeyRing, verifier: Offline) -> None:
    draft = Draft(ring)
    draft.assertion["aud"] = ORIGIN.upper() + ":443/"
    bundle = draft.text()
    inputs = "~".join(part.rpartition(".")[0] for part in bundle.split("~"))

    assert verifier.verify(bundle, NOW) == Verified(
        email=EMAIL,
        issuer=ISSUER,
        audience=ORIGIN,
        expires_at_ms=NOW + 2 * MINUTE,
        replay_digest=b64url(hashlib.sha256(inputs.encode()).digest()),
    )


def test_a_login_ends_with_its_certificate_if_that_ends_first(ring: KeyRing, verifier: Offline) -> None:
    bundle = spoiled(ring, cert("exp", NOW + MINUTE))

    assert verifier.verify(bundle, NOW).expires_at_ms == NOW + MINUTE


def test_another_spelling_of_a_signature_has_the_same_replay_digest(ring: KeyRing, verifier: Offline) -> None:
    short = short_assertion_signature(Draft(ring))
    padded = with_signature(short, signature_of(short).rjust(256, b"\0"))

    assert short != padded
    assert verifier.verify(short, NOW).replay_digest == verifier.verify(padded, NOW).replay_digest


def test_two_assertions_by_one_certificate_have_two_replay_digests(ring: KeyRing, verifier: Offline) -> None:
    draft = Draft(ring)
    first = draft.text()
    draft.assertion["exp"] += 1

    assert verifier.verify(first, NOW).replay_digest != verifier.verify(draft.text(), NOW).replay_digest


def test_an_audience_of_ours_that_is_no_origin_is_a_mistake_at_start() -> None:
    with pytest.raises(ValueError, match="origin"):
        Verifier({}, ["https://push.example.net/app"])


# --- whatever arrives ------------------------------------------------------------------------------------------------


def test_a_change_of_any_one_byte_of_a_valid_bundle_is_refused(ring: KeyRing, verifier: Offline) -> None:
    bundle = spoiled(ring, lambda draft: None)
    for place, character in enumerate(bundle):
        # The neighbours in the alphabet, each bit, and what a lax reader may skip.
        others = {chr(ord(character) ^ 1 << bit) for bit in range(8)} | {"A", "_", "~", ".", "=", "\n"}
        for other in others - {character}:
            assert code_of(verifier, bundle[:place] + other + bundle[place + 1 :])


def test_a_byte_more_or_less_anywhere_in_a_valid_bundle_is_refused(ring: KeyRing, verifier: Offline) -> None:
    bundle = spoiled(ring, lambda draft: None)
    for place in range(len(bundle)):
        assert code_of(verifier, bundle[:place] + bundle[place + 1 :])
        for more in "A=~. ":
            assert code_of(verifier, bundle[:place] + more + bundle[place:])


@FUZZ
@given(data=st.data())
def test_any_edit_of_a_valid_bundle_is_refused(data: st.DataObject, ring: KeyRing, verifier: Offline) -> None:
    bundle = spoiled(ring, lambda draft: None)
    start = data.draw(st.integers(0, len(bundle)))
    end = data.draw(st.integers(start, min(len(bundle), start + 3)))
    edited = bundle[:start] + data.draw(st.text(max_size=3)) + bundle[end:]

    if edited != bundle:
        assert code_of(verifier, edited)


@FUZZ
@given(text=st.text() | st.text("AZaz09-_.~="))
def test_any_text_is_refused(text: str, verifier: Offline) -> None:
    assert code_of(verifier, text)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@FUZZ
@given(name=st.sampled_from(["iss", "iat", "exp", "public-key", "principal", "aud"]), value=JSON_VALUES)
def test_any_json_in_a_claim_that_is_properly_signed_ends_in_a_login_or_a_refusal(
    name: str, value: object, ring: KeyRing, verifier: Offline
) -> None:
    for change in (cert(name, value), claim(name, value)):
        try:
            verified = verifier.verify(spoiled(ring, change), NOW)
        except LoginRefused:
            continue
        assert verified.email == EMAIL


@FUZZ
@given(member=st.sampled_from(["algorithm", "kty", "n", "e", "y", "p", "q", "g"]), value=JSON_VALUES)
def test_any_json_in_a_certified_key_ends_in_a_login_or_a_refusal(
    member: str, value: object, ring: KeyRing, verifier: Offline
) -> None:
    try:
        verified = verifier.verify(spoiled(ring, key_member(member, value)), NOW)
    except LoginRefused:
        return
    assert verified.email == EMAIL


@FUZZ
@given(header_text=st.binary(max_size=40), payload=st.binary(max_size=40))
def test_any_bytes_properly_signed_are_refused(
    header_text: bytes, payload: bytes, ring: KeyRing, verifier: Offline
) -> None:
    assertion = signed(ring.user, header_text, payload)

    assert code_of(verifier, f"{Draft(ring).text().partition('~')[0]}~{assertion}")
