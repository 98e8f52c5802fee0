"""`pushctl keys new`."""

import tomllib
from pathlib import Path

import pytest

from pushctl.cli import main
from pushctl.identity.keys import Keys


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
