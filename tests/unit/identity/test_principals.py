"""The spelling of principals that user ids are made of."""

from hypothesis import given
from hypothesis import strategies as st

from pushctl.identity.principals import BROWSERID, BROWSERID_DEV, Principal
from tests.unit.identity.bundles import FUZZ

PARTS = st.text("ab\x00é", max_size=3)


def test_a_principal_is_spelled_with_lengths() -> None:
    canonical = Principal("browserid", "", "é@x.example").canonical()

    assert canonical == b"push-principal-v1\0\0\0\x09browserid\0\0\0\0\0\0\0\x0c" + "é@x.example".encode()


def test_parts_that_concatenate_equal_are_two_principals() -> None:
    assert Principal("oidc", "a", "bc").canonical() != Principal("oidc", "ab", "c").canonical()


def test_a_development_account_is_never_a_real_one() -> None:
    assert (
        Principal(BROWSERID, "", "a@x.example").canonical() != Principal(BROWSERID_DEV, "", "a@x.example").canonical()
    )


@FUZZ
@given(one=st.builds(Principal, PARTS, PARTS, PARTS), other=st.builds(Principal, PARTS, PARTS, PARTS))
def test_two_principals_never_share_a_spelling(one: Principal, other: Principal) -> None:
    assert (one.canonical() == other.canonical()) == (one == other)
