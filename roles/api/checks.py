"""What a client may say about sites, icons, keys and devices.

Owns: the one spelling of a site (an origin, RFC 6454) and the rules of icons, VAPID keys and device names.
Promises: a checked value is stable: checking it again gives the same. Whatever text comes, it is a value or
BodyInvalid with the field it was given.
Must not know: who asks, where it is stored.
"""

import base64
import binascii
import ipaddress
import re
from typing import Final

import idna

from pushctl.errors import BodyInvalid
from pushctl.webpush import public_key

MAX_SITE_CHARACTERS: Final = 512
MAX_ICON_URL_CHARACTERS: Final = 2048
MAX_ICON_DATA_CHARACTERS: Final = 16 * 1024
MAX_DEVICE_NAME_CHARACTERS: Final = 64
MAX_CREDENTIAL_CHARACTERS: Final = 20_000
"""In a body. Longer ones than the verifiers take, so that those say what is wrong."""

_ORIGIN = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[^\]]*\]|[^:/?#@\[\]\\]*)(?P<port>:[0-9]*)?(?P<rest>.*)",
    re.DOTALL | re.IGNORECASE | re.ASCII,
)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_ICON_URL = re.compile(r"https?://[^/?#@\\]+([/?#].*)?", re.IGNORECASE | re.ASCII)
_ICON_DATA = re.compile(
    r"data:image/[a-z0-9.+-]+(;[a-z0-9-]+=[a-z0-9.+-]+)*(?P<base64>;base64)?,(?P<data>[!-~]*)", re.IGNORECASE | re.ASCII
)


def site(text: str, field: str = "$.site") -> str:
    """The origin `text` names, as RFC 6454, section 6.2 serialises it: lower case, A-labels, no default port."""
    match = _ORIGIN.fullmatch(text) if len(text) <= MAX_SITE_CHARACTERS else None
    if match is None:
        raise BodyInvalid("a site is an origin such as https://news.example", field=field)
    if match["rest"]:
        raise BodyInvalid(
            "a site is an origin only: scheme, host and port, without user, path, query or closing slash", field=field
        )
    scheme = match["scheme"].lower()
    host = _host(match["host"], field)
    port = _port(match["port"], field)
    shown = "" if port in (None, _DEFAULT_PORTS[scheme]) else f":{port}"
    return f"{scheme}://{host}{shown}"


def _host(text: str, field: str) -> str:
    if text.startswith("["):
        return _ipv6(text[1:-1], field)
    try:
        host = text.lower() if text.isascii() else idna.encode(text, uts46=True, std3_rules=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        raise BodyInvalid("the host is no valid international domain name", field=field) from None
    labels = host.split(".")
    if len(host) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise BodyInvalid("the host is no domain name", field=field)
    # A browser reads any host that ends in a number as an IPv4 address, in several spellings; we take the one.
    if _NUMBER.fullmatch(labels[-1]):
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise BodyInvalid("the host is no IPv4 address of four decimal numbers", field=field) from None
    return host


def _ipv6(text: str, field: str) -> str:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        address = None
    if address is None or address.scope_id is not None:
        raise BodyInvalid("the host is no IPv6 address", field=field)
    return f"[{address.compressed}]"


def _port(text: str | None, field: str) -> int | None:
    if text is None:
        return None
    if not 2 <= len(text) <= 6 or not 1 <= int(text[1:]) <= 65535:
        raise BodyInvalid("a port is a number from 1 to 65535", field=field)
    return int(text[1:])


def icon(text: str | None, field: str = "$.icon") -> str | None:
    """An http(s) URL, or a small `data:image/...` URL (RFC 2397); None stays None."""
    if text is None:
        return None
    if text[:5].lower() == "data:":
        _icon_data(text, field)
    elif not _ICON_URL.fullmatch(text) or _UNPRINTABLE.search(text):
        raise BodyInvalid("an icon is an http(s) URL or a data:image/... URL", field=field)
    elif len(text) > MAX_ICON_URL_CHARACTERS:
        raise BodyInvalid(f"an icon's URL has at most {MAX_ICON_URL_CHARACTERS} characters", field=field)
    return text


def _icon_data(text: str, field: str) -> None:
    if len(text) > MAX_ICON_DATA_CHARACTERS:
        raise BodyInvalid(f"an icon's data URL has at most {MAX_ICON_DATA_CHARACTERS} characters", field=field)
    match = _ICON_DATA.fullmatch(text)
    if match is None:
        raise BodyInvalid("an icon's data URL is of the form data:image/png;base64,...", field=field)
    if match["base64"]:
        try:
            base64.b64decode(match["data"], validate=True)
        except binascii.Error:
            raise BodyInvalid("the icon's data is not base64", field=field) from None


def vapid_key(text: str | None, field: str = "$.vapid_key") -> str | None:
    """An uncompressed point on P-256 (65 bytes) as base64url: the `k` of RFC 8292, section 3.2; None stays None."""
    if text is None:
        return None
    try:
        public_key.parse(text)
    except ValueError:
        raise BodyInvalid(
            "a VAPID key is an uncompressed P-256 public key (65 bytes) in base64url without padding", field=field
        ) from None
    return text


def device_name(text: str, field: str = "$.device.name") -> str:
    """What the user calls a device: 1 to 64 characters, nothing that moves a cursor."""
    if not 1 <= len(text) <= MAX_DEVICE_NAME_CHARACTERS or _CONTROL.search(text):
        raise BodyInvalid(
            f"a device's name has 1 to {MAX_DEVICE_NAME_CHARACTERS} characters and no control characters", field=field
        )
    return text
