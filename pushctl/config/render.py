"""A configuration as TOML: the commented default files, and what is in effect.

Owns: conf.d/ (10-common.toml, 20-<role>.toml), which is this module's output word for word.
Promises: every key of the model stands in exactly one default file, commented out, with its default and its meaning;
secret values are never shown.
Must not know: where files are written.
"""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import tomli_w

from pushctl.config.load import Loaded
from pushctl.config.model import ROLE_NAMES
from pushctl.config.schema import UNSAID, Key, keys, tables, value_at

HIDDEN = "(hidden)"

_CREDENTIALS = re.compile(r"(?<=://)[^/@]*(?=@)|(?<=\?).*")
"""Of a URL: user and password, also those given as parameters."""
_WIDTH = 100
_COMMON = """\
pushctl: what all roles share.

Every key stands here with its default, commented out: remove the # in front of those you change. What wins: files in
name order, then variables PUSHCTL_<TABLE>__<KEY> (with _FILE behind it: the value is read from that file), then --set.
`pushctl config show --sources` says what is in effect and why; `pushctl config check` finds mistakes.
"""
_ENV = """\
pushctl: every key as an environment variable, with its default, commented out.

Lists are written a, b or as TOML; with _FILE behind a name, the value is read from the file that it names. A variable
comes before files, --set before a variable.
"""
_ROLE = "pushctl: the role {role}. How this works stands at the top of 10-common.toml."


def default_files() -> dict[str, str]:
    """The default configuration by file name."""
    roles: tuple[str, ...] = ROLE_NAMES
    common = [table for table in tables() if table not in roles]
    files = {"10-common.toml": _default_file(_COMMON, common)}
    for role in roles:
        files[f"20-{role}.toml"] = _default_file(_ROLE.format(role=role), [role])
    return files


def default_env() -> str:
    """The same as environment variables: a file for systemd, Docker or a shell."""
    lines = [f"# {line}".rstrip() for line in _ENV.strip().splitlines()]
    for key in keys().values():
        text = key.default if isinstance(key.default, str) else toml_value(key.default)
        lines += ["", *_comment(key.doc + _bounds(key)), f"#{key.variable}={text}"]
    return "\n".join(lines) + "\n"


def effective(loaded: Loaded, *, sources: bool) -> str:
    """All keys with the values in effect, as TOML; with `sources`, each says where it comes from."""
    lines: list[str] = []
    for table in tables():
        own = _keys_of(table)
        if own:
            lines += ["", f"[{table}]"] if lines else [f"[{table}]"]
        lines += [_effective_line(loaded, key, sources=sources) for key in own]
    return "\n".join(lines) + "\n"


def effective_values(loaded: Loaded) -> dict[str, dict[str, Any]]:
    """The same for programs: by key path, value and source."""
    return {key.path: {"value": _shown(loaded, key), "source": loaded.sources[key.path]} for key in keys().values()}


def toml_value(value: Any) -> str:
    """One value on one line. None, of a key that must be set, is `required`."""
    if value is None:
        return "required"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, dict):
        pairs = (f"{toml_value(name)} = {toml_value(item)}" for name, item in value.items())
        return "{ " + ", ".join(pairs) + " }" if value else "{}"
    return tomli_w.dumps({"value": value}).removeprefix("value = ").rstrip("\n")


def _shown(loaded: Loaded, key: Key) -> Any:
    value = value_at(loaded.config, key.path)
    if key.path in UNSAID:
        return HIDDEN if value else value
    if key.item is not None:
        return [asdict(table) for table in value]
    return _CREDENTIALS.sub(HIDDEN, value) if key.secret else value


def _effective_line(loaded: Loaded, key: Key, *, sources: bool) -> str:
    line = f"{key.name} = {toml_value(_shown(loaded, key))}"
    return f"{line}  # {loaded.sources[key.path]}" if sources else line


def _default_file(title: str, wanted: list[str]) -> str:
    lines = [f"# {line}".rstrip() for line in title.strip().splitlines()]
    for table in wanted:
        if _keys_of(table):
            lines += ["", *_default_table(table)]
    return "\n".join(lines) + "\n"


def _default_table(table: str) -> Iterator[str]:
    yield from _comment((tables()[table].__doc__ or "").strip())
    yield f"[{table}]"
    for key in _keys_of(table):
        yield from _comment(key.doc + _bounds(key))
        for each in key.item_keys().values():
            yield from _comment(f"{each.name} ({toml_value(each.default)}): {each.doc}{_bounds(each)}", "  ")
        yield f"#{key.name} = {toml_value(key.default)}"
        yield from _examples(key)


def _examples(key: Key) -> Iterator[str]:
    """Entries of a list of tables: what is left when `# ` is taken away from all their lines is TOML."""
    for number, example in enumerate(key.examples):
        yield "#" if number else "# for example, in place of the line above (remove `# ` in front of each line):"
        yield f"# [[{key.path}]]"
        yield from (f"# {name} = {toml_value(value)}" for name, value in example.items())


def _comment(text: str, indent: str = "") -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=indent * 2)]


def _bounds(key: Key) -> str:
    return f" ({', '.join(key.choices)})" if len(key.choices) > 1 else ""


def _keys_of(table: str) -> list[Key]:
    return [key for key in keys().values() if key.table == table]
