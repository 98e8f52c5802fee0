"""Login codes and their statuses: docs/protocol.md, section 0."""

from typing import get_args

import pytest

from pushctl.errors import Problem, Unauthenticated
from pushctl.identity.refusal import LoginCode, LoginRefused, TokenCode

STATUSES = {
    400: {
        "malformed_bundle",
        "malformed_jws",
        "missing_principal",
        "invalid_claim",
        "invalid_audience",
        "invalid_principal",
        "invalid_key",
        "invalid_support_document",
        "invalid_certificate_signature",
        "invalid_assertion_signature",
        "certificate_chain",
        "unsupported_algorithm",
        "algorithm_mismatch",
        "malformed_token",
    },
    413: {"assertion_too_large"},
    503: {"issuer_unavailable"},
    401: {
        "audience_mismatch",
        "assertion_expired",
        "assertion_not_yet_valid",
        "assertion_lifetime",
        "certificate_expired",
        "certificate_not_yet_valid",
        "certificate_lifetime",
        "no_browserid_support",
        "delegation_loop",
        "delegation_too_deep",
        "untrusted_issuer",
        "replayed_assertion",
        "token_superseded",
        *(set(get_args(TokenCode)) - {"malformed_token"}),
    },
}


def test_every_code_is_in_the_table() -> None:
    assert set(get_args(LoginCode)) == set().union(*STATUSES.values())


@pytest.mark.parametrize("status", STATUSES)
def test_every_code_has_its_status_and_a_sentence(status: int) -> None:
    for code in get_args(LoginCode):
        refused = LoginRefused(code)
        if code in STATUSES[status]:
            assert (refused.status, refused.code) == (status, code)
        assert str(refused) == refused.detail
        assert refused.detail
        assert refused.field == "Authorization"


def test_only_an_issuer_that_is_away_says_when_to_try_again() -> None:
    waits = {code: LoginRefused(code).retry_after_seconds for code in get_args(LoginCode)}

    assert {code for code, seconds in waits.items() if seconds} == {"issuer_unavailable"}


def test_a_refusal_changes_no_other_problem() -> None:
    LoginRefused("assertion_too_large")

    assert (Problem.status, Problem.code, Unauthenticated.status) == (400, "body_invalid", 401)


def test_the_reason_is_for_the_log_and_not_in_the_answer() -> None:
    refused = LoginRefused("invalid_claim", "certificate: iss is not a string")

    assert refused.reason not in refused.detail
    assert LoginRefused("invalid_claim").reason == "invalid_claim"


def test_a_token_that_is_not_accepted_is_told_so_as_bearer_tokens_are() -> None:
    """RFC 6750, section 3.1."""
    challenges = {code: LoginRefused(code).challenge for code in get_args(LoginCode)}

    told = {code for code, challenge in challenges.items() if challenge == 'Bearer error="invalid_token"'}
    assert told == set(get_args(TokenCode)) - {"malformed_token"}
