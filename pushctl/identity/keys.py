"""The keys of an installation: every secret that its roles share, and what is derived from a principal.

Owns: where they are kept (a file, or a text in the environment) and how a file is made and changed. Promises: making
one never overwrites; a change replaces the file whole or not at all, at mode 0600, and only what it was made from; a
file is readable by its owner only. No secret is in a repr, an error text or a log line.
Must not know: what is sealed (sealing.py), how the text is spelled (keys_text.py), the registry.
"""

import fcntl
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from pushctl.config.model import Identity
from pushctl.errors import ConfigError, Failed
from pushctl.identity.key import KEY_ID_BYTES, SECRET_BYTES, Key
from pushctl.identity.keys_text import Contents, parse, render
from pushctl.identity.principals import Principal
from pushctl.ids import UserId, b64url, new_id

__all__ = ["KEY_ID_BYTES", "Key", "Keys", "change", "installation_of"]

_USER_ID_BYTES = 16
_MAX_FILE_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Keys:
    """All of them, in the order of the file."""

    installation: str
    sealing_keys: tuple[Key, ...]
    user_id_keys: tuple[Key, ...]
    """The first makes new ids."""
    identity_index: bytes = field(repr=False)
    """The newest; `index_id`: its id, empty for that of the first file; the others are still looked under."""
    index_id: str = ""
    older_index_keys: tuple[Key, ...] = ()

    @classmethod
    def generate(cls) -> "Keys":
        sealing = (Key.generate("seals"),)
        return cls(new_id(12), sealing, (Key.generate(),), secrets.token_bytes(SECRET_BYTES))

    @classmethod
    def load(cls, path: Path) -> "Keys":
        """From the file at `path`. ConfigError with a line for each mistake, also if others may read the file."""
        return cls._of(parse(str(path), _read(path)))

    @classmethod
    def configured(cls, identity: Identity) -> "Keys | None":
        """As the configuration says: from its own text, or from the file that it names, read now. None: says nothing.
        Raises ConfigError."""
        if identity.keys_toml:
            return cls._of(parse("identity.keys_toml", identity.keys_toml))
        return cls.load(Path(identity.keys_file)) if identity.keys_file else None

    @classmethod
    def needed(cls, identity: Identity) -> "Keys":
        """As `configured`, for who cannot do without."""
        keys = cls.configured(identity)
        if keys is None:
            raise ConfigError(["identity.keys_file: required; `pushctl keys new FILE` makes one, all roles share it"])
        return keys

    @classmethod
    def _of(cls, contents: Contents) -> "Keys":
        newest, *older = contents.index
        return cls(contents.installation, contents.sealing, contents.user_id, newest.secret, newest.id, tuple(older))

    def write(self, path: Path) -> None:
        """Makes the file, mode 0600, whole or not at all. Failed if there is one already, or it cannot be written."""
        try:
            with _draft(path, self.text()) as draft:
                os.link(draft, path)  # unlike a rename it fails if the name is taken, so no key is ever lost to it
            _sync_directory(path.parent)
        except FileExistsError:
            raise Failed(f"{path}: exists already; keys are never overwritten") from None
        except OSError as error:
            raise Failed(f"cannot write {path}: {error.strerror}") from None

    def text(self) -> str:
        """As a keys file says it."""
        return render(Contents(self.installation, self.sealing_keys, self.user_id_keys, self.index_keys))

    @property
    def index_keys(self) -> tuple[Key, ...]:
        """Newest first."""
        return (Key(self.index_id, self.identity_index), *self.older_index_keys)

    def user_id(self, principal: Principal) -> UserId:
        """The id of somebody new: the first 16 bytes of HMAC-SHA256, 22 base64url characters. Not a credential."""
        return UserId(b64url(_hmac(self.user_id_keys[0].secret, principal.canonical())[:_USER_ID_BYTES]))

    def user_ids(self, principal: Principal) -> list[UserId]:
        """The ids that each of the keys makes, the first as `user_id`."""
        return [replace(self, user_id_keys=(key,)).user_id(principal) for key in self.user_id_keys]

    def index_entries(self, principal: Principal) -> list[str]:
        """Where the identity index may keep this principal's user id, newest key first: HMAC-SHA256, 43 base64url
        characters, with the key's id and a dot in front if it has one."""
        return [
            f"{key.id}.{entry}" if key.id else entry
            for key in self.index_keys
            for entry in [b64url(_hmac(key.secret, principal.canonical()))]
        ]

    def index_entry(self, principal: Principal) -> str:
        """Under the newest key."""
        return self.index_entries(principal)[0]

    def with_sealing(self, *keys: Key) -> "Keys":
        return replace(self, sealing_keys=keys)

    def with_index(self, *keys: Key) -> "Keys":
        """`keys`: newest first."""
        newest, *older = keys
        return replace(self, identity_index=newest.secret, index_id=newest.id, older_index_keys=tuple(older))


def _hmac(secret: bytes, message: bytes) -> bytes:
    return hmac.digest(secret, message, hashlib.sha256)


def installation_of(identity: Identity) -> str | None:
    """The installation that the configured keys name; None without any. Raises as `Keys.load`."""
    keys = Keys.configured(identity)
    return None if keys is None else keys.installation


def change(path: Path, how: Callable[[Keys], Keys]) -> Keys:
    """Change a keys file: `how` is given what it says and returns what it is to say. The file is replaced at once and
    whole; two changes at a time do not undo each other. Raises ConfigError, Failed, and whatever `how` raises."""
    try:
        with _locked(path):
            keys = how(Keys.load(path))
            with _draft(path, keys.text()) as draft:
                draft.rename(path)
            _sync_directory(path.parent)
    except OSError as error:
        raise Failed(f"cannot write {path}: {error.strerror}") from None
    return keys


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One change at a time: the directory is locked, as the file itself is replaced."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _draft(path: Path, text: str) -> Iterator[Path]:
    """A file beside `path` with this text, safely on disk; gone afterwards unless it was renamed."""
    draft = path.with_name(f".{path.name}.{new_id()}")
    try:
        _write_durably(draft, text.encode())
        yield draft
    finally:
        draft.unlink(missing_ok=True)


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


def _read(path: Path) -> str:
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
        return raw.decode()
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: not UTF-8, so no keys file"]) from None
