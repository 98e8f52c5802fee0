"""What each key takes, and what it says when it gets something else."""

from contextlib import suppress
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushctl.config.model import Config
from pushctl.config.schema import build, changed, is_loopback, join_address, keys, split_address, tables, value_at


def refused(path: str, value: Any) -> str:
    with pytest.raises(ValueError, match=r".+") as caught:
        keys()[path].read(value)
    return str(caught.value)


@pytest.mark.parametrize("path", keys())
def test_every_default_is_a_value_that_its_key_takes(path: str) -> None:
    key = keys()[path]
    assert key.read(key.default) == key.default == value_at(Config(), path)


@pytest.mark.parametrize("path", keys())
def test_every_key_says_what_it_is_for(path: str) -> None:
    assert keys()[path].doc


@pytest.mark.parametrize("path", tables())
def test_every_table_says_what_it_is_for(path: str) -> None:
    assert tables()[path].__doc__
    assert not str(tables()[path].__doc__).startswith(f"{tables()[path].__name__}(")


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("gc.batch", True, "a whole number from 1 to 10000, got true"),
        ("gc.batch", 1.5, "a whole number from 1 to 10000, got 1.5"),
        ("gc.batch", "3", "a whole number from 1 to 10000, got '3'"),
        ("router.batch", 1001, "a whole number from 1 to 1000, got 1001"),
        ("gc.tick_seconds", float("nan"), "a number, at least 0.1, got nan"),
        ("gc.tick_seconds", float("inf"), "a number, at least 0.1, got inf"),
        ("log.level", "inf", "one of debug, info, warning, error, got 'inf'"),
        ("identity.dev_idp.enabled", 1, "true or false, got 1"),
        ("api.origins", "https://a", "a list of texts, got 'https://a'"),
        ("api.origins", [3], "a list of texts, got [3]"),
        ("identity.browserid.issuers", {}, "a list of tables, [[identity.browserid.issuers]], got {}"),
        ("identity.browserid.issuers", [3], "a list of tables, [[identity.browserid.issuers]], got [3]"),
        (
            "identity.browserid.algorithms",
            ["RS256", "DS128"],
            "only RS256 and DS256: the others are too weak, got ['RS256', 'DS128']",
        ),
    ],
)
def test_a_value_of_the_wrong_kind_or_out_of_bounds_is_refused(path: str, value: Any, says: str) -> None:
    assert refused(path, value) == says


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("api.listen", "8080"),
        ("api.listen", "127.0.0.1:"),
        ("api.listen", "127.0.0.1:65536"),
        ("api.listen", "::1:80"),
        ("api.listen", "[::1:80"),
        ("socket.admin_listen", "127.0.0.1:-1"),
        ("api.public_url", "https://push.example/"),
        ("api.public_url", "https://push.example/path"),
        ("api.public_url", "https://user@push.example"),
        ("api.public_url", "push.example"),
        ("api.public_url", "https://push.example:x"),
        ("socket.public_url", "https://push.example"),
        ("api.origins", ["https://a.example", "null"]),
        ("api.trusted_proxies", ["10.0.0.1/8"]),
        ("limits.exempt_networks", ["loopback"]),
        ("redis.url", "http://127.0.0.1"),
    ],
)
def test_a_value_of_the_wrong_form_is_refused(path: str, value: Any) -> None:
    assert refused(path, value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("api.listen", "[::1]:0"),
        ("api.listen", "localhost:65535"),
        ("api.admin_listen", ""),
        ("api.public_url", "http://127.0.0.1:8080"),
        ("socket.public_url", "wss://s3.push.example/"),
        ("gc.tick_seconds", 1),
        ("redis.url", "unix:///run/redis.sock"),
    ],
)
def test_a_value_of_the_right_form_is_taken_as_it_is(path: str, value: Any) -> None:
    assert keys()[path].read(value) == value


@given(st.text())
def test_whatever_a_variable_holds_it_is_taken_or_refused(text: str) -> None:
    for key in keys().values():
        with suppress(ValueError):
            key.read_text(text)


def test_text_is_not_interpreted_where_text_is_wanted() -> None:
    assert keys()["redis.prefix"].read_text("true") == "true"
    assert keys()["redis.prefix"].read_text("12") == "12"


def test_a_configuration_is_frozen_and_a_changed_one_is_another() -> None:
    config = Config()
    other = changed(config, {"socket.id": "s1", "identity.dev_idp.enabled": True})
    assert (other.socket.id, other.identity.dev_idp.enabled) == ("s1", True)
    assert changed(other, {"socket.id": "", "identity.dev_idp.enabled": False}) == config
    assert build({}) == config
    with pytest.raises(FrozenInstanceError):
        config.api.listen = "127.0.0.1:1"  # type: ignore[misc]  # the point of the test


@pytest.mark.parametrize("address", ["127.0.0.1:80", "[::1]:0", "push.example:8080"])
def test_addresses_come_apart_and_together(address: str) -> None:
    assert join_address(*split_address(address)) == address


def test_only_this_machine_is_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))
    others = ("0.0.0.0", "::", "10.0.0.1", "push.example", "localhost.example", "")
    assert not any(map(is_loopback, others))
