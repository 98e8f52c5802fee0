"""The keys file: every secret of an installation, shared by all its roles.

Owns: the file (TOML, for a person to read and back up), its checks, and what is derived from a principal.
Promises: a file is never overwritten, is readable by its owner only, and either loads whole or every mistake is named.
No secret is in a repr, an error text or a log line.
Must not know: what is sealed (sealing.py), or the registry.
"""

import hashlib
import hmac
import os
import re
import secrets
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import tomli_w

from pushctl.errors import ConfigError, Failed
from pushctl.identity.principals import Principal
from pushctl.ids import ID_PATTERN, UserId, b64url, new_id, unb64url

KEY_ID_BYTES = 3
SECRET_BYTES = 32
_USER_ID_BYTES = 16
_MAX_FILE_BYTES = 65_536
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{4}")

_HEADER = """\
# The secrets of one pushctl installation, made by `pushctl keys new`. Every role of the installation uses this file.
#
# Keep it secret: mode 0600, never in a repository. Who has it can read push URLs and can tell whose inbox is whose.
# Back it up together with Redis: without it no push URL that was handed out works again, and nobody finds their inbox.

# Names the installation.
"""
_SEALING_COMMENT = """
# Seal push URLs and message ids. The first seals new ones, all of them open: put a new key first only when every role
# has it, and keep an old one as long as a push URL that it sealed may live.
"""
_USER_ID_COMMENT = """
# Make a user's id out of who logs in. The first makes new ones.
"""
_INDEX_COMMENT = """
# Finds a user's id again, whichever key made it. There is one, and it stays.
"""


@dataclass(frozen=True, slots=True)
class Key:
    """A named secret. `id`: 4 base64url characters (3 bytes); `secret`: 32 bytes."""

    id: str
    secret: bytes = field(repr=False)

    @classmethod
    def generate(cls) -> "Key":
        return cls(new_id(KEY_ID_BYTES), secrets.token_bytes(SECRET_BYTES))


@dataclass(frozen=True, slots=True)
class Keys:
    """Everything in the file. Of several keys the first is the one in use, the others are known."""

    installation: str
    sealing_keys: tuple[Key, ...]
    user_id_keys: tuple[Key, ...]
    identity_index: bytes = field(repr=False)

    @classmethod
    def generate(cls) -> "Keys":
        return cls(new_id(12), (Key.generate(),), (Key.generate(),), secrets.token_bytes(SECRET_BYTES))

    @classmethod
    def load(cls, path: Path) -> "Keys":
        """From the file at `path`. ConfigError with a line for each mistake, also if others may read the file."""
        return _parse(path, _read(path))

    def write(self, path: Path) -> None:
        """Makes the file, mode 0600, whole or not at all. Failed if there is one already, or it cannot be written."""
        text = self._text().encode()
        draft = path.with_name(f".{path.name}.{new_id()}")
        try:
            try:
                _write_durably(draft, text)
                os.link(draft, path)  # unlike a rename it fails if the name is taken, so no key is ever lost to it
            finally:
                draft.unlink(missing_ok=True)
            _sync_directory(path.parent)
        except FileExistsError:
            raise Failed(f"{path}: exists already; keys are never overwritten") from None
        except OSError as error:
            raise Failed(f"cannot write {path}: {error.strerror}") from None

    def user_id(self, principal: Principal) -> UserId:
        """The id of somebody new: the first 16 bytes of HMAC-SHA256, 22 base64url characters. Not a credential."""
        return UserId(b64url(_hmac(self.user_id_keys[0].secret, principal.canonical())[:_USER_ID_BYTES]))

    def index_entry(self, principal: Principal) -> str:
        """Where the identity index keeps this principal's user id: HMAC-SHA256, 43 base64url characters."""
        return b64url(_hmac(self.identity_index, principal.canonical()))

    def _text(self) -> str:
        parts = [_HEADER, tomli_w.dumps({"installation": self.installation})]
        for comment, name, keys in (
            (_SEALING_COMMENT, "sealing", self.sealing_keys),
            (_USER_ID_COMMENT, "user_id", self.user_id_keys),
        ):
            tables = (tomli_w.dumps({"id": key.id, "secret": b64url(key.secret)}) for key in keys)
            parts += [comment, "\n".join(f"[[{name}]]\n{table}" for table in tables)]
        parts += [_INDEX_COMMENT, tomli_w.dumps({"identity_index": {"secret": b64url(self.identity_index)}})]
        return "".join(parts)


