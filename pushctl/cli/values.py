"""What people type, turned into values: durations, rates, sizes, sites, icons, text from a file; and the other way.

Owns: the spelling of values on the command line, the same in every command.
Promises: whatever is typed, the value comes back or typer.BadParameter says what was expected (exit 2).
Must not know: what the values are for.
"""

import base64
import getpass
import math
import os
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import typer

from pushctl.client.foreign import printable
from pushctl.client.loopback import is_loopback

if TYPE_CHECKING:
    from pushctl.config.model import RoleName

MAX_ICON_BYTES: Final = 16 * 1024
"""Of an icon as a data: URL (docs/protocol.md, section 1)."""

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")

_RATE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)/(s|m|h)")
_SIZE: Final = re.compile(r"([0-9]+)(B|KiB|MiB)")
_SIZE_UNITS: Final = {"B": 1, "KiB": 1024, "MiB": 1024 * 1024}
_SHARE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(%?)")

_IMAGES: Final = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"\x00\x00\x01\x00"), "image/x-icon"),
    (re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<svg[\s>]", re.DOTALL), "image/svg+xml"),
)


def duration(value: str | float) -> float:
    """Seconds, from `500ms 5s 10m 2h 3d`. A number is a default that typer hands through: seconds already."""
    if isinstance(value, float | int):
        return float(value)
    match = _DURATION.fullmatch(value.strip())
    if match is None:
        raise typer.BadParameter(f"{value!r} is not a duration: write 500ms, 5s, 10m, 2h or 3d")
    return float(match[1]) * _UNITS[match[2]]


def rate(value: str | float) -> float:
    """How many a second, from `100/s`, `600/m` or `1000/h`."""
    if isinstance(value, float | int):
        return float(value)
    match = _RATE.fullmatch(value.strip())
    if match is None or not float(match[1]):
        raise typer.BadParameter(f"{value!r} is not a rate: write 100/s, 600/m or 1000/h")
    return float(match[1]) / _UNITS[match[2]]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes, the least and the most."""

    least: int
    most: int

    def __str__(self) -> str:
        """As one types it."""
        least, most = (f"{n // 1024}KiB" if n % 1024 == 0 else f"{n}B" for n in (self.least, self.most))
        return least if least == most else f"{least}-{most}"


def sizes(value: str | Sizes) -> Sizes:
    """From `200B` (always as many), `4KiB` or `100B-2KiB`."""
    if isinstance(value, Sizes):
        return value
    found = [_SIZE.fullmatch(part) for part in value.strip().split("-")]
    octets = [int(match[1]) * _SIZE_UNITS[match[2]] for match in found if match is not None]
    if len(octets) < len(found) or len(octets) > 2 or octets != sorted(octets) or not octets[0]:
        raise typer.BadParameter(f"{value!r} is not a size: write 200B, 4KiB or 100B-2KiB")
    return Sizes(octets[0], octets[-1])


def share(value: str | float) -> float:
    """A part of the whole, 0 to 1, from `25%` or `0.25`."""
    if isinstance(value, float | int):
        return float(value)
    match = _SHARE.fullmatch(value.strip())
    part = float(match[1]) / (100 if match[2] else 1) if match else math.inf
    if part > 1:
        raise typer.BadParameter(f"{value!r} is not a share: write 25% or 0.25")
    return part


def whole_seconds(value: str | int) -> int:
    """Whole seconds, from a duration or, as in a TTL header, from a bare number of seconds."""
    if isinstance(value, int):
        return value
    if re.fullmatch(r"[0-9]{1,10}", value.strip()):
        return int(value)
    seconds = duration(value)
    if seconds != int(seconds):
        raise typer.BadParameter(f"{value!r} is not a whole number of seconds")
    return int(seconds)


def text(value: str) -> str:
    """Text that can be sent: UTF-8. (What is not, Python lets in as half characters that nothing can encode.)"""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise typer.BadParameter("not UTF-8 text") from None
    return value


def header_text(value: str) -> str:
    """Text that fits into an HTTP header: visible ASCII."""
    if not value or not all("!" <= c <= "~" for c in value):
        raise typer.BadParameter(f"{printable(value)!r}: use visible ASCII characters without blanks")
    return value


def is_web_url(value: str) -> bool:
    """Whether it is an http(s) URL with a host."""
    try:
        parts = urlsplit(value)
        named = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return named and value.isprintable() and " " not in value


def site(value: str) -> str:
    """A site's origin; without a scheme it is https://. One slash at the end is forgiven, a path is not."""
    origin = value.strip() if "://" in value else f"https://{value.strip()}"
    if not is_web_url(origin):
        raise typer.BadParameter(f"{value!r} is not a site: write news.example or https://news.example:8443")
    parts = urlsplit(origin)
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
        raise typer.BadParameter(f"{value!r} is more than a site: write {parts.scheme}://{parts.netloc.split('@')[-1]}")
    return origin.removesuffix("/")


