"""Whom a load goes to: a file of push URLs, one a line, or of subscriptions with their keys (JSON), one a line.

Owns: reading that file. Promises: a file of secrets that others can read is refused; no line of it stands in an error,
only its number.
Must not know: what is sent to them.
"""

import os
import stat
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from pushctl.errors import ConfigError
from pushctl.webpush.encryption import SubscriptionKeys, parse_subscription

MOST_MISTAKES = 10
"""Told of one file."""


class Target(Struct, frozen=True, dict=True):
    """A push URL. `keys`: what is sent there is encrypted to them."""

    url: str
    keys: SubscriptionKeys | None = None

    @cached_property
    def origin(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    @cached_property
    def path(self) -> str:
        parts = urlsplit(self.url)
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def __repr__(self) -> str:
        return f"Target({self.origin})"


def read_targets(path: Path) -> list[Target]:
    """In the order of the file; empty lines and # comments are left out. Raises ConfigError with every mistake."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            raw = file.read()
        text = raw.decode()
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: not UTF-8 text"]) from None
    if mode & 0o077:
        raise ConfigError([f"{path}: others than its owner may read these push URLs; `chmod 600 {path}`"])
    found: list[Target] = []
    mistakes: list[str] = []
    for number, line in _lines(text):
        try:
            found.append(_target(line))
        except ValueError as mistake:
            mistakes.append(f"{path}, line {number}: {mistake}")
    if len(mistakes) > MOST_MISTAKES:
        mistakes[MOST_MISTAKES:] = [f"{path}: {len(mistakes) - MOST_MISTAKES} more lines like these"]
    if not mistakes and not found:
        mistakes.append(f"{path}: no push URL in it; one a line")
    if mistakes:
        raise ConfigError(mistakes)
    return found


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        said = line.strip()
        if said and not said.startswith("#"):
            yield number, said


def _target(line: str) -> Target:
    """ValueError says what is wrong without repeating it."""
    if line.startswith("{"):
        subscription = parse_subscription(line.encode())
        return Target(_checked(subscription.endpoint), subscription.keys)
    return Target(_checked(line))


def _checked(url: str) -> str:
    wrong = ValueError("no push URL: expected http:// or https://, or a subscription in JSON")
    try:
        parts = urlsplit(url)
        named = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise wrong from None
    if not named or not url.isascii() or not url.isprintable() or " " in url:
        raise wrong
    return url