def _hmac(secret: bytes, message: bytes) -> bytes:
    return hmac.digest(secret, message, hashlib.sha256)


def _write_durably(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)  # whatever the umask says
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- reading ---------------------------------------------------------------------------------------------------------


def _read(path: Path) -> Mapping[str, object]:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            raw = file.read(_MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError([f"{path}: no such keys file; `pushctl keys new {path}` makes one"]) from None
    except OSError as error:
        raise ConfigError([f"{path}: cannot read the keys file: {error.strerror}"]) from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError([f"{path}: others than its owner may use the keys file; `chmod 600 {path}`"])
    if len(raw) > _MAX_FILE_BYTES:
        raise ConfigError([f"{path}: larger than {_MAX_FILE_BYTES} bytes, so no keys file"])
    try:
        return tomllib.loads(raw.decode())
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: not UTF-8, so no keys file"]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: not TOML: {error}"]) from None


def _parse(path: Path, tables: Mapping[str, object]) -> Keys:
    reader = _Reader(path)
    reader.refuse_unknown(tables, ("installation", "sealing", "user_id", "identity_index"), "")
    keys = Keys(
        reader.installation(tables.get("installation")),
        reader.keys(tables.get("sealing"), "sealing"),
        reader.keys(tables.get("user_id"), "user_id"),
        reader.index(tables.get("identity_index")),
    )
    reader.finish()
    return keys


def installation_of(keys_file: str) -> str | None:
    """The installation that a keys file names; None without a file. Raises as `Keys.load`."""
    return Keys.load(Path(keys_file)).installation if keys_file else None


class _Reader:
    """Goes through the whole file and collects every mistake; values after a mistake mean nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mistakes: list[str] = []
        self._seen: set[bytes] = set()

    def finish(self) -> None:
        if self._mistakes:
            raise ConfigError(self._mistakes)

    def refuse_unknown(self, table: Mapping[str, object], known: tuple[str, ...], prefix: str) -> None:
        for name in table:
            if name not in known:
                self._mistake(f"{prefix}{name}", f"unknown; expected {', '.join(known)}")

    def installation(self, value: object) -> str:
        if not isinstance(value, str) or ID_PATTERN.fullmatch(value) is None:
            self._mistake("installation", "expected a name of A-Z a-z 0-9 _ -")
            return ""
        return value

    def keys(self, value: object, name: str) -> tuple[Key, ...]:
        if not isinstance(value, list) or not value:
            self._mistake(name, f"expected at least one [[{name}]] table with id and secret")
            return ()
        keys = tuple(self._key(item, f"{name}[{at}]") for at, item in enumerate(value))
        ids = [key.id for key in keys if key.id]
        for duplicate in sorted({key_id for key_id in ids if ids.count(key_id) > 1}):
            self._mistake(name, f"two keys have the id {duplicate!r}")
        return keys

    def index(self, value: object) -> bytes:
        if not isinstance(value, dict):
            self._mistake("identity_index", "expected an [identity_index] table with secret")
            return b""
        self.refuse_unknown(value, ("secret",), "identity_index.")
        return self._secret(value.get("secret"), "identity_index.secret")

    def _key(self, value: object, name: str) -> Key:
        if not isinstance(value, dict):
            self._mistake(name, "expected a table with id and secret")
            return Key("", b"")
        self.refuse_unknown(value, ("id", "secret"), f"{name}.")
        key_id = value.get("id")
        if not isinstance(key_id, str) or _KEY_ID.fullmatch(key_id) is None:
            self._mistake(f"{name}.id", "expected 4 characters of A-Z a-z 0-9 _ -")
            key_id = ""
        return Key(key_id, self._secret(value.get("secret"), f"{name}.secret"))

    def _secret(self, value: object, name: str) -> bytes:
        try:
            secret = unb64url(value) if isinstance(value, str) else b""
        except ValueError:
            secret = b""
        if len(secret) != SECRET_BYTES:
            self._mistake(name, f"expected {SECRET_BYTES} bytes as base64url without padding (43 characters)")
        elif secret in self._seen:
            self._mistake(name, "this secret stands in the file twice; each key needs its own")
        self._seen.add(secret)
        return secret

    def _mistake(self, name: str, what: str) -> None:
        self._mistakes.append(f"{self._path}: {name}: {what}")
