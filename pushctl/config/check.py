"""What one role needs of a configuration, beyond each value being right.

Owns: the rules between keys. Promises: `check_role` names every mistake, with the key to change.
Must not know: files, flags; whether files named in the configuration hold what they should (a role's build finds out).
"""

from urllib.parse import urlsplit

from pushctl.config.model import Config, RoleName
from pushctl.config.oidc_rules import check_providers
from pushctl.config.schema import is_loopback, is_unspecified, keys, split_address, value_at
from pushctl.ids import ID_PATTERN

_PUBLIC = {"api": "https://push.example", "boxoffice": "https://push.example", "socket": "wss://s1.push.example/"}
SPARE_FILES = 256
"""Beside the connections of clients: listeners, Redis, log, health checks, libraries."""

_LISTENERS = ("listen", "admin_listen", "rpc_listen")


def check_role(config: Config, role: RoleName, *, alone: bool = True) -> list[str]:
    """What keeps this role from starting, one line each; empty: nothing.

    `alone`: a process of its own. The roles of one `serve all` know each other's addresses and need not be told.
    """
    mistakes = _check_public(config, role) if alone else []
    mistakes += _check_keys(config, role)
    idle_seconds = config.gc.idle_device_days * 86_400
    if role == "gc" and 0 < idle_seconds < config.identity.session_max_age_seconds:
        mistakes.append(
            "gc.idle_device_days: must be at least as long as a session may be (identity.session_max_age_seconds): a "
            "device that only asks over HTTP is not seen between two log-ins"
        )
    return [
        *mistakes,
        *_check_tls(config, role),
        *_check_rpc(config, role),
        *_check_dev_idp(config, role),
        *_check_browserid(config, role),
        *(_check_inbox(config) if alone and role == "api" else ()),
        *(check_providers(config) if role == "api" else ()),
    ]


def _check_inbox(config: Config) -> list[str]:
    """The page asks the Box Office itself."""
    boxoffice = config.boxoffice.public_url
    if not config.api.inbox:
        return []
    if not boxoffice:
        return [f"boxoffice.public_url: required by api.inbox: where its page asks, such as {_PUBLIC['boxoffice']}"]
    if config.api.public_url.startswith("https:") and boxoffice.startswith("http:"):
        return ["boxoffice.public_url: must begin with https:// with api.inbox: a page from https:// asks nothing else"]
    return []


def _check_keys(config: Config, role: RoleName) -> list[str]:
    identity = config.identity
    if identity.keys_file and identity.keys_toml:
        return ["identity.keys_toml: identity.keys_file is set as well; use one of them"]
    if role in ("api", "socket") and not (identity.keys_file or identity.keys_toml):
        return ["identity.keys_file: required; `pushctl keys new FILE` makes one, all roles share it"]
    return []


def dev_idp_on(config: Config) -> bool:
    """Whether the development identity provider lets anybody in."""
    return config.identity.dev_idp.enabled and config.identity.environment == "development"


def _check_public(config: Config, role: RoleName) -> list[str]:
    mistakes = []
    if role in _PUBLIC and not value_at(config, f"{role}.public_url"):
        mistakes.append(f"{role}.public_url: required: the URL clients use, such as {_PUBLIC[role]}")
    if role == "socket" and not config.api.public_url:
        mistakes.append(f"api.public_url: required by socket, too: push URLs begin with it, such as {_PUBLIC['api']}")
    if role == "socket" and not config.socket.id:
        mistakes.append("socket.id: required: this server's name, the same after every restart, such as s1")
    elif role == "socket" and not ID_PATTERN.fullmatch(config.socket.id):
        mistakes.append("socket.id: expected letters, digits, _ and -, at most 128")
    return mistakes


def files_needed(config: Config, role: RoleName) -> int:
    """How many files a role may have open at a time, about: one per connection that it promises to take, and what is
    beside them (SPARE_FILES)."""
    most = {"api": config.http.max_connections, "boxoffice": config.http.max_connections}
    return most.get(role, config.socket.max_connections if role == "socket" else 0) + SPARE_FILES


