"""What a role needs before it starts."""

from typing import Any

import pytest

from pushctl.config.check import check_role, dev_idp_on
from pushctl.config.model import ROLE_NAMES, BrowseridIssuer, Config, RoleName
from pushctl.config.schema import changed

COMPLETE = {
    "api.public_url": "https://push.example",
    "boxoffice.public_url": "https://push.example",
    "socket.public_url": "wss://s1.push.example/",
    "socket.id": "s1",
    "identity.keys_file": "/keys.toml",
}
BOTH = {"identity.environment": "development", "identity.dev_idp.enabled": True}


def complete(**tables: Any) -> Config:
    return changed(Config(), COMPLETE | tables)


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_a_complete_configuration_has_no_mistakes(role: RoleName) -> None:
    assert check_role(complete(), role) == []


@pytest.mark.parametrize(
    ("role", "missing"),
    [
        ("api", ["api.public_url", "identity.keys_file"]),
        ("boxoffice", ["boxoffice.public_url"]),
        ("socket", ["socket.public_url", "api.public_url", "socket.id", "identity.keys_file"]),
        ("router", []),
        ("gc", []),
    ],
)
def test_a_role_alone_names_all_it_misses(role: RoleName, missing: list[str]) -> None:
    assert [mistake.split(":")[0] for mistake in check_role(Config(), role)] == missing


def test_a_role_of_serve_all_needs_no_public_url() -> None:
    config = changed(complete(), {"api.public_url": "", "socket.public_url": "", "socket.id": "s1"})
    assert check_role(config, "api", alone=False) == check_role(config, "socket", alone=False) == []


def test_a_server_id_is_one_word() -> None:
    (mistake,) = check_role(changed(complete(), {"socket.id": "s 1"}), "socket")
    assert mistake.startswith("socket.id: expected letters")


@pytest.mark.parametrize("role", ["api", "boxoffice", "socket"])
def test_certificate_and_key_belong_together_and_clients_are_told_that_it_is_tls(role: RoleName) -> None:
    both = {f"{role}.tls_certificate": "c.pem", f"{role}.tls_key": "k.pem"}
    assert check_role(changed(complete(), both), role) == []
    for name, path in both.items():
        (mistake,) = check_role(changed(complete(), {name: path}), role)
        assert mistake.endswith(f"required with {name}: both or neither")
    (mistake,) = check_role(changed(complete(), {f"{role}.tls_client_ca": "ca.pem"}), role)
    assert mistake == f"{role}.tls_client_ca: means nothing without {role}.tls_certificate"
    scheme = "ws" if role == "socket" else "http"
    (mistake,) = check_role(changed(complete(), both | {f"{role}.public_url": f"{scheme}://push.example"}), role)
    assert mistake.startswith(f"{role}.public_url: must begin with {scheme}s://")


@pytest.mark.parametrize(("days", "mistakes"), [(0, 0), (364, 1), (365, 0)])
def test_a_device_is_not_idle_while_its_session_lasts(days: float, mistakes: int) -> None:
    config = changed(complete(), {"gc.idle_device_days": days})
    found = check_role(config, "gc")
    assert len(found) == mistakes
    assert all(mistake.startswith("gc.idle_device_days: must be at least") for mistake in found)


def test_a_router_that_calls_servers_must_be_able_to_sign() -> None:
    by_rpc = {"routing.strategy": "rpc"}
    assert check_role(changed(complete(), by_rpc), "router") == []
    elsewhere = {"identity.keys_file": "", "identity.keys_toml": "text"}
    assert check_role(changed(complete(), by_rpc | elsewhere), "router") == []
    assert check_role(changed(complete(), elsewhere), "api") == []
    (twice,) = check_role(changed(complete(), {"identity.keys_toml": "text"}), "api")
    assert "use one of them" in twice
    (mistake,) = check_role(changed(complete(), by_rpc | {"identity.keys_file": ""}), "router")
    assert mistake.startswith("identity.keys_file: required by routing.strategy = rpc")


@pytest.mark.parametrize(
    ("listen", "url", "mistakes"),
    [
        ("10.0.0.5:9182", "", 0),
        ("s1.internal:9182", "", 0),
        ("0.0.0.0:9182", "http://10.0.0.5:9182", 0),
        ("0.0.0.0:9182", "", 1),
        ("[::]:9182", "", 1),
        ("", "http://10.0.0.5:9182", 1),
    ],
)
def test_routers_must_be_told_where_to_call_a_server(listen: str, url: str, mistakes: int) -> None:
    found = check_role(changed(complete(), {"socket.rpc_listen": listen, "socket.rpc_url": url}), "socket")
    assert len(found) == mistakes
    assert all(mistake.startswith("socket.rpc_url: ") for mistake in found)


@pytest.mark.parametrize("role", ROLE_NAMES)
@pytest.mark.parametrize("half", BOTH)
def test_half_a_switch_for_the_development_provider_stops_every_role_and_says_which(role: RoleName, half: str) -> None:
    config = changed(complete(), {half: BOTH[half]})
    (mistake,) = check_role(config, role)
    assert mistake.startswith(half)
    assert next(other for other in BOTH if other != half) in mistake
    assert not dev_idp_on(config)


def test_both_halves_on_loopback_are_right() -> None:
    config = changed(complete(), BOTH)
    assert check_role(config, "api") == []
    assert dev_idp_on(config)


@pytest.mark.parametrize("listen", ["0.0.0.0:8080", "[::]:8080", "push.example:8080"])
@pytest.mark.parametrize("key", ["api.listen", "api.admin_listen"])
def test_the_development_provider_refuses_listeners_that_others_reach(listen: str, key: str) -> None:
    (mistake,) = check_role(changed(complete(), BOTH | {key: listen}), "api")
    assert mistake.startswith(f"{key}: must be a loopback address")
    allowed = {"identity.dev_idp.allow_bind_any": True}
    assert check_role(changed(complete(), BOTH | {key: listen} | allowed), "api") == []


BELIEVED = {
    "identity.browserid.enabled": True,
    "identity.browserid.issuers": (BrowseridIssuer(issuer="i.example", domains=("i.example",), keys_file="k"),),
}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({}, []),
        ({"identity.browserid.issuers": ()}, ["identity.browserid.issuers"]),
        ({"identity.browserid.issuers": (), "identity.browserid.enabled": False}, []),
        ({"identity.browserid.issuers": (), "identity.browserid.mode": "discover"}, []),
        ({"identity.browserid.algorithms": ()}, ["identity.browserid.algorithms"]),
        ({"identity.browserid.audiences": ("https://a.example", "https://b.example:8443")}, []),
        ({"identity.browserid.audiences": ("http://a.example", "https://b.example")}, ["identity.browserid.audiences"]),
        ({"identity.browserid.audiences": ("http://127.0.0.1:8080",)}, ["identity.browserid.audiences"]),
        ({"identity.browserid.audiences": ("http://127.0.0.1:8080", "http://localhost"), **BOTH}, []),
        ({"identity.browserid.audiences": ("http://a.example",), **BOTH}, ["identity.browserid.audiences"]),
    ],
)
def test_whoever_is_believed_with_browserid_is_named_and_what_for_travels_encrypted(
    changes: dict[str, Any], named: list[str]
) -> None:
    config = changed(complete(), BELIEVED | changes)

    assert [mistake.split(":")[0] for mistake in check_role(config, "api")] == named
    assert check_role(config, "socket") == []
