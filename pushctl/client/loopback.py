"""Which URLs lead to this machine alone.

Owns: that question, for the client. Must not know: what is asked there.
"""

import ipaddress
from urllib.parse import urlsplit


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine's loopback, by its address or by a name that is reserved for it."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
