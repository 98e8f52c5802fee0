"""What an operator is told about a list of OpenID providers, before anybody logs in."""

from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from pushctl.config.check import check_role
from pushctl.config.load import load
from pushctl.config.model import Config, DevIdp, Identity, Oidc, OidcProvider
from pushctl.config.oidc_rules import active_providers, check_providers
from pushctl.config.render import default_files
from tests.house.markdown import Document

OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"

ID = OidcProvider(
    name="accounts",
    kind="id_token",
    issuer="https://accounts.example/",
    jwks_uri="https://accounts.example/jwks",
    audiences=("client-1",),
)
ACCESS = OidcProvider(
    name="mozilla",
    kind="access_token",
    issuer="https://accounts.firefox.com",
    jwks_uri="https://oauth.accounts.firefox.com/v1/jwks",
    check_audience=False,
    required_scope="https://identity.mozilla.com/apps/push-example",
)


def with_providers(*providers: OidcProvider, enabled: bool = True, **identity: Any) -> Config:
    return replace(Config(), identity=Identity(oidc=Oidc(enabled=enabled, providers=providers), **identity))


def lines(*providers: OidcProvider, **identity: Any) -> list[str]:
    return check_providers(with_providers(*providers, **identity))


def test_two_good_providers_are_no_mistake() -> None:
    assert lines(ID, ACCESS) == []
    assert lines(replace(ID, jwks_uri="", discovery=True)) == []
    assert lines(ID, replace(ID, name="api", kind="access_token")) == []  # one issuer, two kinds
    assert lines(ID, replace(ID, name="other", issuer="https://accounts.example")) == []  # another issuer by its slash


def test_nothing_said_is_no_mistake_but_enabled_without_a_provider_is() -> None:
    assert check_providers(Config()) == []
    assert lines() == ["identity.oidc.enabled: needs at least one [[identity.oidc.providers]]"]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"name": ""}, "name"),
        ({"name": "my accounts"}, "name"),
        ({"name": "browserid"}, "name"),
        ({"name": "browserid-dev"}, "name"),
        ({"issuer": ""}, "issuer"),
        ({"issuer": "http://accounts.example"}, "issuer"),
        ({"issuer": "http://127.0.0.1:9000"}, "issuer"),
        ({"issuer": "https://accounts.example/?a"}, "issuer"),
        ({"issuer": "https://u@accounts.example/"}, "issuer"),
        ({"issuer": "accounts.example"}, "issuer"),
        ({"issuer": "https://accounts.example:x"}, "issuer"),
        ({"jwks_uri": "http://accounts.example/jwks"}, "jwks_uri"),
        ({"jwks_uri": "file:///jwks"}, "jwks_uri"),
        ({"jwks_uri": ""}, "jwks_uri"),
        ({"discovery": True}, "jwks_uri"),
        ({"algorithms": ()}, "algorithms"),
        ({"algorithms": ("RS256", "HS256")}, "algorithms"),
        ({"algorithms": ("none",)}, "algorithms"),
        ({"algorithms": ("rs256",)}, "algorithms"),
        ({"audiences": ()}, "audiences"),
        ({"audiences": ("",)}, "audiences"),
        ({"check_audience": False}, "check_audience"),
        ({"required_scope": "push"}, "required_scope"),
        ({"client_ids": ("client-1",)}, "client_ids"),
    ],
)
def test_each_mistake_is_named_with_its_key(changes: dict[str, Any], key: str) -> None:
    assert [line.split(": ")[0] for line in lines(ACCESS, replace(ID, **changes))] == [
        f"identity.oidc.providers[1].{key}"
    ]


def test_an_access_token_needs_an_audience_or_a_scope() -> None:
    (line,) = lines(replace(ACCESS, required_scope=""))
    assert line.startswith("identity.oidc.providers[0].required_scope: required with check_audience = false")
    (line,) = lines(replace(ACCESS, required_scope="a b"))
    assert line == "identity.oidc.providers[0].required_scope: expected one word"


def test_neither_a_name_nor_an_issuer_of_one_kind_stands_twice() -> None:
    assert lines(ID, ID) == [
        "identity.oidc.providers[1].name: accounts stands here twice",
        "identity.oidc.providers[1].issuer: there is a provider with this issuer and kind already",
    ]


@pytest.mark.parametrize("issuer", ["http://127.0.0.1:9000", "http://localhost:9000/oidc", "http://[::1]:9000"])
def test_plain_http_is_for_loopback_in_development(issuer: str) -> None:
    local = replace(ID, issuer=issuer, jwks_uri=f"{issuer}/jwks")
    assert lines(local, environment="development", dev_idp=DevIdp(enabled=True)) == []
    assert len(lines(local)) == 2
    assert lines(replace(ID, issuer="http://10.0.0.1"), environment="development")


def test_the_api_does_not_start_with_a_mistake_and_other_roles_do_not_care() -> None:
    config = with_providers(replace(ID, algorithms=("none",)), keys_file="keys.toml")
    assert "identity.oidc.providers[0].algorithms" in "".join(check_role(config, "api", alone=False))
    assert not check_role(config, "gc", alone=False)


def test_only_enabled_providers_are_active() -> None:
    off = replace(ACCESS, disabled=True)
    assert active_providers(with_providers(ID, off)) == (ID,)
    assert active_providers(with_providers(ID, enabled=False)) == ()


def test_the_documented_providers_are_taken_as_they_stand(tmp_path: Path) -> None:
    block = next(block for block in Document(OPERATIONS).blocks("toml") if "identity.oidc.providers" in block)
    (tmp_path / "providers.toml").write_text(block)
    config = load([tmp_path], [], {}).config

    assert [provider.name for provider in active_providers(config)] == ["accounts", "accounts-api", "mozilla"]
    assert check_providers(config) == []


def test_the_examples_of_the_default_files_are_taken_as_they_stand(tmp_path: Path) -> None:
    lines = default_files()["10-common.toml"].splitlines()
    first = lines.index("# [[identity.oidc.providers]]")
    entries = takewhile(lambda line: line.startswith("#"), lines[first:])
    (tmp_path / "a.toml").write_text("\n".join(["[identity.oidc]", "enabled = true", *(line[2:] for line in entries)]))
    config = load([tmp_path], [], {}).config

    assert [provider.name for provider in active_providers(config)] == ["accounts", "mozilla"]
    assert check_providers(config) == []