def tls_on(config: Config, role: RoleName) -> bool:
    """Whether the role's public listener speaks TLS itself."""
    return role in _PUBLIC and bool(value_at(config, f"{role}.tls_certificate"))


def _check_tls(config: Config, role: RoleName) -> list[str]:
    """Certificate and key belong together; clients are told what the listener speaks."""
    if role not in _PUBLIC:
        return []
    certificate, key, client_ca, url = (
        value_at(config, f"{role}.{name}") for name in ("tls_certificate", "tls_key", "tls_client_ca", "public_url")
    )
    mistakes = []
    if bool(certificate) != bool(key):
        missing, given = ("tls_key", "tls_certificate") if certificate else ("tls_certificate", "tls_key")
        mistakes.append(f"{role}.{missing}: required with {role}.{given}: both or neither")
    if client_ca and not certificate:
        mistakes.append(f"{role}.tls_client_ca: means nothing without {role}.tls_certificate")
    if certificate and url and not url.startswith(("https://", "wss://")):
        scheme = "wss" if role == "socket" else "https"
        mistakes.append(f"{role}.public_url: must begin with {scheme}:// while {role}.tls_certificate is set")
    return mistakes


def _check_rpc(config: Config, role: RoleName) -> list[str]:
    """Routers must know how to sign, and where to call."""
    listen, url = config.socket.rpc_listen, config.socket.rpc_url
    has_keys = config.identity.keys_file or config.identity.keys_toml
    if role == "router" and config.routing.strategy == "rpc" and not has_keys:
        return ["identity.keys_file: required by routing.strategy = rpc: calls are signed with what all roles share"]
    if role == "socket" and url and not listen:
        return ["socket.rpc_url: means nothing without socket.rpc_listen"]
    if role == "socket" and listen and not url and is_unspecified(split_address(listen)[0]):
        return ["socket.rpc_url: required: routers cannot call the address that socket.rpc_listen listens on"]
    return []


def _check_dev_idp(config: Config, role: RoleName) -> list[str]:
    """It is asked for twice, and only this machine reaches it."""
    dev_idp, environment = config.identity.dev_idp, config.identity.environment
    if dev_idp.enabled and environment != "development":
        return ['identity.dev_idp.enabled: also needs identity.environment = "development": both or neither']
    if not dev_idp.enabled and environment == "development":
        return ['identity.environment: "development" also needs identity.dev_idp.enabled = true: both or neither']
    if not dev_idp.enabled or dev_idp.allow_bind_any:
        return []
    return [
        f"{role}.{name}: must be a loopback address while the development identity provider is on "
        "(or set identity.dev_idp.allow_bind_any: then whoever reaches it logs in as anybody)"
        for name in _LISTENERS
        if f"{role}.{name}" in keys() and not _is_local(value_at(config, f"{role}.{name}"))
    ]


def _check_browserid(config: Config, role: RoleName) -> list[str]:
    """Whoever is believed is named; what an assertion is for travels encrypted."""
    browserid, path = config.identity.browserid, "identity.browserid"
    if role != "api" or not browserid.enabled:
        return []
    mistakes = []
    if not browserid.algorithms:
        mistakes.append(f'{path}.algorithms: name at least one, such as "RS256"')
    if browserid.mode == "static" and not browserid.issuers:
        mistakes.append(f'{path}.issuers: required with {path}.mode = "static": name who signs for which domains')
    here = config.identity.environment == "development"
    return mistakes + [
        f"{path}.audiences: {audience!r}: https:// only (http:// on loopback, in development)"
        for audience in browserid.audiences
        if audience.startswith("http:") and not (here and is_loopback(urlsplit(audience).hostname or ""))
    ]


def _is_local(listen: str) -> bool:
    return not listen or is_loopback(split_address(listen)[0])
