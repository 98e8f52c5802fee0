"""`pushctl keys new`, and how `keys status` looks."""

import tomllib
from pathlib import Path

import pytest

from pushctl.cli import main
from pushctl.cli.keys_view import show
from pushctl.identity.keys import Keys
from pushctl.rotation import KeyStatus


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["keys", *args])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def test_new_makes_a_private_file_and_prints_the_line_that_names_it_and_no_secret(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "new")
    file = tmp_path / "keys.toml"
    assert code == 0
    assert tomllib.loads(out) == {"keys_file": str(file)}
    assert file.stat().st_mode & 0o777 == 0o600
    keys = Keys.load(file)
    assert keys.sealing_keys
    for line in file.read_text().splitlines():
        if line.startswith("secret"):
            assert line.split('"')[1] not in out + err


def test_new_never_writes_over_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    run(capsys, "new", str(file))
    before = file.read_text()
    code, out, err = run(capsys, "new", str(file))
    assert (code, out) == (1, "")
    assert str(file) in err
    assert file.read_text() == before


def test_eighty_columns_show_keys_and_moments_whole_and_name_who_lacks_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    used, roles = "2026-01-02T03:04:05.678Z", ["api api@host-1/29046", "socket s1@host-2/29050"]
    index = KeyStatus("identity_index", "first", True, "first", used, used, roles, [], [], None)
    waiting = KeyStatus("sealing", "1-Hm", True, "opens", None, None, [], roles, [], 12_345)
    show([index, waiting], as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split() for line in lines if line.startswith(("identity_index", "sealing"))] == [
        ["identity_index", "first", "first", "2", "0", "2026-01-02", "03:04Z"],
        ["sealing", "1-Hm", "opens", "0", "0", "2", "-", "12,345"],
    ]
    assert lines[-1] == "! 1-Hm is lacking in api api@host-1/29046, socket s1@host-2/29050"
