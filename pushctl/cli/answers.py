"""What a command prints with --json, where no floor below has a shape for it.

Owns: these names, which docs/schemas/ publishes (catalog.py says which command prints which).
Promises: every field is in every line, null when there is nothing to say.
Must not know: how anything is found out.
"""

from typing import Any

from msgspec import Struct

from pushctl.protocol.frames import PushUrl


class LoggedIn(Struct, frozen=True):
    """The session that a log-in opened."""

    user: str
    device: str
    device_name: str
    expires_at: str


class Allowed(PushUrl, frozen=True):
    """The push URL that a site has now."""

    created: bool
    """false: it had it before."""


class Revoked(Struct, frozen=True):
    """A push URL that answers 410 from now on."""

    id: str
    site: str


class MarkedRead(Struct, frozen=True):
    """What marking messages read came to."""

    read: int
    """Messages that were unread until now."""


class ConfigValue(Struct, frozen=True):
    """One configuration key, as it is in effect."""

    key: str
    value: Any
    """As in a file; secret parts are `(hidden)`."""
    source: str
    """default, a file's path, a variable's name or --set."""


class BroadcastVersion(Struct, frozen=True):
    """A broadcast, and what browsers that listen to it are told."""

    id: str
    version: str


class Addresses(Struct, frozen=True):
    """Where everything of one `pushctl serve all` listens."""

    api: str
    boxoffice: str
    socket: list[str]
    admin: dict[str, str | None]
    """By role, socket servers by their id."""
    redis: str
