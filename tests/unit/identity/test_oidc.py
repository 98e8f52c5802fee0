"""ID tokens and access tokens: the check list row by row, and that nothing else ever happens."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushctl.config.model import OidcProvider
from pushctl.identity.jwk import choose_key, parse_keys
from pushctl.identity.oidc import VerifiedToken, check_claims, conclude, examine
from pushctl.identity.refusal import LoginRefused
from pushctl.ids import b64url
from tests.unit.identity.token_rows import IN_ORDER, INVALID, VALID, Row
from tests.unit.identity.tokens import (
    ACCESS_TOKENS,
    ID_TOKENS,
    LEEWAY,
    NOW,
    SUBJECT,
    Draft,
    Signer,
    by_joserfc,
    id_claims,
)


def verify(text: str, provider: OidcProvider, signer: Signer) -> VerifiedToken:
    """All checks in their order, with keys that are at hand."""
    names = (*signer.keys,)
    token = examine(text, provider)
    key = choose_key(parse_keys(signer.document(*names), provider.algorithms), token.alg, token.kid)
    if key is None:
        raise LoginRefused("unknown_key")
    return conclude(token, key, provider, now_ms=NOW * 1000, leeway_ms=LEEWAY * 1000)


def refusal(text: str, provider: OidcProvider, signer: Signer) -> LoginRefused:
    with pytest.raises(LoginRefused) as caught:
        verify(text, provider, signer)
    return caught.value


@pytest.mark.parametrize("row", VALID.values(), ids=VALID)
def test_a_token_that_passes_every_check_says_who_logs_in(row: Row, signer: Signer) -> None:
    provider, make = row
    verified = verify(make(signer), provider, signer)

    assert verified.subject in (SUBJECT, "s" * 255)
    assert verified.expires_at_ms >= (NOW - LEEWAY) * 1000
    assert len(verified.replay_digest) == 43
    assert verified.generation == (7 if provider.generation_claim else None)


@pytest.mark.parametrize(("code", "row"), INVALID.values(), ids=INVALID)
def test_each_fault_has_the_word_of_its_check(code: str, row: Row, signer: Signer) -> None:
    provider, make = row
    assert refusal(make(signer), provider, signer).code == code


@pytest.mark.parametrize(("code", "row"), IN_ORDER.values(), ids=IN_ORDER)
def test_of_two_faults_the_first_in_order_is_said(code: str, row: Row, signer: Signer) -> None:
    provider, make = row
    assert refusal(make(signer), provider, signer).code == code


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256"])
def test_a_token_is_as_good_when_joserfc_writes_all_of_it(alg: str, signer: Signer) -> None:
    key = signer.keys["RS256" if alg == "PS256" else alg]
    text = by_joserfc({"alg": alg, "kid": key.kid, "typ": "JWT"}, id_claims(), key)

    assert verify(text, ID_TOKENS, signer).subject == SUBJECT


def test_a_token_without_kid_is_checked_with_the_only_key_there_is(signer: Signer) -> None:
    token = examine(Draft(signer, alg="ES256", header={"kid": None}).token(), ID_TOKENS)
    keys = parse_keys(signer.document("RS256", "ES256"), ID_TOKENS.algorithms)

    assert choose_key(keys, token.alg, token.kid) is keys[1]


def test_a_key_that_does_not_fit_checks_nothing(signer: Signer) -> None:
    token = examine(Draft(signer).token(), ID_TOKENS)
    (ec,) = parse_keys(signer.document("ES256"), ID_TOKENS.algorithms)

    with pytest.raises(LoginRefused, match="signature"):
        conclude(token, ec, ID_TOKENS, now_ms=NOW * 1000, leeway_ms=0)


def test_one_token_has_one_digest_and_another_has_another(signer: Signer) -> None:
    text = Draft(signer, alg="ES256").token()
    again = Draft(signer, alg="ES256").token()
    other = Draft(signer, alg="ES256", claims={"jti": "2"}).token()
    digests = [verify(each, ID_TOKENS, signer).replay_digest for each in (text, again, other)]

    assert text != again  # another signature under the same claims is no other token
    assert digests[0] == digests[1] != digests[2]


def test_the_nonce_of_a_login_is_compared_by_whoever_started_it() -> None:
    def check(claims: dict[str, object]) -> None:
        check_claims(claims, ID_TOKENS, now_ms=NOW * 1000, leeway_ms=0, nonce="n-1")

    check(id_claims() | {"nonce": "n-1"})
    for claims in (id_claims(), id_claims() | {"nonce": "n-2"}):
        with pytest.raises(LoginRefused) as caught:
            check(claims)
        assert caught.value.code == "wrong_nonce"


def test_neither_answer_nor_log_quotes_the_token(signer: Signer) -> None:
    for code, (provider, make) in INVALID.values():
        text = make(signer)
        refused = refusal(text, provider, signer)
        assert refused.code == code
        assert not any(part in refused.reason + refused.detail for part in text.split(".") if len(part) > 8)


@given(st.text() | st.binary().map(b64url) | st.lists(st.binary().map(b64url), min_size=3, max_size=3).map(".".join))
def test_whatever_text_comes_it_is_refused(text: str) -> None:
    for provider in (ID_TOKENS, ACCESS_TOKENS):
        with pytest.raises(LoginRefused):
            examine(text, provider)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    header=st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "jwk", "b64"]), JSON),
    claims=st.dictionaries(st.sampled_from([*id_claims(), "nbf", "azp", "nonce", "scope", "generation"]), JSON),
    garbage=st.binary(),
)
def test_whatever_is_signed_it_is_a_login_or_the_one_refusal(
    header: dict[str, object], claims: dict[str, object], garbage: bytes, signer: Signer
) -> None:
    """Well signed, and with anything at all in header and claims; and any bytes in the claims' place."""
    for provider in (ID_TOKENS, ACCESS_TOKENS):
        for text in (json.dumps(id_claims() | claims), garbage.decode("latin-1") or "x"):
            for changes in (header, {}):
                draft = Draft(signer, provider.kind, header=changes, text=text)
                try:
                    verify(draft.token(), provider, signer)
                except LoginRefused as refused:
                    assert refused.status in (400, 401)  # noqa: PT017 - both ends are right
