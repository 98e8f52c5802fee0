"""Where a simulated device keeps its things: one SQLite file per profile, readable by its owner only.

Owns: the directory, the names of profiles, file modes, the tables, and what a transaction is.
Promises: the file holds a session token, so it is never readable by others, from its first moment.
Must not know: what is asked of the tables (store.py), what changes them (inbox_rows.py).
"""

import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pushctl.errors import ConfigError, Failed

DIRECTORY_VARIABLE: Final = "PUSHCTL_CLIENT_DIR"

BUSY_SECONDS: Final = 5.0
"""Two commands may use one profile at once (`listen` here, `read` there); each holds the lock for a millisecond."""

SCHEMA_VERSION: Final = 2

_KEYS: Final = """CREATE TABLE push_keys (push_url TEXT PRIMARY KEY, private TEXT NOT NULL, auth TEXT NOT NULL)"""
"""Since version 2. What the site of a push URL encrypts to."""

_SCHEMA: Final = (
    _KEYS,
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    # token NULL: logged out, but the device may be used again by the same account
    """CREATE TABLE session (one INTEGER PRIMARY KEY CHECK (one = 1), token TEXT, user TEXT NOT NULL,
       device TEXT NOT NULL, device_name TEXT NOT NULL, account TEXT NOT NULL,
       expires_at TEXT NOT NULL)""",
    # the device holds everything up to `cursor` whose urgency is at or above `min_urgency`
    """CREATE TABLE position (one INTEGER PRIMARY KEY CHECK (one = 1), cursor TEXT NOT NULL,
       min_urgency TEXT NOT NULL)""",
    """CREATE TABLE push_urls (id TEXT PRIMARY KEY, site TEXT NOT NULL, url TEXT NOT NULL, icon TEXT, vapid_key TEXT,
       created_at TEXT NOT NULL)""",
    """CREATE TABLE messages (n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, rank INTEGER NOT NULL,
       sent_at TEXT NOT NULL, keep_until_ms INTEGER NOT NULL, received_at_ms INTEGER NOT NULL,
       state TEXT NOT NULL CHECK (state IN ('unread', 'pending', 'read')), ephemeral INTEGER NOT NULL,
       message BLOB NOT NULL)""",
)

_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")


def directory(environ: Mapping[str, str]) -> Path:
    """PUSHCTL_CLIENT_DIR, else the user's data directory."""
    chosen = environ.get(DIRECTORY_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("pushctl", appauthor=False)) / "client"


def profile_path(name: str, environ: Mapping[str, str]) -> Path:
    """The file of a profile. ConfigError for a name that is none."""
    if _NAME.fullmatch(name) is None:
        raise ConfigError([f"profile {name!r}: use letters, digits, '_', '-' and '.', at most 64"])
    return directory(environ) / f"{name}.sqlite3"


def known_profiles(environ: Mapping[str, str]) -> list[str]:
    """The names of all profiles there are."""
    return sorted(file.stem for file in directory(environ).glob("*.sqlite3") if _NAME.fullmatch(file.stem))


class Database:
    """An open profile. Whatever SQLite complains about becomes Failed, with one line."""

    def __init__(self, path: Path) -> None:
        """Opens or makes the file. Failed if it cannot be used, or if a newer pushctl wrote it."""
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # SQLite would make the file with the umask; its -wal and -shm files take over the mode of this one.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            path.chmod(0o600)
            self.connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise Failed(f"cannot open the profile {path}: {error}") from None
        try:
            self.rows("PRAGMA journal_mode = WAL")
            self.rows("PRAGMA synchronous = NORMAL")
            with self.transaction():
                self._prepare()
        except Failed:
            self.connection.close()
            raise

    def close(self) -> None:
        self.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, alone among all processes that use the profile."""
        try:
            with self.connection:
                self.connection.execute("BEGIN IMMEDIATE")
                yield self.connection
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    def rows(self, query: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return self.connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    def _unusable(self, error: sqlite3.Error) -> Failed:
        return Failed(f"the profile {self._path} cannot be used: {error}")

    def _prepare(self) -> None:
        version = self.connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise Failed(f"the profile {self._path} was written by a newer pushctl: use that, or another --profile")
        if version < SCHEMA_VERSION:
            for statement in _SCHEMA if version == 0 else (_KEYS,):
                self.connection.execute(statement)
            self.connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