def server_url(value: str) -> str:
    """The http(s) URL of one of our servers, without a slash at the end."""
    url = value.strip()
    parts = urlsplit(url) if is_web_url(url) else None
    if parts is None or parts.query or parts.fragment or parts.username is not None:
        raise typer.BadParameter(f"{value!r} is not a server's URL: write http://127.0.0.1:8080")
    return url.rstrip("/")


def issuer_url(value: str) -> str:
    """An identity provider's issuer as it is written, final slash included: https, or http on this machine."""
    url = value.strip()
    parts = urlsplit(url) if is_web_url(url) else None
    if parts is None or parts.query or parts.fragment or parts.username is not None:
        raise typer.BadParameter(f"{value!r} is not an issuer: write https://accounts.example/")
    if parts.scheme == "http" and not is_loopback(url):
        raise typer.BadParameter(f"{value!r}: an issuer that is not of this machine must be https")
    return url


def icon(value: str) -> str:
    """An icon as the service takes it: an http(s) or data: URL as it is, an image file as a data: URL."""
    if value.startswith(("http://", "https://")):
        return value
    text = value
    if not value.startswith("data:"):
        try:
            raw = Path(value).read_bytes()
        except OSError as error:
            raise typer.BadParameter(f"{value}: {error.strerror}; give a URL or an image file") from None
        media_type = next((name for start, name in _IMAGES if start.match(raw)), None)
        if media_type is None:
            raise typer.BadParameter(f"{value} is not an image: PNG, JPEG, GIF, WebP, ICO or SVG")
        text = f"data:{media_type};base64,{base64.b64encode(raw).decode()}"
    if len(text) > MAX_ICON_BYTES:
        raise typer.BadParameter(
            f"the icon is too large: {len(text)} bytes as a data: URL, at most {MAX_ICON_BYTES} (about 12 KB of image)"
        )
    return text


def text_from(value: str) -> str:
    """`-` = all of standard input (UTF-8); anything else is the text itself. Never guesses."""
    if value != "-":
        return value
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise typer.BadParameter("standard input is not UTF-8 text") from None


def first_line_of(path: str) -> str:
    """The first line of a file (`-` = standard input) that holds one secret or address."""
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text()
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise typer.BadParameter(f"{path} is not UTF-8 text") from None
    lines = text.split("\n", 1)
    if not lines[0].strip():
        raise typer.BadParameter(f"{path} has no first line")
    return lines[0].strip()


def role(value: str) -> "RoleName":
    """A role by its name; `all` is none."""
    from pushctl.config.model import ROLE_NAMES

    for known in ROLE_NAMES:
        if value == known:
            return known
    raise typer.BadParameter(f"{value!r} is not a role: {', '.join(ROLE_NAMES)}")


def whoami() -> str:
    """user@host, as well as this system knows: for other people to read, not to be believed."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        user = str(os.getuid())
    return f"{user}@{platform.node() or 'unknown'}"


def seconds_text(seconds: float) -> str:
    """A duration as one types it: `500ms`, `5s`, `90s`."""
    return f"{seconds:g}s" if seconds >= 1 or not seconds else f"{seconds * 1000:g}ms"


def age(seconds: float) -> str:
    """How long ago, in at most four characters: `now`, `12s`, `5m`, `3h`, `2d`."""
    if seconds < 1:
        return "now"
    for limit, unit, name in ((60, 1, "s"), (3600, 60, "m"), (86_400, 3600, "h")):
        if seconds < limit:
            return f"{int(seconds // unit)}{name}"
    return f"{min(int(seconds // 86_400), 999)}d"
