"""How often one address may ask."""

import pytest

from pushctl.errors import ConfigError, RateLimited
from pushctl.http import address_rates
from pushctl.http.address_rates import AddressRates
from pushctl.http.addresses import Networks, neighbourhood
from pushctl.rates import Rate


def passes(rates: AddressRates, host: str, now: float = 0.0) -> bool:
    try:
        rates.admit(host, now)
    except RateLimited:
        return False
    return True


def test_an_address_that_asks_too_often_is_told_when_to_come_again() -> None:
    rates = AddressRates(Rate(0.5, 2), [])
    assert passes(rates, "192.0.2.1")
    assert passes(rates, "192.0.2.1")
    with pytest.raises(RateLimited) as refused:
        rates.admit("192.0.2.1", 0.3)
    assert refused.value.retry_after_seconds == 2
    assert passes(rates, "192.0.2.2", 0.3)
    assert passes(rates, "192.0.2.1", 2.3)


def test_of_ipv6_a_64_is_one_address_and_ipv4_is_itself_in_any_clothes() -> None:
    assert neighbourhood("2001:db8:1:2:3:4:5:6") == neighbourhood("2001:db8:1:2::") == "2001:db8:1:2::/64"
    assert neighbourhood("2001:db8:1:3::") != neighbourhood("2001:db8:1:2::")
    assert neighbourhood("fe80::1%eth0") == "fe80::/64"
    assert neighbourhood("::ffff:192.0.2.1") == neighbourhood("192.0.2.1") == "192.0.2.1"
    assert neighbourhood("") == ""


def test_exempt_networks_are_left_alone() -> None:
    rates = AddressRates(Rate(1, 1), ["127.0.0.0/8", "::1/128"])
    for host in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"):
        assert all(passes(rates, host) for _ in range(10)), host
    assert [passes(rates, "192.0.2.1") for _ in range(3)] == [True, False, False]


def test_without_a_rate_nobody_is_counted() -> None:
    rates = AddressRates(None, [])
    assert all(passes(rates, "192.0.2.1") for _ in range(10_000))
    assert len(rates) == 0


def test_only_so_many_addresses_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address_rates, "MAX_ADDRESSES", 100)
    rates = AddressRates(Rate(0.001, 1), [])
    for n in range(1000):
        assert passes(rates, f"10.0.{n // 256}.{n % 256}")
    assert len(rates) == 100


def test_a_network_that_is_none_is_a_mistake_under_its_key() -> None:
    with pytest.raises(ConfigError, match=r"limits\.exempt_networks: 'loopback' is no address"):
        AddressRates(None, ["loopback"])
    assert "192.0.2.1" not in Networks([], "x")
