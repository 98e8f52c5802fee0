"""From files, environment and flags to one checked, frozen Config.

Owns: where values come from and which wins: files in the order given < PUSHCTL_<TABLE>__<KEY> < --set.
Promises: every mistake is found in one run and raised as one ConfigError, a line each, with its file (or variable, or
flag), its key, what was expected and, for a name nobody knows, what was probably meant.
Must not know: what a role needs (check.py).
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pushctl.config.model import Config
from pushctl.config.schema import UNSAID, Key, TablesWrong, build, close, keys, tables
from pushctl.errors import ConfigError

DEFAULT_DIRECTORY = Path("/etc/pushctl/conf.d")

_PREFIX = "PUSHCTL_"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration and, by key path, where each value came from.

    A source is `default`, a file's path, a variable's name or `--set`.
    """

    config: Config
    sources: dict[str, str]

    def is_set(self, path: str) -> bool:
        """Whether somebody said so, rather than the default."""
        return self.sources[path] != "default"


class _Gatherer:
    """Values by key path as the sources are read, one after the other, and the mistakes so far."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.sources: dict[str, str] = dict.fromkeys(keys(), "default")
        self.mistakes: list[str] = []

    def mistake(self, source: str, what: str) -> None:
        self.mistakes.append(f"{source}: {what}")

    def table(self, source: str, content: Mapping[str, Any], prefix: str = "") -> None:
        """What one file says; tables merge with what earlier files said."""
        for name, value in content.items():
            path = prefix + name
            if path in tables():
                if isinstance(value, dict):
                    self.table(source, value, f"{path}.")
                else:
                    self.mistake(source, f"{path}: expected a table, [{path}]")
            elif path in keys():
                self.value(source, keys()[path], value)
            else:
                self.mistake(source, f"{path}: unknown {_noun(value)}{_meant(path)}")

    def value(self, source: str, key: Key, value: Any, *, text: bool = False) -> None:
        try:
            checked = key.read_text(value) if text else key.read(value)
        except TablesWrong as wrong:
            for line in wrong.lines:
                self.mistake(source, line)
            return
        except ValueError as error:
            self.mistake(source, f"{key.path}: expected {error}")
            return
        before = self.values.get(key.path)
        if key.item is not None and before and not text:
            # A file may add one more; a variable or a flag says all there are.
            checked = before + checked
            source = f"{self.sources[key.path]}, {source}"
        self.values[key.path] = checked
        self.sources[key.path] = source


def load(
    paths: Sequence[Path] | None,
    sets: Sequence[str],
    environ: Mapping[str, str],
    *,
    default_directory: Path = DEFAULT_DIRECTORY,
) -> Loaded:
    """Read and check everything. `paths`: files, or directories whose *.toml are read in name order.

    None or empty: `default_directory` if it is there. `sets`: `table.key=value`. Raises ConfigError.
    """
    gathered = _Gatherer()
    if paths:
        for path in paths:
            _read_path(gathered, path)
    elif default_directory.is_dir():
        for file in _toml_files(default_directory):
            _read_file(gathered, file)
    _read_environment(gathered, environ)
    for assignment in sets:
        _read_set(gathered, assignment)
    if gathered.mistakes:
        raise ConfigError(gathered.mistakes)
    return Loaded(build(gathered.values), gathered.sources)


def _toml_files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.toml"), key=lambda file: file.name)


def _read_path(gathered: _Gatherer, path: Path) -> None:
    if not path.is_dir():
        _read_file(gathered, path)
        return
    files = _toml_files(path)
    if not files:
        gathered.mistake(str(path), "no *.toml in this directory; `pushctl config init` writes a commented default")
    for file in files:
        _read_file(gathered, file)


def _read_file(gathered: _Gatherer, file: Path) -> None:
    try:
        content = tomllib.loads(file.read_bytes().decode())
    except OSError as error:
        gathered.mistake(str(file), error.strerror or "cannot be read")
    except UnicodeDecodeError as error:
        gathered.mistake(str(file), f"not UTF-8: byte {error.start}")
    except tomllib.TOMLDecodeError as error:
        gathered.mistake(str(file), f"not TOML: {error}")
    else:
        gathered.table(str(file), content)


def _read_environment(gathered: _Gatherer, environ: Mapping[str, str]) -> None:
    by_variable = {key.variable: key for key in keys().values()}
    typos = {name.replace("__", "_"): name for name in by_variable}
    for name in sorted(environ):
        if not name.startswith(_PREFIX):
            continue
        value, key = environ[name], by_variable.get(name)
        if key is None and name.endswith("_FILE") and (key := by_variable.get(name.removesuffix("_FILE"))) is not None:
            if key.variable in environ:
                gathered.mistake(name, f"{key.path}: {key.variable} is set as well; use one of them")
                continue
            secret = _read_secret(gathered, name, key, Path(value))
            if secret is None:
                continue
            value = secret
        if key is not None:
            gathered.value(name, key, value, text=True)
        elif "__" in name or name in typos:
            # Other variables that begin like ours belong to others: a container platform invents PUSHCTL_API_PORT.
            meant = typos.get(name) or _closest(name, by_variable)
            gathered.mistake(name, "unknown variable" + (f"; did you mean {meant}?" if meant else ""))


def _read_secret(gathered: _Gatherer, name: str, key: Key, file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        gathered.mistake(name, f"{key.path}: {file}: {error.strerror or 'cannot be read'}")
    except UnicodeDecodeError:
        gathered.mistake(name, f"{key.path}: {file}: not UTF-8")
    return None


def _read_set(gathered: _Gatherer, assignment: str) -> None:
    path, equals, value = assignment.partition("=")
    path = path.strip()
    if not equals:
        gathered.mistake("--set", f"{path}: expected KEY=VALUE, such as socket.id=s1")
    elif path in tables():
        gathered.mistake("--set", f"{path}: is a table; set one of its keys, such as {_some_key(path)}")
    elif path in UNSAID:
        gathered.mistake("--set", f"{path}: others can see a command line; use {keys()[path].variable} or its _FILE")
    elif path in keys():
        gathered.value("--set", keys()[path], value, text=True)
    else:
        gathered.mistake("--set", f"{path}: unknown key{_meant(path)}")


def _noun(value: Any) -> str:
    return "table" if isinstance(value, dict) else "key"


def _some_key(table: str) -> str:
    return next(path for path in keys() if path.startswith(f"{table}."))


def _meant(path: str) -> str:
    """`; did you mean ...?`, or nothing."""
    return next((f"; did you mean {guess}?" for guess in _guesses(path)), "")


def _guesses(path: str) -> Iterator[str]:
    table, _, name = path.rpartition(".")
    siblings = [known for known in (*keys(), *tables()) if known.rpartition(".")[0] == table]
    yield from close(path, siblings)
    yield from (known for known in keys() if known.rpartition(".")[2] == name)
    yield from close(path, keys())


def _closest(name: str, known: Iterable[str]) -> str | None:
    return next(iter(close(name, known)), None)
