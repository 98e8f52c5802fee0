"""Which addresses of other parties may be connected to.

Owns: what is public. A name that a stranger chose must lead to the open Internet, never to this machine, its network,
or the metadata service of the cloud it runs in.
Promises: an address is public only if it is plain unicast of the Internet; one that carries an IPv4 address inside is
as public as that one, and tunnels that lead to whatever they say are not.
Must not know: names, how an address was found.
"""

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""RFC 6052: how a network without IPv4 reaches it; a resolver writes the IPv4 address into the last 32 bits."""

_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All that IANA has given to the open Internet; what is outside is local, mapped, or nothing yet."""

_CLOSED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments (RFC 6890), and the metadata of a cloud among them
        "192.88.99.0/24",  # relays of 6to4, given up (RFC 7526)
        "168.63.129.16/32",  # what Azure tells its machines, at an address that looks public
        "2001::/23",  # Teredo and other protocol assignments, which lead elsewhere
        "2002::/16",  # 6to4: an IPv4 address inside, through somebody's relay
        "3fff::/20",  # documentation (RFC 9637), which older Pythons do not know
    )
)


def is_public(address: Address) -> bool:
    """Whether it is an ordinary address of the open Internet."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64 and address.scope_id is None:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
        if address.scope_id is not None or address not in _UNICAST:
            return False
    closed = any(address.version == network.version and address in network for network in _CLOSED)
    return address.is_global and not address.is_multicast and not closed
