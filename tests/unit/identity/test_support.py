"""Support documents: what they may say."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushctl.identity.browserid_make import public_key_json
from pushctl.identity.issuers import DEFAULT_ALGORITHMS
from pushctl.identity.refusal import LoginRefused
from pushctl.identity.support import MAX_KEYS, SupportDocument, parse_document
from tests.unit.identity.bundles import FUZZ, KeyRing

RSA_1024 = {"algorithm": "RS", "n": str(2**1023 + 1), "e": "65537"}
RSA_2048 = {"algorithm": "RS", "n": str(2**2047 + 1), "e": "65537"}
PAGES = {"authentication": "/sign_in", "provisioning": "/provision"}
PUBLISHED = {"public-key": RSA_2048, **PAGES}


def parsed(document: object, *, published: bool = True) -> SupportDocument:
    return parse_document(json.dumps(document).encode(), DEFAULT_ALGORITHMS, published=published)


def algorithms(document: object, *, published: bool = True) -> list[str]:
    return [key.algorithm for key in parsed(document, published=published).keys]


def test_a_published_document_names_one_key_or_several() -> None:
    assert algorithms(PUBLISHED) == ["RS256"]
    assert algorithms(PUBLISHED | {"keys": [RSA_2048, RSA_1024]}) == ["RS256", "RS256", "RS128"]
    assert algorithms({"keys": [{"use": "enc", "kty": "EC"}, {"use": "sig", **RSA_2048}], **PAGES}) == ["RS256"]


def test_a_file_may_leave_the_pages_out_and_be_a_bare_key(ring: KeyRing) -> None:
    key = public_key_json(ring.issuer)

    assert algorithms({"public-key": key}, published=False) == ["RS256"]
    assert algorithms({"keys": [key, RSA_1024]}, published=False) == ["RS256", "RS128"]
    assert algorithms(key, published=False) == ["RS256"]


def test_a_stranger_publishes_no_more_keys_than_can_be_looked_at_in_passing() -> None:
    """Forty DSA keys fit into a document: 180 ms in which an api that takes them answered nobody."""
    keys = {"keys": [RSA_2048] * MAX_KEYS}
    assert len(algorithms(keys | PAGES)) == MAX_KEYS
    with pytest.raises(LoginRefused) as refused:
        parsed(PUBLISHED | keys)
    assert refused.value.code == "invalid_support_document"
    assert len(algorithms({"public-key": RSA_2048} | keys, published=False)) == MAX_KEYS + 1


def test_delegation_wins_over_a_key_and_disabled_over_both() -> None:
    document: dict[str, Any] = PUBLISHED | {"authority": "other.example"}

    assert parsed(document) == SupportDocument(authority="other.example")
    assert parsed(document | {"disabled": True}) == SupportDocument(disabled=True)
    assert algorithms(PUBLISHED | {"disabled": False}) == ["RS256"]


@pytest.mark.parametrize(
    "document",
    [
        "[]",
        "",
        "{}",
        json.dumps(PUBLISHED | {"public-key": "RS"}),
        json.dumps(PUBLISHED | {"public-key": {"alg": "RS256", "n": "7", "e": "3"}}),
        json.dumps(PUBLISHED | {"keys": {}}),
        json.dumps(PUBLISHED | {"keys": [7]}),
        json.dumps(PUBLISHED | {"keys": [RSA_2048, RSA_2048 | {"n": "7"}]}),
        json.dumps({"keys": [], **PAGES}),
        json.dumps(PAGES),
        json.dumps(RSA_2048 | PAGES),
        *(
            json.dumps(PUBLISHED | {name: path})
            for name in PAGES
            for path in ("", "sign_in", "//evil.example", "https://evil.example/", None, 7)
        ),
        json.dumps({"public-key": RSA_2048}),
        '{"authority": 7}',
        '{"authority": "https://other.example"}',
        '{"authority": "other.example:8443"}',
        '{"authority": "Other.example"}',
        '{"authority": "10.0.0.1"}',
        '{"authority": "localhost"}',
        json.dumps(PUBLISHED | {"disabled": "true"}),
        json.dumps(PUBLISHED | {"disabled": 1}),
        '{"disabled": false, "disabled": true}',
    ],
)
def test_a_document_that_is_none_is_refused(document: str) -> None:
    with pytest.raises(LoginRefused) as caught:
        parse_document(document.encode(), DEFAULT_ALGORITHMS, published=True)

    assert caught.value.code == "invalid_support_document"


@FUZZ
@given(raw=st.binary() | st.dictionaries(st.sampled_from(["keys", "kty", "authority"]), st.text()).map(json.dumps))
def test_any_document_is_read_or_refused(raw: bytes | str) -> None:
    try:
        entry = parse_document(raw.encode() if isinstance(raw, str) else raw, DEFAULT_ALGORITHMS, published=True)
    except LoginRefused:
        return
    assert entry.authority
