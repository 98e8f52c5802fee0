"""What can be said of each key: what it takes, its unit, who reads it, how it looks in a file.

Owns: who reads which key (READERS, held to the roles' code by a test), and examples where a default is empty.
Must not know: how it is shown (cli/config_doc.py).
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from pushctl.config.model import ROLE_NAMES
from pushctl.config.render import toml_value
from pushctl.config.schema import UNSAID, Key, keys, tables

COMMANDS: Final = "commands"
"""Those of operators, which ask the registry themselves: stats, inspect, drain, doctor, keys, broadcast."""

EVERYBODY: Final = (*ROLE_NAMES, COMMANDS)

READERS: Final[dict[str, tuple[str, ...]]] = {
    "redis": EVERYBODY,
    "http": ("api", "boxoffice", "socket"),
    "http.max_body_bytes": ("api",),
    "api": ("api",),
    "api.public_url": ("api", "socket"),
    "boxoffice.public_url": ("api", "boxoffice"),
    "boxoffice": ("boxoffice",),
    "socket": ("socket",),
    "socket.reconcile_seconds": ("socket", "router"),
    "router": ("router",),
    "gc": ("gc",),
    "routing": ("api", "socket", "router"),
    "routing.partitions": EVERYBODY,
    "messages": ("api",),
    "messages.max_lifetime_seconds": EVERYBODY,
    "limits": ("api",),
    "limits.push_urls_per_user": ("api", "socket", COMMANDS),
    "limits.log_events_per_user": EVERYBODY,
    "limits.connections_per_user": ("socket",),
    "limits.connections_per_address": ("socket",),
    "limits.arrivals_per_second_per_address": ("boxoffice", "socket"),
    "limits.arrivals_burst_per_address": ("boxoffice", "socket"),
    "limits.exempt_networks": ("api", "boxoffice", "socket"),
    "identity": ("api",),
    "identity.keys_file": EVERYBODY,
    "identity.keys_toml": EVERYBODY,
    "identity.session_ttl_seconds": ("api", "socket"),
    "identity.session_max_age_seconds": ("api", "socket", "gc"),
    "log": ROLE_NAMES,
    "traces": ROLE_NAMES,
    "traces.trusted_networks": ("api",),
}
"""By key or table; of several the longest that a key begins with."""

EXAMPLES: Final[dict[str, Any]] = {
    "api.public_url": "https://push.example",
    "api.tls_certificate": "/etc/pushctl/push.example.pem",
    "api.tls_key": "/etc/pushctl/push.example.key",
    "api.tls_client_ca": "/etc/pushctl/clients.pem",
    "api.origins": ["https://app.example"],
    "api.trusted_proxies": ["10.0.0.0/8"],
    "boxoffice.public_url": "https://where.push.example",
    "boxoffice.zone": "eu-1",
    "socket.id": "s1",
    "socket.public_url": "wss://s1.push.example/",
    "socket.zone": "eu-1",
    "socket.origins": ["https://app.example"],
    "socket.rpc_listen": "10.0.0.5:9182",
    "socket.rpc_url": "http://10.0.0.5:9182",
    "limits.exempt_networks": ["10.0.0.0/8"],
    "identity.keys_file": "/etc/pushctl/keys.toml",
    "identity.browserid.audiences": ["https://push.example"],
}
"""What a file may say where the default is empty. Those of the api's listener hold for the others', too."""

_UNITS: Final = {"seconds": "seconds", "days": "days", "bytes": "bytes", "percent": "percent"}


class KeyDoc(msgspec.Struct, frozen=True):
    """A configuration key, as `pushctl config doc` documents it."""

    key: str
    takes: str
    """What a value must be, in words."""
    choices: list[str]
    """The words it takes, if it takes only certain ones."""
    minimum: float | None
    maximum: float | None
    unit: str | None
    """seconds, days, bytes, percent, per second"""
    default: Any
    """null: none, it must be said."""
    meaning: str
    read_by: list[str]
    """Roles; `commands`: those of operators, too."""
    variable: str | None
    """The environment variable that sets it; with _FILE behind it, a file that holds the value. null: of an entry of a
    list of tables."""
    secret: bool
    """Whether it holds secrets, which are shown nowhere."""
    example: str
    """A line, or lines, of a file."""


def document(name: str | None = None) -> list[KeyDoc]:
    """Every key; or those of a table, or of one name wherever it is. Empty if there is none."""
    known = list(_all())
    if name is None:
        return known
    exact = [doc for doc in known if doc.key == name or doc.key.startswith((f"{name}.", f"{name}[]."))]
    return exact or [doc for doc in known if doc.key.rpartition(".")[2] == name]


def names() -> list[str]:
    """All that `document` may be asked for, but for bare names."""
    return [*tables(), *(doc.key for doc in _all())]


def _all() -> Iterator[KeyDoc]:
    for key in keys().values():
        yield _doc(key)
        yield from (_doc(each, of=key) for each in key.item_keys().values())


def _doc(key: Key, of: Key | None = None) -> KeyDoc:
    return KeyDoc(
        key=key.path,
        takes=key.expected,
        choices=list(key.choices),
        minimum=key.minimum,
        maximum=key.maximum,
        unit=unit_of(key.name),
        default=key.default,
        meaning=key.doc,
        read_by=list(readers_of(key.path)),
        variable=None if of else key.variable,
        secret=key.secret or key.path in UNSAID,
        example=_example(key, of),
    )


def readers_of(path: str) -> tuple[str, ...]:
    """Roles, in the order of the role names, and `commands`."""
    found = max((name for name in READERS if path == name or path.startswith(f"{name}.")), key=len)
    return READERS[found]


def unit_of(name: str) -> str | None:
    """What a number of this key counts in, by its name."""
    if "per_second" in name:
        return "per second"
    return _UNITS.get(name.rpartition("_")[2])


def _example(key: Key, of: Key | None) -> str:
    if key.examples:
        return "\n".join(
            [f"[[{key.path}]]", *(f"{name} = {toml_value(each)}" for name, each in key.examples[0].items())]
        )
    said = [entry[key.name] for entry in (of.examples if of else ()) if key.name in entry]
    value = said[0] if said else _some_value(key)
    return f"{key.name} = {toml_value(value)}"


def _some_value(key: Key) -> Any:
    """The default, unless it is empty and something better is known."""
    role = key.path.replace("boxoffice.", "api.").replace("socket.", "api.")
    return key.default or EXAMPLES.get(key.path, EXAMPLES.get(role, key.default))
