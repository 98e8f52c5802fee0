"""The keys of the model as a flat list, and what each takes.

Owns: walking config/model.py once, reading a value from TOML or from text, and saying what was expected instead.
Promises: `Key.read` and `Key.read_text` return a value of the key's type or raise ValueError with one phrase that
completes "expected ...", or TablesWrong with a line for each mistake inside a list of tables. Secret values never stand
in any of them.
Must not know: files, variables, flags (load.py), or how keys are shown (render.py).
"""

import dataclasses
import difflib
import ipaddress
import math
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

from pushctl.config.model import Config


class TablesWrong(ValueError):
    """Mistakes inside a list of tables: whole lines, each with its path (`routes[0].name: expected ...`)."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


@dataclass(frozen=True, slots=True)
class Key:
    """One key: `path` is dotted (`socket.ping_seconds`), `kind` its type as written in the model.

    A key of a list of tables has a path such as `identity.browserid.issuers[0].issuer`; `default` None: required.
    """

    path: str
    kind: Any
    default: Any
    doc: str
    minimum: float | None
    maximum: float | None
    secret: bool
    examples: tuple[Mapping[str, Any], ...] = ()

    @property
    def table(self) -> str:
        return self.path.rpartition(".")[0]

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return variable_of(self.path)

    @property
    def choices(self) -> tuple[str, ...]:
        """The words it takes, if it takes only certain ones."""
        return get_args(self.kind) if get_origin(self.kind) is Literal else ()

    @property
    def item(self) -> type | None:
        """What its tables are in the model, if it is a list of tables."""
        item = get_args(self.kind)[0] if get_origin(self.kind) is tuple else None
        return item if dataclasses.is_dataclass(item) and isinstance(item, type) else None

    def item_keys(self, number: int | None = None) -> Mapping[str, "Key"]:
        """The keys by name of its `number`th table; None: of any, as `path[]`."""
        return {} if self.item is None else _item_keys(self.item, f"{self.path}[{'' if number is None else number}].")

    def read(self, value: Any) -> Any:
        """A checked value from what TOML says."""
        if self.item is not None:
            return self._read_tables(self.item, value)
        if not self._fits(value):
            raise ValueError(f"{self.expected}, {self._got(value)}")
        checked = tuple(value) if isinstance(value, list) else value
        syntax = _SYNTAX.get(re.sub(r"\[[0-9]+\]", "[]", self.path)) or _SYNTAX.get(f"*.{self.name}")
        if syntax is not None and checked not in ("", ()):
            expected = syntax(checked)
            if expected is not None:
                raise ValueError(f"{expected}, {self._got(value)}")
        return checked

    def _read_tables(self, item: type, value: Any) -> Any:
        if not isinstance(value, list | tuple) or not all(isinstance(table, dict | item) for table in value):
            raise ValueError(f"a list of tables, [[{self.path}]], {self._got(value)}")
        mistakes: list[str] = []
        tables = [
            table if isinstance(table, item) else _read_table(item, self.item_keys(number), table, mistakes)
            for number, table in enumerate(value)
        ]
        if mistakes:
            raise TablesWrong(mistakes)
        return tuple(tables)

    def read_text(self, text: str) -> Any:
        """A checked value from a variable or a flag: `true`, `12`, `text`, `a, b`, or TOML for lists and tables."""
        value: Any = text
        if self.item is None and get_origin(self.kind) is tuple and not text.lstrip().startswith("["):
            value = [item.strip() for item in text.split(",") if item.strip()]
        elif get_origin(self.kind) is tuple or self.kind in (int, float, bool):
            try:
                value = tomllib.loads(f"value = {text.strip()}")["value"]
            except tomllib.TOMLDecodeError:
                value = text
        return self.read(value)

    def _fits(self, value: Any) -> bool:
        return (
            _is_kind(self.kind, value)
            and (self.minimum is None or value >= self.minimum)
            and (self.maximum is None or value <= self.maximum)
        )

    @property
    def expected(self) -> str:
        """What a value must be, in words that complete "expected ..."."""
        if self.item is not None:
            return "a list of tables"
        if self.choices:
            return "one of " + ", ".join(self.choices)
        words = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}
        word = words.get(self.kind, "a list of texts")
        if self.minimum is not None and self.maximum is not None:
            return f"{word} from {self.minimum} to {self.maximum}"
        if self.minimum is not None:
            return f"{word}, at least {self.minimum}"
        return word

    def _got(self, value: Any) -> str:
        if self.secret:
            return "got something else (not shown, it may hold a secret)"
        return f"got {str(value).lower() if isinstance(value, bool) else repr(value)}"


UNSAID = frozenset({"identity.keys_toml", "traces.headers"})
"""Keys whose whole value is a secret: it is never shown, nor taken from a command line, which others can see."""


def _read_table(item: type, known: Mapping[str, Key], table: Mapping[str, Any], mistakes: list[str]) -> Any:
    """One of a list of tables; None if there are mistakes in it."""
    before, values = len(mistakes), {}
    for name, value in table.items():
        if name not in known:
            there = next(iter(known.values())).path.rpartition(".")[0]
            meant = "".join(f"; did you mean {guess}?" for guess in close(name, known))
            mistakes.append(f"{there}.{name}: unknown key{meant}")
            continue
        try:
            values[name] = known[name].read(value)
        except ValueError as error:
            mistakes.append(f"{known[name].path}: expected {error}")
    mistakes += [f"{key.path}: required" for name, key in known.items() if key.default is None and name not in table]
    return item(**values) if len(mistakes) == before else None


def close(name: str, known: Iterable[str]) -> list[str]:
    """The known name that was probably meant, if there is one."""
    return difflib.get_close_matches(name, list(known), n=1, cutoff=0.75)


def variable_of(path: str) -> str:
    """`socket.ping_seconds` -> `PUSHCTL_SOCKET__PING_SECONDS`."""
    return "PUSHCTL_" + path.upper().replace(".", "__")


@cache
def keys() -> Mapping[str, Key]:
    """Every key of the model by its path, in the model's order."""
    return {key.path: key for key in _walk(Config, "")}


