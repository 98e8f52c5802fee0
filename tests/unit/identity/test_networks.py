"""Which addresses are of the open Internet."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushctl.identity.networks import is_public


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "93.184.215.14",
        "172.15.255.255",
        "172.32.0.1",
        "2606:4700::1111",
        "2a00:1450::1",
        "64:ff9b::101:101",
    ],
)
def test_ordinary_addresses_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        # this machine
        "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "::1", "::",
        # its networks
        "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "100.127.255.255", "fc00::1",
        "fdff::1", "fec0::1", "198.18.0.1", "198.19.255.255",
        # link-local, and with it the metadata of clouds; and where those hide elsewhere
        "169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%1", "fd00:ec2::254", "100.100.100.200", "192.0.0.192",
        "168.63.129.16",
        # IPv4 inside of IPv6
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:1.1.1.1", "::ffff:0:127.0.0.1", "::127.0.0.1",
        "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::a00:1", "64:ff9b:1::1", "2002:7f00:1::1",
        "2002:a9fe:a9fe::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        # many, nobody, documentation, not given out
        "224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1", "255.255.255.255", "240.0.0.1", "192.0.2.1",
        "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1", "100::1", "192.88.99.1", "4000::1", "5f00::1",
    ],
)  # fmt: skip
def test_everything_else_is_not(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@given(st.ip_addresses(v=4))
def test_an_address_inside_of_nat64_is_as_public_as_itself(address: ipaddress.IPv4Address) -> None:
    inside = ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) | int(address))
    assert is_public(inside) == is_public(address)


@given(st.ip_addresses(v=4))
def test_no_address_inside_of_another_wrapping_is_public(address: ipaddress.IPv4Address) -> None:
    for prefix, shift in (("::ffff:0:0", 0), ("::", 0), ("2002::", 80), ("64:ff9b:1::", 0)):
        assert not is_public(ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) | int(address) << shift))
