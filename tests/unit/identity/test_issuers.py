"""Issuer files and the table made of them. Delegation at login: test_browserid.py, step 8."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushctl.errors import ConfigError
from pushctl.identity.browserid_make import public_key_json
from pushctl.identity.issuers import IssuerKeys, load_issuers, parse_document
from pushctl.identity.refusal import LoginRefused
from tests.unit.identity.bundles import FUZZ, KeyRing

RSA_1024 = {"algorithm": "RS", "n": str(2**1023 + 1), "e": "65537"}


def algorithms(document: object) -> list[str]:
    return [key.algorithm for key in parse_document(json.dumps(document).encode()).keys]


def test_a_support_document_a_set_of_keys_and_a_bare_key_are_read(ring: KeyRing) -> None:
    key = public_key_json(ring.issuer)
    pages = {"authentication": "/sign_in", "provisioning": "/provision"}

    assert algorithms({"public-key": key, **pages}) == ["RS256"]
    assert algorithms({"public-key": key, "keys": [public_key_json(ring.user)], **pages}) == ["RS256", "RS256"]
    assert algorithms({"keys": [key, RSA_1024]}) == ["RS256", "RS128"]
    assert algorithms({"keys": [{"use": "enc", "kty": "EC"}, {"use": "sig", **key}]}) == ["RS256"]
    assert algorithms(key) == ["RS256"]


def test_delegation_wins_over_a_key_and_disabled_over_both(ring: KeyRing) -> None:
    document: dict[str, Any] = {"public-key": public_key_json(ring.issuer), "authority": "other.example"}

    assert parse_document(json.dumps(document).encode()) == IssuerKeys(authority="other.example")
    assert parse_document(json.dumps(document | {"disabled": True}).encode()) == IssuerKeys(disabled=True)


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ("[]", "invalid_support_document"),
        ("", "invalid_support_document"),
        ("{}", "invalid_support_document"),
        ('{"keys": []}', "invalid_support_document"),
        ('{"keys": {}}', "invalid_support_document"),
        ('{"keys": [7]}', "invalid_support_document"),
        ('{"public-key": "RS"}', "invalid_support_document"),
        ('{"public-key": {"alg": "RS256", "n": "7", "e": "3"}}', "invalid_support_document"),
        ('{"authority": 7}', "invalid_support_document"),
        ('{"authority": "https://other.example"}', "invalid_support_document"),
        ('{"disabled": "true"}', "invalid_support_document"),
        ('{"disabled": false, "disabled": true}', "invalid_support_document"),
        (json.dumps({"keys": [RSA_1024]}), "unsupported_algorithm"),
    ],
)
def test_a_document_that_names_no_usable_key_is_refused(document: str, code: str) -> None:
    with pytest.raises(LoginRefused) as caught:
        parse_document(document.encode())

    assert caught.value.code == code


@FUZZ
@given(raw=st.binary() | st.dictionaries(st.sampled_from(["keys", "kty", "authority"]), st.text()).map(json.dumps))
def test_any_document_is_read_or_refused(raw: bytes | str) -> None:
    try:
        entry = parse_document(raw.encode() if isinstance(raw, str) else raw)
    except LoginRefused:
        return
    assert entry.authority


def test_the_table_is_read_from_files(tmp_path: Path, ring: KeyRing) -> None:
    (tmp_path / "idp.json").write_text(json.dumps(public_key_json(ring.issuer)))
    (tmp_path / "mail.json").write_text('{"authority": "idp.example"}')

    table = load_issuers({"idp.example": str(tmp_path / "idp.json"), "mail.example": str(tmp_path / "mail.json")})

    assert table["mail.example"].authority == "idp.example"
    assert [key.algorithm for key in table["idp.example"].keys] == ["RS256"]


def test_every_mistake_in_the_table_is_named_with_its_domain_and_file(tmp_path: Path, ring: KeyRing) -> None:
    good = json.dumps(public_key_json(ring.issuer))
    files = {
        "empty.example": "{}",
        "not-json.example": "key",
        "weak.example": json.dumps(RSA_1024),
        "large.example": good + " " * 65_536,
        "dev-idp.localhost": good,
        "to-dev.example": '{"authority": "dev-idp.localhost"}',
        "https://url.example": good,
    }
    table = {}
    for number, (domain, content) in enumerate(files.items()):
        path = tmp_path / f"{number}.json"
        path.write_text(content)
        table[domain] = str(path)
    table["missing.example"] = str(tmp_path / "nowhere.json")

    with pytest.raises(ConfigError) as caught:
        load_issuers(table)

    assert len(caught.value.mistakes) == len(table)
    for domain, mistake in zip(table, caught.value.mistakes, strict=True):
        assert mistake.startswith(f"identity.browserid.issuers: {domain!r}: ")
    read = [domain for domain in files if domain not in ("dev-idp.localhost", "https://url.example")]
    for domain in read:
        assert any(table[domain] in mistake for mistake in caught.value.mistakes)