@cache
def _hints(table: type) -> Mapping[str, Any]:
    return get_type_hints(table)


@cache
def tables() -> Mapping[str, type]:
    """Every table of the model by its path, in the model's order."""
    found: dict[str, Any] = {}

    def walk(table: Any, prefix: str) -> None:
        for name, kind in _hints(table).items():
            if dataclasses.is_dataclass(kind):
                found[prefix + name] = kind
                walk(kind, f"{prefix}{name}.")

    walk(Config, "")
    return found


@cache
def _item_keys(item: type, prefix: str) -> Mapping[str, Key]:
    return {key.name: key for key in _walk(item, prefix)}


def _walk(table: type, prefix: str) -> list[Key]:
    hints = _hints(table)
    found: list[Key] = []
    for field in dataclasses.fields(table):
        kind, path = hints[field.name], prefix + field.name
        if dataclasses.is_dataclass(kind):
            assert isinstance(kind, type)
            found += _walk(kind, f"{path}.")
            continue
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        about = field.metadata
        bounds = about["minimum"], about["maximum"]
        secret, examples = about["secret"], about["examples"]
        found.append(Key(path, kind, default, about["doc"], *bounds, secret=secret, examples=examples))
    return found


def value_at(config: Config, path: str) -> Any:
    """The value of a key or a whole table."""
    found: Any = config
    for name in path.split("."):
        found = getattr(found, name)
    return found


def build(values: Mapping[str, Any]) -> Config:
    """A Config of checked values by path; what is missing has its default."""

    def make(table: Any, prefix: str) -> Any:
        hints = _hints(table)
        given = {
            name: make(kind, f"{prefix}{name}.") if dataclasses.is_dataclass(kind) else values[prefix + name]
            for name, kind in hints.items()
            if dataclasses.is_dataclass(kind) or prefix + name in values
        }
        return table(**given)

    config = make(Config, "")
    assert isinstance(config, Config)
    return config


