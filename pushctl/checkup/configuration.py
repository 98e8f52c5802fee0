"""The configuration, beyond each value being right: do files exist, may others read secrets, who gets in.

Owns: what is true or false on this machine only. Must not know: how values are read (config/), what Redis says.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from pushctl.checkup.finding import Finding, bad, ok, unknown, warn
from pushctl.config.check import check_role, dev_idp_on
from pushctl.config.model import ROLE_NAMES, Config, RoleName
from pushctl.config.schema import is_loopback
from pushctl.errors import ConfigError
from pushctl.identity.keys import Keys

_NEED_KEYS = ("api", "socket")


@dataclass(frozen=True, slots=True)
class Here:
    """A configuration, and the roles it is for; none named: some role of the installation."""

    config: Config
    roles: Sequence[RoleName] = ()

    def needs_keys(self) -> bool:
        return any(role in _NEED_KEYS for role in self.roles)


async def check_roles(here: Here) -> Iterable[Finding]:
    """What the roles need to start. Without names, only what is wrong for any of them."""
    mistakes = dict.fromkeys(
        mistake
        for role in here.roles or ROLE_NAMES
        for mistake in check_role(here.config, role, alone=bool(here.roles))
        if not mistake.startswith("identity.keys_file: required")  # a check of its own
    )
    if mistakes:
        return [mistake_of(mistake) for mistake in mistakes]
    return [ok(f"good for {', '.join(here.roles)}" if here.roles else "no contradictions; name ROLEs to check more")]


def mistake_of(line: str) -> Finding:
    """A line that names the key, what is wrong with it and what to write instead."""
    return bad(line, "")


async def check_keys_file(here: Here) -> Iterable[Finding]:
    try:
        keys = Keys.configured(here.config.identity)
    except ConfigError as error:
        return [mistake_of(mistake) for mistake in error.mistakes]
    if keys is None:
        missing = bad if here.needs_keys() else warn
        return [
            missing(
                "identity.keys_file is not set",
                "api and socket do not start without it; all roles of an installation share the file.",
                "pushctl keys new keys.toml    # prints the line to configure",
            )
        ]
    return [ok(f"installation {keys.installation}, sealing keys: {', '.join(key.id for key in keys.sealing_keys)}")]


async def check_public_urls(here: Here) -> Iterable[Finding]:
    config = here.config
    urls = {
        "api.public_url": config.api.public_url,
        "boxoffice.public_url": config.boxoffice.public_url,
        "socket.public_url": config.socket.public_url,
    }
    named = {key: url for key, url in urls.items() if url}
    if not named:
        means = "api, boxoffice and socket need theirs; name the ROLEs that run here."
        return [] if here.roles else [unknown("none is set", means)]
    bare = [f"{key} = {url}" for key, url in named.items() if _in_the_clear(url)]
    if not bare:
        return [ok(", ".join(named.values()))]
    return [
        warn(
            ", ".join(bare),
            "Sessions and messages travel in the clear, and browsers insist on https:// and wss://.",
            "tls_certificate and tls_key of api, boxoffice and socket, and https:// or wss:// in public_url",
            "or a proxy that speaks TLS in front, named in trusted_proxies",
        )
    ]


def _in_the_clear(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("http", "ws") and not is_loopback(parts.hostname or "")


async def check_dev_idp(here: Here) -> Iterable[Finding]:
    if not dev_idp_on(here.config):
        return [ok("off")]
    return [
        warn(
            "on",
            "Whoever reaches the api logs in as anybody. For trying out only.",
            "identity.dev_idp.enabled = false",
            'identity.environment = "production"',
        )
    ]
