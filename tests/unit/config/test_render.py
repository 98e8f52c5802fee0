"""The default files and the effective configuration, as an operator reads them."""

import tomllib
from pathlib import Path

from pushctl.config.load import load
from pushctl.config.model import Config
from pushctl.config.render import effective, effective_values, toml_value
from pushctl.config.schema import keys

NOWHERE = Path("/nonexistent")


def test_the_effective_configuration_is_toml_that_loads_to_the_same(tmp_path: Path) -> None:
    sets = [
        'socket.id=s"1\\',
        "limits.exempt_networks=10.0.0.0/8,::1/128",
        'identity.browserid.issuers=[{ issuer = "a", domains = ["b", "c"], keys_file = "x y" }]',
        "identity.dev_idp.enabled=true",
        "gc.tick_seconds=0.25",
    ]
    loaded = load(None, sets, {}, default_directory=NOWHERE)
    for sources in (False, True):
        shown = tmp_path / "shown.toml"
        shown.write_text(effective(loaded, sources=sources))
        assert load([shown], [], {}).config == loaded.config


def test_sources_stand_beside_the_values() -> None:
    loaded = load(None, ["gc.batch=3"], {"PUSHCTL_LOG__LEVEL": "debug"}, default_directory=NOWHERE)
    lines = effective(loaded, sources=True).splitlines()
    assert "batch = 3  # --set" in lines
    assert 'level = "debug"  # PUSHCTL_LOG__LEVEL' in lines
    assert 'format = "auto"  # default' in lines


def test_keys_are_not_shown_at_all() -> None:
    loaded = load(None, [], {"PUSHCTL_IDENTITY__KEYS_TOML": "hunter2"}, default_directory=NOWHERE)
    assert "hunter2" not in effective(loaded, sources=True) + str(effective_values(loaded)) + repr(loaded)
    assert effective_values(loaded)["identity.keys_toml"]["value"] == "(hidden)"


def test_credentials_in_the_url_of_redis_are_hidden_and_the_rest_is_shown() -> None:
    for url, shown in (
        ("redis://user:hunter2@h:1/0", "redis://(hidden)@h:1/0"),
        ("unix:///run/redis.sock?password=hunter2", "unix:///run/redis.sock?(hidden)"),
        ("redis://h:1/0", "redis://h:1/0"),
    ):
        loaded = load(None, [f"redis.url={url}"], {}, default_directory=NOWHERE)
        assert tomllib.loads(effective(loaded, sources=True))["redis"]["url"] == shown
        assert effective_values(loaded)["redis.url"] == {"value": shown, "source": "--set"}


def test_all_keys_are_shown() -> None:
    loaded = load(None, [], {}, default_directory=NOWHERE)
    assert loaded.config == Config()
    assert list(effective_values(loaded)) == list(keys())


def test_values_are_spelled_on_one_line() -> None:
    assert toml_value(("a", "b")) == '["a", "b"]'
    assert toml_value({}) == "{}"
    assert toml_value({"a.b": 'c"d\n'}) == '{ "a.b" = "c\\"d\\n" }'
    assert toml_value(0.5) == "0.5"
    assert toml_value(False) == "false"
    assert toml_value(None) == "required"


def test_a_list_of_tables_is_shown_to_programs_as_what_it_is() -> None:
    loaded = load(None, ['identity.browserid.issuers=[{ issuer = "a", domains = ["b"], keys_file = "f" }]'], {})
    shown = effective_values(loaded)["identity.browserid.issuers"]["value"]
    assert shown == [{"issuer": "a", "domains": ("b",), "keys_file": "f"}]
