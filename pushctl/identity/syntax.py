"""The spelling of e-mail addresses, bare domains and origins, exactly as a login may use them.

Promises: no folding and no normalising of what becomes an identity; a text that is not spelled right has no value.
Must not know: who may speak for a domain, or which origins are ours.
"""

import re

import msgspec

MAX_EMAIL = 254

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})+", re.ASCII)
_LOCAL_PART = re.compile(r"[A-Za-z0-9_!#$%&'*+/=?^`{|}~.-]+", re.ASCII)
_ORIGIN = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>0|[1-9][0-9]{0,4}))?/?",
    re.ASCII | re.IGNORECASE,
)
_DEFAULT_PORTS = {"http": 80, "https": 443}


def is_domain(text: str) -> bool:
    """Whether it is a bare lower-case domain name: two labels or more, the last one not a number (an IP address)."""
    # fullmatch, never match with `$`: that lets a newline through at the end.
    well_spelled = len(text) <= MAX_EMAIL and _DOMAIN.fullmatch(text) is not None
    return well_spelled and not text.rpartition(".")[2].isdigit()


def email_domain(email: str) -> str | None:
    """The domain of an e-mail address; None if it is not one that can be an identity here."""
    local, _, domain = email.partition("@")
    if len(email) > MAX_EMAIL or _LOCAL_PART.fullmatch(local) is None or not is_domain(domain):
        return None
    return domain


class Origin(msgspec.Struct, frozen=True):
    """Scheme, lower-case host and port (never None: the scheme's own by default)."""

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Origin":
        """From `scheme://host[:port][/]`; ValueError for anything else (a path, a query, userinfo, a backslash)."""
        match = _ORIGIN.fullmatch(text)
        if match is None:
            raise ValueError("not an origin")
        scheme = match["scheme"].lower()
        port = int(match["port"]) if match["port"] else _DEFAULT_PORTS[scheme]
        if port > 65535:
            raise ValueError("not an origin")
        return cls(scheme, match["host"].lower(), port)

    def __str__(self) -> str:
        """As RFC 6454, section 6.2 serialises it."""
        suffix = "" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{suffix}"