def changed(config: Config, changes: Mapping[str, Any]) -> Config:
    """The same configuration with other values at some paths. The values are taken as they are."""
    return build({path: value_at(config, path) for path in keys()} | dict(changes))


def _is_kind(kind: Any, value: Any) -> bool:
    """Whether a TOML value is one of this type. A whole number will do for a number; true is no number."""
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is tuple:
        return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
    if kind is float:
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is kind


def split_address(listen: str) -> tuple[str, int]:
    """Host and port of `host:port` or `[v6]:port`; ValueError if it is neither."""
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ValueError("not host:port")
    if host.startswith("[") and host.endswith("]"):
        return str(ipaddress.IPv6Address(host[1:-1])), int(port)
    if any(character.isspace() or character in ":[]/" for character in host):
        raise ValueError("not host:port")
    return host, int(port)


def join_address(host: str, port: int) -> str:
    """`host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


LOOPBACK = ("127.0.0.0/8", "::1/128")
"""The networks that only this machine is in."""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a listener bound to `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_unspecified(host: str) -> bool:
    """Whether a listener bound to `host` takes what comes to any address of this machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _address(value: str) -> str | None:
    try:
        split_address(value)
    except ValueError:
        return "host:port, such as 127.0.0.1:8080 or [::1]:0"
    return None


def _networks(value: tuple[str, ...]) -> str | None:
    try:
        for network in value:
            ipaddress.ip_network(network)
    except ValueError:
        return "networks such as 10.0.0.0/8 or ::1/128"
    return None


def _is_url(value: str, schemes: tuple[str, ...], *, origin: bool) -> bool:
    try:
        url = urlsplit(value)
        whole = bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        return False
    bare = not url.username and not url.query and not url.fragment and "?" not in value and "#" not in value
    return whole and bare and url.scheme in schemes and (not origin or not url.path)


def _origin(value: str) -> str | None:
    return (
        None
        if _is_url(value, ("http", "https"), origin=True)
        else "an http(s) origin without a path or a slash at the end, such as https://push.example"
    )


def _origins(value: tuple[str, ...]) -> str | None:
    return next((expected for expected in map(_origin, value) if expected), None)


def _browserid_algorithms(value: tuple[str, ...]) -> str | None:
    return None if set(value) <= {"RS256", "DS256"} else "only RS256 and DS256: the others are too weak"


def _websocket_url(value: str) -> str | None:
    fits = _is_url(value, ("ws", "wss"), origin=False)
    return None if fits else "a ws:// or wss:// URL, such as wss://s1.push.example/"


def _internal_url(value: str) -> str | None:
    fits = _is_url(value, ("http",), origin=False)
    return None if fits else "an http:// URL that routers reach, such as http://10.0.0.5:9182"


def _collector_url(value: str) -> str | None:
    fits = _is_url(value, ("http", "https"), origin=False)
    return None if fits else "an http(s) URL without a user or a query, such as http://127.0.0.1:4318/v1/traces"


def _redis_url(value: str) -> str | None:
    fits = value.startswith(("redis://", "rediss://", "unix://"))
    return None if fits else "a redis://, rediss:// or unix:// URL"


_SYNTAX: Mapping[str, Callable[[Any], str | None]] = {
    "*.listen": _address,
    "*.admin_listen": _address,
    "*.rpc_listen": _address,
    "*.trusted_proxies": _networks,
    "*.exempt_networks": _networks,
    "*.trusted_networks": _networks,
    "*.origins": _origins,
    "identity.browserid.audiences": _origins,
    "identity.browserid.algorithms": _browserid_algorithms,
    "api.public_url": _origin,
    "boxoffice.public_url": _origin,
    "socket.public_url": _websocket_url,
    "socket.rpc_url": _internal_url,
    "redis.url": _redis_url,
    "traces.endpoint": _collector_url,
}
"""What a value must look like beyond its type. A check returns None, or what it expected. Empty values are not looked
at here: whether a role can do without is check_role's."""
