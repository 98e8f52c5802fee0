"""The configured issuers and their files. Delegation at login: test_browserid.py, step 8."""

import json
from pathlib import Path

import pytest

from pushctl.config.model import BrowseridIssuer
from pushctl.errors import ConfigError
from pushctl.identity.browserid_make import public_key_json
from pushctl.identity.issuers import DEFAULT_ALGORITHMS, load_issuers
from tests.unit.identity.bundles import KeyRing

RSA_1024 = {"algorithm": "RS", "n": str(2**1023 + 1), "e": "65537"}


def issuer(name: str, *domains: str, file: Path) -> BrowseridIssuer:
    return BrowseridIssuer(issuer=name, domains=domains, keys_file=str(file))


def mistakes(*issuers: BrowseridIssuer) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_issuers(issuers, DEFAULT_ALGORITHMS)
    return caught.value.mistakes


def test_the_table_says_who_signs_for_each_domain(tmp_path: Path, ring: KeyRing) -> None:
    file = tmp_path / "idp.json"
    file.write_text(json.dumps({"keys": [public_key_json(ring.issuer), RSA_1024]}))

    table = load_issuers([issuer("idp.example", "idp.example", "mail.example", file=file)], DEFAULT_ALGORITHMS)

    assert table.keys() == {"idp.example", "mail.example"}
    assert table["mail.example"].name == "idp.example"
    assert [key.algorithm for key in table["mail.example"].keys] == ["RS256", "RS128"]


def test_an_issuer_that_signs_for_others_does_not_speak_for_its_own_name(tmp_path: Path, ring: KeyRing) -> None:
    file = tmp_path / "idp.json"
    file.write_text(json.dumps(public_key_json(ring.issuer)))

    assert load_issuers([issuer("idp.example", "mail.example", file=file)], DEFAULT_ALGORITHMS).keys() == {
        "mail.example"
    }


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{}", "no public-key, keys or authority in it"),
        ("key", "not an unambiguous JSON object"),
        (json.dumps(RSA_1024), "no key of an algorithm that is accepted (RS256)"),
        (json.dumps(RSA_1024) + " " * 65_536, "larger than 65536 bytes"),
        ('{"authority": "other.example"}', "holds no keys; who speaks"),
        ('{"disabled": true}', "holds no keys; who speaks"),
        (None, "cannot read"),
    ],
)
def test_a_file_without_a_usable_key_is_named_with_its_place(content: str | None, says: str, tmp_path: Path) -> None:
    file = tmp_path / "idp.json"
    if content is not None:
        file.write_text(content)

    (mistake,) = mistakes(issuer("idp.example", "idp.example", file=file))

    assert mistake.startswith("identity.browserid.issuers[0].keys_file: ")
    assert str(file) in mistake
    assert says in mistake


def test_every_mistake_in_the_table_is_named(tmp_path: Path, ring: KeyRing) -> None:
    file = tmp_path / "idp.json"
    file.write_text(json.dumps(public_key_json(ring.issuer)))

    found = mistakes(
        issuer("idp.example", "idp.example", file=file),
        issuer("https://url.example", "IDP.example", file=file),
        issuer("dev-idp.localhost", "dev-idp.localhost", file=file),
        issuer("other.example", "idp.example", file=file),
        issuer("none.example", file=tmp_path / "missing"),
    )

    assert [mistake.split(": ")[0].removeprefix("identity.browserid.issuers") for mistake in found] == [
        "[1].issuer",
        "[1].domains",
        "[2].issuer",
        "[2].domains",
        "[3].domains",
        "[4].domains",
        "[4].keys_file",
    ]
