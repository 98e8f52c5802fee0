"""`pushctl config`: show, check, init, doc."""

import re
import tomllib
from pathlib import Path

import pytest

from pushctl.cli import main
from pushctl.config.load import load
from pushctl.config.model import Config
from pushctl.config.render import default_files
from pushctl.config.schema import keys
from tests.json_lines import valid_json_lines


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["config", *args])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def test_show_prints_what_is_in_effect_and_where_it_comes_from(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.toml"
    file.write_text("[gc]\nbatch = 7\n")
    monkeypatch.setenv("PUSHCTL_GC__TICK_SECONDS", "0.5")
    code, out, err = run(capsys, "show", "--sources", "--config", str(file), "--set", "socket.id=s9")
    assert (code, err) == (0, "")
    shown = tomllib.loads(out)
    assert (shown["gc"]["batch"], shown["gc"]["tick_seconds"], shown["socket"]["id"]) == (7, 0.5, "s9")
    assert f"batch = 7  # {file}" in out
    assert "tick_seconds = 0.5  # PUSHCTL_GC__TICK_SECONDS" in out
    assert 'id = "s9"  # --set' in out


def test_show_json_is_one_line_for_every_key_and_hides_the_password(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "show", "--json", "--set", "redis.url=redis://:hunter2@h/0")
    rows = valid_json_lines("config show", out)
    assert [row["key"] for row in rows] == list(keys())
    assert rows[0] == {"key": "redis.url", "value": "redis://(hidden)@h/0", "source": "--set"}


def test_check_is_silent_when_all_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "check") == (0, "", "")


def test_check_names_every_mistake_and_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "check", "--set", "gc.bach=1", "--set", "api.listen=x")
    assert (code, out) == (2, "")
    assert [line.split(":")[2].strip() for line in err.splitlines()] == ["gc.bach", "api.listen"]


def test_check_of_roles_names_what_they_need_each_thing_once(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "check", "api", "socket")
    assert code == 2
    assert err.count("identity.keys_file: required") == 1
    assert "socket.id: required" in err
    assert run(capsys, "check", "nobody")[0] == 2


def test_strict_refuses_the_development_provider(capsys: pytest.CaptureFixture[str]) -> None:
    both = ("--set", "identity.environment=development", "--set", "identity.dev_idp.enabled=true")
    assert run(capsys, "check", *both)[0] == 0
    code, _, err = run(capsys, "check", "--strict", *both)
    assert code == 2
    assert "lets anybody in" in err


def test_init_writes_the_default_files_and_never_over_others(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    where = tmp_path / "etc" / "conf.d"
    code, out, _ = run(capsys, "init", str(where))
    assert code == 0
    assert {file.name: file.read_text() for file in where.iterdir()} == default_files()
    assert sorted(out.splitlines()) == sorted(str(file) for file in where.iterdir())
    assert run(capsys, "check", "--config", str(where))[0] == 0
    (where / "20-api.toml").unlink()
    code, out, err = run(capsys, "init", str(where))
    assert (code, out) == (1, "")
    assert "there already, nothing written" in err
    assert not (where / "20-api.toml").exists()


def test_init_where_it_may_not_write_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = run(capsys, "init", str(tmp_path / "file" / "conf.d"))
    assert code == 1
    assert len(err.splitlines()) == 1


def test_doc_of_one_key_says_all_that_is_known_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "doc", "socket.ping_seconds")
    assert (code, err) == (0, "")
    head, _, *facts = out.splitlines()
    assert head.startswith("[socket] ")
    assert facts == [
        "socket.ping_seconds",
        "    of silence until a peer is pinged; also told to clients as ping_ms",
        "    takes     a number, at least 0.1 (seconds)",
        "    default   30",
        "    variable  PUSHCTL_SOCKET__PING_SECONDS",
        "    read by   socket",
    ]
    assert run(capsys, "doc", "ping_seconds")[1] == out


def test_doc_documents_every_key_in_every_form(capsys: pytest.CaptureFixture[str]) -> None:
    rows = valid_json_lines("config doc", run(capsys, "doc", "--json")[1])
    there = [row["key"] for row in rows]
    assert [name for name in there if "[]" not in name] == list(keys())
    assert "identity.oidc.providers[].issuer" in there
    text, markdown = run(capsys, "doc")[1], run(capsys, "doc", "--markdown")[1]
    assert [line for line in text.splitlines() if line in there] == there
    assert re.findall(r"^\| `(.*?)` \|", markdown, re.MULTILINE) == there
    assert max(map(len, text.splitlines())) <= 80
    assert [row["key"] for row in valid_json_lines("config doc", run(capsys, "doc", "identity.oidc", "--json")[1])] == [
        name for name in there if name.startswith("identity.oidc.")
    ]


def test_doc_of_a_name_that_is_none_is_wrong_usage_and_says_what_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "doc", "redis.ulr")
    assert (code, out) == (2, "")
    assert "did you mean redis.url?" in err


def test_init_env_says_every_key_as_a_variable_with_its_default(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, "init", "--env")
    assert (code, list(tmp_path.iterdir())) == (0, [])
    said = dict(re.findall(r"^#(PUSHCTL_\w+)=(.*)$", out, re.MULTILINE))
    assert list(said) == [key.variable for key in keys().values()]
    assert load([], [], said).config == Config()
