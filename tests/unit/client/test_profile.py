"""Where profiles live, and who may read them."""

import os
import sqlite3
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from pushctl.client.profile import Database, directory, profile_path
from pushctl.errors import ConfigError, Failed


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_directory_can_be_chosen_and_is_the_users_data_directory_otherwise(tmp_path: Path) -> None:
    assert directory({"PUSHCTL_CLIENT_DIR": str(tmp_path)}) == tmp_path
    assert directory({"PUSHCTL_CLIENT_DIR": ""}).parts[-2:] == ("pushctl", "client")


def test_each_profile_is_a_file_of_its_own(tmp_path: Path) -> None:
    environ = {"PUSHCTL_CLIENT_DIR": str(tmp_path)}
    assert profile_path("my-phone_2.x", environ) == tmp_path / "my-phone_2.x.sqlite3"


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "../x", "a b", "ü", "x" * 65, "a\n"])
def test_a_profile_name_cannot_leave_the_directory(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="letters, digits"):
        profile_path(name, {"PUSHCTL_CLIENT_DIR": str(tmp_path)})


def test_nobody_else_can_read_a_profile_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        database = Database(tmp_path / "new" / "laptop.sqlite3")
    finally:
        os.umask(before)
    with database.transaction() as connection:
        connection.execute("INSERT INTO settings VALUES ('api', 'x')")
    modes = {path.suffix: mode(path) for path in (tmp_path / "new").iterdir()}
    database.close()
    assert modes == {".sqlite3": 0o600, ".sqlite3-wal": 0o600, ".sqlite3-shm": 0o600}
    assert mode(tmp_path / "new") == 0o700


def test_a_profile_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "laptop.sqlite3"
    Database(path).close()
    path.chmod(0o644)
    Database(path).close()
    assert mode(path) == 0o600


def test_a_file_that_is_no_profile_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "laptop.sqlite3"
    path.write_text("this is a text file, long enough to be no empty database " * 20)
    with pytest.raises(Failed, match=r"the profile .*laptop\.sqlite3 cannot be used: file is not a database"):
        Database(path)


def test_a_directory_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Failed, match="cannot open the profile"):
        Database(tmp_path / "file" / "laptop.sqlite3")


def test_a_profile_of_a_newer_pushctl_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "laptop.sqlite3"
    Database(path).close()
    raw = sqlite3.connect(path)
    raw.execute("PRAGMA user_version = 99")
    raw.close()
    with pytest.raises(Failed, match="newer pushctl"):
        Database(path)


def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    database = Database(tmp_path / "laptop.sqlite3")
    with suppress(LookupError), database.transaction() as connection:
        connection.execute("INSERT INTO settings VALUES ('api', 'x')")
        raise LookupError
    assert database.rows("SELECT * FROM settings") == []
    with pytest.raises(Failed, match="no such table"), database.transaction() as connection:
        connection.execute("INSERT INTO nowhere VALUES (1)")
    with database.transaction() as connection:
        connection.execute("INSERT INTO settings VALUES ('api', 'y')")
    assert database.rows("SELECT value FROM settings") == [("y",)]
    database.close()
