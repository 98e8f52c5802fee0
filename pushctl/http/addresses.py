"""Who is asking: the client behind proxies we were told to trust.

Owns: the reading of Forwarded (RFC 7239) and X-Forwarded-For / -Proto; which addresses lie in a network.
Promises: headers count only if the peer itself is a trusted proxy, and are read from the right, past trusted proxies
only: what a client writes in them moves nothing. Whatever they hold, the answer is an address.
Must not know: sockets, requests.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from pushctl.errors import ConfigError

Address = tuple[str, int]
"""Host and port; port 0 where nobody said it."""

_V4_NODE = re.compile(r"(?P<host>[0-9.]+)(?::(?P<port>[0-9]{1,5}))?")
_V6_NODE = re.compile(r"\[(?P<host>[0-9A-Fa-f:.]+)\](?::(?P<port>[0-9]{1,5}))?")
_PAIR = re.compile(r'[ \t]*([!#$%&\'*+\-.^_`|~0-9A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s",;]*))[ \t]*')


@dataclass(frozen=True, slots=True)
class _Hop:
    """What one proxy says of whoever it got the request from."""

    client: Address
    scheme: str | None


class Networks:
    """Some networks, under the name of the key that lists them."""

    def __init__(self, networks: Sequence[str], key: str) -> None:
        """Addresses or networks in CIDR notation. Raises ConfigError that names every one that is neither."""
        self._networks = []
        mistakes = []
        for network in networks:
            try:
                self._networks.append(ipaddress.ip_network(network, strict=False))
            except ValueError:
                mistakes.append(f"{key}: {network!r} is no address or network such as 10.0.0.0/8")
        if mistakes:
            raise ConfigError(mistakes)

    def __contains__(self, host: str) -> bool:
        if not self._networks:
            return False
        address = _ip(host)
        return address is not None and any(address in network for network in self._networks)


class TrustedProxies:
    """The networks whose Forwarded and X-Forwarded-* are believed."""

    def __init__(self, networks: Sequence[str]) -> None:
        """As Networks."""
        self._networks = Networks(networks, "trusted_proxies")

    def trusts(self, host: str) -> bool:
        """Is this a proxy of ours?"""
        return host in self._networks

    def client_of(self, peer: Address, scheme: str, headers: Iterable[tuple[bytes, bytes]]) -> tuple[Address, str]:
        """(client, scheme) of a request that `peer`, a trusted proxy, brought with `scheme`.

        Where both kinds of headers are there and name different clients, at least one was not written by our proxy and
        nobody can say which: then neither counts, and the client is the proxy itself.
        """
        found: dict[bytes, list[str]] = {b"forwarded": [], b"x-forwarded-for": [], b"x-forwarded-proto": []}
        for name, value in headers:
            if name in found:
                found[name].append(value.decode("latin-1"))
        # A quoted string cannot reach over the end of a line: each line is read for itself.
        forwarded = [hop for line in found[b"forwarded"] for hop in _elements(line)]
        x_forwarded = _x_elements(",".join(found[b"x-forwarded-for"]), ",".join(found[b"x-forwarded-proto"]))
        answers = [self._walk(peer, scheme, hops) for hops in (forwarded, x_forwarded) if hops]
        if not answers or any(client != answers[0][0] for client, _ in answers):
            return peer, scheme
        return answers[0]

    def _walk(self, peer: Address, scheme: str, hops: "list[_Hop | None]") -> tuple[Address, str]:
        client = peer
        for hop in reversed(hops):
            if hop is None:  # hidden, unknown or nonsense: what is left of it cannot be trusted either
                break
            client, scheme = hop.client, hop.scheme or scheme
            if not self.trusts(client[0]):
                break
        return client, scheme


def _ip(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # A listener on [::] sees IPv4 peers as ::ffff:a.b.c.d; they are the same hosts.
    return getattr(address, "ipv4_mapped", None) or address


def plain_host(host: str) -> str:
    """One spelling for one host: no zone, no IPv4 address in IPv6 clothes."""
    return host if ":" not in host else str(_ip(host) or host)


def neighbourhood(host: str) -> str:
    """What limits by address count as one: an IPv4 address; of IPv6 the /64, all of which one subscriber has."""
    address = _ip(host)
    if isinstance(address, IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address or host)


def _node(text: str) -> Address | None:
    """A node of RFC 7239, section 6, or an element of X-Forwarded-For."""
    match = _V4_NODE.fullmatch(text) or _V6_NODE.fullmatch(text)
    host, port = (match["host"], match["port"]) if match else (text, None)
    address = _ip(host)
    return None if address is None else (str(address), int(port or 0))


def _scheme(text: str) -> str | None:
    lowered = text.strip().lower()
    return lowered if lowered in ("http", "https") else None


def _elements(forwarded: str) -> list[_Hop | None]:
    """The hops of a Forwarded value, left to right. From the right only what is well-formed up to there is read."""
    hops: list[_Hop | None] = []
    at, pairs = 0, dict[str, str]()
    while True:
        match = _PAIR.match(forwarded, at)
        if match is not None:
            quoted = match[2]
            pairs[match[1].lower()] = match[3] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            at = match.end()
        if at < len(forwarded) and forwarded[at] not in ",;":
            # A quote that does not close would swallow the elements of honest proxies behind it: start behind the
            # next comma, and let nothing to the left of it count.
            comma = forwarded.find(",", at)
            hops, pairs = [None], {}
            if comma < 0:
                return hops
            at = comma + 1
            continue
        if at >= len(forwarded) or forwarded[at] == ",":
            node = _node(pairs.get("for", ""))
            hops.append(_Hop(node, _scheme(pairs.get("proto", ""))) if node is not None else None)
            pairs = {}
        if at >= len(forwarded):
            return hops
        at += 1


def _x_elements(forwarded_for: str, forwarded_proto: str) -> list[_Hop | None]:
    """The hops of X-Forwarded-For. The scheme is the one that the nearest proxy names, for all of them."""
    if not forwarded_for.strip():
        return []
    scheme = _scheme(forwarded_proto.rpartition(",")[2])
    nodes = [_node(element.strip()) for element in forwarded_for.split(",")]
    return [None if node is None else _Hop(node, scheme) for node in nodes]
