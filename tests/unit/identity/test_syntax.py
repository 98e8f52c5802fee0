"""E-mail addresses, domains, origins. What is refused as part of a login: test_browserid.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushctl.identity.syntax import Origin, email_domain, is_domain
from tests.unit.identity.bundles import FUZZ


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("https://push.example.net", "https://push.example.net"),
        ("HTTPS://Push.Example.NET:443/", "https://push.example.net"),
        ("http://push.example.net:80", "http://push.example.net"),
        ("http://push.example.net:443", "http://push.example.net:443"),
        ("https://push.example.net:80", "https://push.example.net:80"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
        ("http://localhost", "http://localhost"),
    ],
)
def test_an_origin_has_one_spelling(text: str, spelled: str) -> None:
    assert str(Origin.parse(text)) == spelled
    assert Origin.parse(spelled) == Origin.parse(text)


@FUZZ
@given(text=st.text() | st.text("htps:/.@\\[]0129aZ-", max_size=40).map(lambda rest: f"https://{rest}"))
def test_any_text_is_an_origin_or_a_value_error(text: str) -> None:
    try:
        origin = Origin.parse(text)
    except ValueError:
        return
    assert Origin.parse(str(origin)) == origin


@pytest.mark.parametrize("domain", ["idp.example", "a.b", "x-1.y--z.example", "dev-idp.localhost", "1.2.3.four"])
def test_a_bare_lower_case_domain_is_one(domain: str) -> None:
    assert is_domain(domain)
    assert email_domain(f"a@{domain}") == domain


@pytest.mark.parametrize(
    "domain", ["", "example", "Example.org", "a..b", ".a.b", "a.b.", "a_b.c", "10.0.0.1", "a.b:1", "a.b\n", "ü.example"]
)
def test_what_is_no_bare_domain(domain: str) -> None:
    assert not is_domain(domain)
    assert email_domain(f"a@{domain}") is None


def test_an_address_has_at_most_254_characters() -> None:
    assert email_domain("a" * 242 + "@idp.example") == "idp.example"
    assert email_domain("a" * 243 + "@idp.example") is None


@FUZZ
@given(text=st.text() | st.from_regex(r"[a-z@.\n]{1,20}"))
def test_an_address_that_is_accepted_is_printable_ascii_with_one_at(text: str) -> None:
    if email_domain(text) is not None:
        assert text.isascii()
        assert text.isprintable()
        assert text.count("@") == 1
