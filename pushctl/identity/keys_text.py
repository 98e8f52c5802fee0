"""The text of a keys file: TOML, for a person to read and for us to check.

Owns: names, comments and checks. Promises: a text either parses whole or every mistake is named; no mistake quotes a
secret. What `render` writes, `parse` reads. Must not know: where the text is kept (keys.py).
"""

import re
import tomllib
from collections.abc import Mapping, Sequence

import msgspec
import tomli_w

from pushctl.errors import ConfigError
from pushctl.identity.key import SECRET_BYTES, Key, State
from pushctl.ids import ID_PATTERN, b64url, unb64url

_KEY_ID = re.compile(r"[A-Za-z0-9_-]{4}")

_HEADER = """\
# The secrets of one pushctl installation, made by `pushctl keys new`. Every role of the installation uses this file.
#
# Keep it secret: mode 0600, never in a repository. Who has it can read push URLs and can tell whose inbox is whose.
# Back it up together with Redis: without it no push URL that was handed out works again, and nobody finds their inbox.
# Bring in new keys with `pushctl keys rotate`; `pushctl keys status` says where each of them stands.

# Names the installation.
"""
_SEALING_COMMENT = """
# Seal push URLs and message ids, and sign calls between roles. All of them open. state = "seals": what is new is sealed
# with it, once every role that runs has it; "opens": nothing new. `pushctl keys retire` says when one may go.
"""
_USER_ID_COMMENT = """
# Make a user's id out of who logs in. The first makes new ones; whom an older one made keeps their id.
"""
_INDEX_COMMENT = """
# Finds a user's id again, whichever key made it. While there are two, the first takes over from the second as people
# log in (`pushctl keys rotate identity_index`).
"""


class Contents(msgspec.Struct, frozen=True):
    """What a keys file says. `index`: newest first; one without an id is that of the first file."""

    installation: str
    sealing: tuple[Key, ...]
    user_id: tuple[Key, ...]
    index: tuple[Key, ...]


def render(contents: Contents) -> str:
    parts = [_HEADER, tomli_w.dumps({"installation": contents.installation})]
    parts += [_SEALING_COMMENT, _tables("sealing", contents.sealing)]
    parts += [_USER_ID_COMMENT, _tables("user_id", contents.user_id)]
    if len(contents.index) == 1 and not contents.index[0].id:
        index = tomli_w.dumps({"identity_index": _fields(contents.index[0])})
    else:
        index = _tables("identity_index", contents.index)
    return "".join([*parts, _INDEX_COMMENT, index])


def _tables(name: str, keys: Sequence[Key]) -> str:
    return "\n".join(f"[[{name}]]\n{tomli_w.dumps(_fields(key))}" for key in keys)


def _fields(key: Key) -> dict[str, str]:
    fields = {"id": key.id, "state": key.state or "", "secret": b64url(key.secret)}
    return {name: value for name, value in fields.items() if value}


def parse(where: str, text: str) -> Contents:
    """`where`: what mistakes begin with. Raises ConfigError with a line for each."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # The reason says a place or a character, never a line of the text.
        raise ConfigError([f"{where}: not TOML: {error}"]) from None
    reader = _Reader(where)
    reader.refuse_unknown(tables, ("installation", "sealing", "user_id", "identity_index"), "")
    contents = Contents(
        reader.installation(tables.get("installation")),
        reader.sealing(tables.get("sealing")),
        reader.keys(tables.get("user_id"), "user_id"),
        reader.index(tables.get("identity_index")),
    )
    reader.finish()
    return contents


class _Reader:
    """Goes through the whole file and collects every mistake; values after a mistake mean nothing."""

    def __init__(self, where: str) -> None:
        self._where = where
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

    def sealing(self, value: object) -> tuple[Key, ...]:
        """If no key has a state, the first seals: so were files written by hand."""
        keys = self.keys(value, "sealing", states=True)
        if keys and not any(key.state for key in keys):
            return (Key(keys[0].id, keys[0].secret, "seals"), *(Key(key.id, key.secret, "opens") for key in keys[1:]))
        if keys and not any(key.state == "seals" for key in keys):
            self._mistake("sealing", 'one of the keys needs state = "seals"')
        return tuple(Key(key.id, key.secret, key.state or "opens") for key in keys)

    def keys(self, value: object, name: str, *, states: bool = False) -> tuple[Key, ...]:
        if not isinstance(value, list) or not value:
            self._mistake(name, f"expected at least one [[{name}]] table with id and secret")
            return ()
        keys = tuple(self._key(item, f"{name}[{at}]", states=states) for at, item in enumerate(value))
        ids = [key.id for key in keys if key.id]
        for duplicate in sorted({key_id for key_id in ids if ids.count(key_id) > 1}):
            self._mistake(name, f"two keys have the id {duplicate!r}")
        return keys

    def index(self, value: object) -> tuple[Key, ...]:
        """One table without an id, or several of which one may have none."""
        if isinstance(value, dict):
            self.refuse_unknown(value, ("id", "secret"), "identity_index.")
            return (self._index_key(value, "identity_index"),)
        if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
            self._mistake("identity_index", "expected an [identity_index] table with secret")
            return ()
        for at, item in enumerate(value):
            self.refuse_unknown(item, ("id", "secret"), f"identity_index[{at}].")
        keys = tuple(self._index_key(item, f"identity_index[{at}]") for at, item in enumerate(value))
        if len({key.id for key in keys}) < len(keys):
            self._mistake("identity_index", "two keys have the same id, or none")
        return keys

    def _index_key(self, value: Mapping[str, object], name: str) -> Key:
        key_id = self._id(value["id"], f"{name}.id") if "id" in value else ""
        return Key(key_id, self._secret(value.get("secret"), f"{name}.secret"))

    def _key(self, value: object, name: str, *, states: bool) -> Key:
        if not isinstance(value, dict):
            self._mistake(name, "expected a table with id and secret")
            return Key("", b"")
        self.refuse_unknown(value, ("id", "state", "secret") if states else ("id", "secret"), f"{name}.")
        key_id = self._id(value.get("id"), f"{name}.id")
        state = self._state(value.get("state"), f"{name}.state") if states else None
        return Key(key_id, self._secret(value.get("secret"), f"{name}.secret"), state)

    def _id(self, value: object, name: str) -> str:
        if isinstance(value, str) and _KEY_ID.fullmatch(value) is not None:
            return value
        self._mistake(name, "expected 4 characters of A-Z a-z 0-9 _ -")
        return ""

    def _state(self, value: object, name: str) -> State | None:
        if value is None or value == "seals" or value == "opens":
            return value
        self._mistake(name, 'expected "seals" or "opens"')
        return None

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
        self._mistakes.append(f"{self._where}: {name}: {what}")
