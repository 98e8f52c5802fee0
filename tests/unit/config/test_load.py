"""Where values come from, which wins, and that every mistake is found in one run."""

from pathlib import Path

import pytest

from pushctl.config.load import Loaded, load
from pushctl.config.model import Config
from pushctl.errors import ConfigError

NOWHERE = Path("/nonexistent")


def mistakes(paths: list[Path] | None = None, sets: list[str] | None = None, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(paths, sets or [], environ, default_directory=NOWHERE)
    return caught.value.mistakes


def file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_without_anything_said_the_defaults_hold_and_say_so() -> None:
    loaded = load(None, [], {}, default_directory=NOWHERE)
    assert loaded.config == Config()
    assert set(loaded.sources.values()) == {"default"}
    assert not loaded.is_set("api.listen")


def test_files_of_a_directory_merge_in_name_order_whatever_the_order_on_disk(tmp_path: Path) -> None:
    late = file(tmp_path, "20-b.toml", '[api]\nlisten = "127.0.0.1:2"\n')
    early = file(tmp_path, "10-a.toml", '[api]\nlisten = "127.0.0.1:1"\ndrain_seconds = 3\n')
    file(tmp_path, "15-not-read.txt", "this is not TOML")
    loaded = load([tmp_path], [], {})
    assert loaded.config.api.listen == "127.0.0.1:2"
    assert loaded.config.api.drain_seconds == 3
    assert loaded.sources["api.listen"] == str(late)
    assert loaded.sources["api.drain_seconds"] == str(early)


def test_files_given_one_by_one_merge_in_the_order_given(tmp_path: Path) -> None:
    last = file(tmp_path, "10.toml", "[gc]\nbatch = 10\n")
    first = file(tmp_path, "20.toml", "[gc]\nbatch = 20\n")
    assert load([first, last], [], {}).config.gc.batch == 10


def test_environment_wins_over_files_and_set_wins_over_both(tmp_path: Path) -> None:
    said = file(tmp_path, "a.toml", "[gc]\nbatch = 1\ntick_seconds = 1\ncensus_seconds = 1\n")
    environ = {"PUSHCTL_GC__TICK_SECONDS": "2", "PUSHCTL_GC__CENSUS_SECONDS": "2"}
    loaded = load([said], ["gc.census_seconds=3"], environ)
    gc = loaded.config.gc
    assert (gc.batch, gc.tick_seconds, gc.census_seconds) == (1, 2, 3)
    assert loaded.sources["gc.tick_seconds"] == "PUSHCTL_GC__TICK_SECONDS"
    assert loaded.sources["gc.census_seconds"] == "--set"


def test_the_last_of_two_sets_wins() -> None:
    assert load(None, ["gc.batch=1", "gc.batch=2"], {}, default_directory=NOWHERE).config.gc.batch == 2


def test_the_default_directory_is_read_if_it_is_there_and_no_path_is_given(tmp_path: Path) -> None:
    file(tmp_path, "a.toml", "[gc]\nbatch = 7\n")
    other = file(tmp_path.parent, "other.toml", "[gc]\ntick_seconds = 9\n")
    assert load([], [], {}, default_directory=tmp_path).config.gc.batch == 7
    assert load([other], [], {}, default_directory=tmp_path).config.gc.batch == Config().gc.batch


def test_a_variable_reaches_a_table_within_a_table() -> None:
    environ = {"PUSHCTL_IDENTITY__DEV_IDP__ENABLED": "true"}
    assert load(None, [], environ, default_directory=NOWHERE).config.identity.dev_idp.enabled is True


def test_a_variable_with_file_behind_it_is_read_from_that_file_without_its_line_end(tmp_path: Path) -> None:
    secret = file(tmp_path, "url", "redis://:pass word@127.0.0.1:1/0\n")
    loaded = load(None, [], {"PUSHCTL_REDIS__URL_FILE": str(secret)}, default_directory=NOWHERE)
    assert loaded.config.redis.url == "redis://:pass word@127.0.0.1:1/0"
    assert loaded.sources["redis.url"] == "PUSHCTL_REDIS__URL_FILE"


def test_a_key_that_itself_ends_in_file_is_that_key() -> None:
    environ = {"PUSHCTL_IDENTITY__KEYS_FILE": "/keys.toml"}
    assert load(None, [], environ, default_directory=NOWHERE).config.identity.keys_file == "/keys.toml"


def test_lists_are_written_with_commas_or_as_toml() -> None:
    for text in ("10.0.0.0/8, ::1/128", '["10.0.0.0/8", "::1/128"]'):
        loaded = load(None, [f"limits.exempt_networks={text}"], {}, default_directory=NOWHERE)
        assert loaded.config.limits.exempt_networks == ("10.0.0.0/8", "::1/128")
    assert load(None, ["limits.exempt_networks="], {}, default_directory=NOWHERE).config.limits.exempt_networks == ()


ISSUER = '[[identity.browserid.issuers]]\nissuer = "{0}.example"\ndomains = ["{0}.example"]\nkeys_file = "{0}"\n'


def issuers(loaded: Loaded) -> list[str]:
    return [issuer.issuer for issuer in loaded.config.identity.browserid.issuers]


def test_lists_of_tables_add_up_over_files_and_name_them(tmp_path: Path) -> None:
    one = file(tmp_path, "1.toml", ISSUER.format("a") + ISSUER.format("b"))
    two = file(tmp_path, "2.toml", ISSUER.format("c"))
    loaded = load([one, two], [], {})
    assert issuers(loaded) == ["a.example", "b.example", "c.example"]
    assert loaded.config.identity.browserid.issuers[2].domains == ("c.example",)
    assert loaded.sources["identity.browserid.issuers"] == f"{one}, {two}"


def test_a_flag_says_all_tables_of_a_list(tmp_path: Path) -> None:
    one = file(tmp_path, "1.toml", ISSUER.format("a"))
    table = '[{issuer = "z.example", domains = ["z.example"], keys_file = "z"}]'
    assert issuers(load([one], [f"identity.browserid.issuers={table}"], {})) == ["z.example"]
    assert issuers(load([one], ["identity.browserid.issuers=[]"], {})) == []


def test_every_mistake_in_a_list_of_tables_is_named_with_its_place(tmp_path: Path) -> None:
    text = ISSUER.format("a") + '[[identity.browserid.issuers]]\nisuer = "b"\ndomains = "b"\nkeys_file = "b"\n'
    said = file(tmp_path, "1.toml", text)
    assert mistakes([said]) == [
        f"{said}: identity.browserid.issuers[1].isuer: unknown key; did you mean issuer?",
        f"{said}: identity.browserid.issuers[1].domains: expected a list of texts, got 'b'",
        f"{said}: identity.browserid.issuers[1].issuer: required",
    ]
    assert mistakes([], ["identity.browserid.issuers=a"]) == [
        "--set: identity.browserid.issuers: expected a list of tables, [[identity.browserid.issuers]], got 'a'"
    ]


def test_every_mistake_of_every_source_is_reported_at_once(tmp_path: Path) -> None:
    said = file(tmp_path, "a.toml", '[api]\nlisen = "x"\ndrain_seconds = -1\n[socket]\nid = 3\n[sockets]\nid = "s1"\n')
    found = mistakes(
        [said, tmp_path / "missing.toml"],
        ["gc.bach=3", "nonsense", "gc=1"],
        PUSHCTL_API__LISEN="x",
        PUSHCTL_GC__BATCH="0",
    )
    assert found == [
        f"{said}: api.lisen: unknown key; did you mean api.listen?",
        f"{said}: api.drain_seconds: expected a number, at least 0, got -1",
        f"{said}: socket.id: expected a text, got 3",
        f"{said}: sockets: unknown table; did you mean socket?",
        f"{tmp_path / 'missing.toml'}: No such file or directory",
        "PUSHCTL_API__LISEN: unknown variable; did you mean PUSHCTL_API__LISTEN?",
        "PUSHCTL_GC__BATCH: gc.batch: expected a whole number from 1 to 10000, got 0",
        "--set: gc.bach: unknown key; did you mean gc.batch?",
        "--set: nonsense: expected KEY=VALUE, such as socket.id=s1",
        "--set: gc: is a table; set one of its keys, such as gc.admin_listen",
    ]


def test_a_key_in_the_wrong_table_is_sent_to_the_right_one(tmp_path: Path) -> None:
    said = file(tmp_path, "a.toml", "[api]\nmax_lifetime_seconds = 3\n")
    assert mistakes([said]) == [
        f"{said}: api.max_lifetime_seconds: unknown key; did you mean messages.max_lifetime_seconds?"
    ]


def test_a_name_like_nothing_gets_no_guess(tmp_path: Path) -> None:
    assert mistakes([file(tmp_path, "a.toml", "[api]\nzzzzzz = 3\n")])[0].endswith("api.zzzzzz: unknown key")


def test_a_value_where_a_table_belongs_is_named(tmp_path: Path) -> None:
    assert mistakes([file(tmp_path, "a.toml", "api = 3\n")])[0].endswith("a.toml: api: expected a table, [api]")


@pytest.mark.parametrize(("raw", "says"), [(b"[api\n", "not TOML: "), (b"\xff\xfe", "not UTF-8: byte 0")])
def test_what_is_not_toml_is_named(tmp_path: Path, raw: bytes, says: str) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(raw)
    (mistake,) = mistakes([path])
    assert mistake.startswith(f"{path}: {says}")


def test_a_directory_without_files_is_a_mistake_when_asked_for(tmp_path: Path) -> None:
    (mistake,) = mistakes([tmp_path])
    assert "no *.toml" in mistake


def test_one_underscore_too_few_is_a_mistake_but_variables_of_others_are_left_alone() -> None:
    assert mistakes(PUSHCTL_REDIS_URL="redis://h") == [
        "PUSHCTL_REDIS_URL: unknown variable; did you mean PUSHCTL_REDIS__URL?"
    ]
    others = {"PUSHCTL_CLIENT_DIR": "x", "PUSHCTL_REDIS_SERVER": "y", "PUSHCTL_API_PORT": "tcp://1", "HOME": "/"}
    assert load(None, [], others, default_directory=NOWHERE).config == Config()


def test_a_variable_and_its_file_together_are_a_mistake(tmp_path: Path) -> None:
    assert mistakes(PUSHCTL_REDIS__URL="redis://h", PUSHCTL_REDIS__URL_FILE="/x") == [
        "PUSHCTL_REDIS__URL_FILE: redis.url: PUSHCTL_REDIS__URL is set as well; use one of them"
    ]


def test_a_missing_secret_file_is_named_by_its_variable() -> None:
    assert mistakes(PUSHCTL_REDIS__URL_FILE="/nonexistent/url") == [
        "PUSHCTL_REDIS__URL_FILE: redis.url: /nonexistent/url: No such file or directory"
    ]


def test_keys_are_not_taken_from_a_command_line_nor_quoted_from_it() -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, ["identity.keys_toml=hunter2"], {}, default_directory=NOWHERE)
    assert "PUSHCTL_IDENTITY__KEYS_TOML or its _FILE" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_secret_value_never_stands_in_a_mistake(tmp_path: Path) -> None:
    said = file(tmp_path, "a.toml", '[redis]\nurl = "http://:hunter2@h"\n')
    found = mistakes([said], ["redis.url=hunter2"], PUSHCTL_REDIS__URL="hunter2")
    assert len(found) == 3
    assert not any("hunter2" in mistake for mistake in found)
