"""Who the client is, behind proxies that were named as trusted."""

import pytest

from pushctl.errors import ConfigError
from pushctl.http.addresses import TrustedProxies, plain_host

PROXY = ("10.0.0.1", 4711)
PROXIES = TrustedProxies(["10.0.0.0/8", "2001:db8:1::/48"])


def client(*headers: tuple[str, str]) -> tuple[tuple[str, int], str]:
    return PROXIES.client_of(PROXY, "http", [(name.encode(), value.encode()) for name, value in headers])


def test_one_host_has_one_spelling() -> None:
    assert plain_host("::ffff:192.0.2.1") == "192.0.2.1"
    assert plain_host("fe80::1%eth0") == "fe80::1"
    assert plain_host("192.0.2.1") == "192.0.2.1"


def test_networks_that_are_none_are_all_named() -> None:
    with pytest.raises(ConfigError) as error:
        TrustedProxies(["10.0.0.0/8", "10.0.0.0/33", "proxy.example"])
    assert len(error.value.mistakes) == 2


def test_a_proxy_is_known_by_its_network_in_either_family() -> None:
    assert PROXIES.trusts("10.255.0.1")
    assert PROXIES.trusts("::ffff:10.0.0.1")
    assert PROXIES.trusts("2001:db8:1::5")
    assert not PROXIES.trusts("192.0.2.1")
    assert not PROXIES.trusts("nonsense")
    assert not TrustedProxies([]).trusts("10.0.0.1")


def test_without_headers_the_client_is_the_proxy() -> None:
    assert client() == (PROXY, "http")
    assert client(("x-forwarded-proto", "https")) == (PROXY, "http")


@pytest.mark.parametrize(
    ("forwarded_for", "expected"),
    [
        ("192.0.2.7", ("192.0.2.7", 0)),
        ("192.0.2.7:5000", ("192.0.2.7", 5000)),
        ("2001:db8::7", ("2001:db8::7", 0)),
        ("[2001:db8::7]:5000", ("2001:db8::7", 5000)),
        ("::ffff:192.0.2.7", ("192.0.2.7", 0)),
        ("6.6.6.6, 192.0.2.7", ("192.0.2.7", 0)),
        ("6.6.6.6, 192.0.2.7, 10.1.1.1", ("192.0.2.7", 0)),
        ("6.6.6.6,192.0.2.7,2001:db8:1::9 , 10.1.1.1", ("192.0.2.7", 0)),
        ("10.3.3.3, 10.2.2.2", ("10.3.3.3", 0)),
        ("6.6.6.6, unknown, 10.1.1.1", ("10.1.1.1", 0)),
        ("6.6.6.6, ", PROXY),
        ("6.6.6.6, <script>", PROXY),
        ("6.6.6.6, 1.2.3", PROXY),
    ],
)
def test_x_forwarded_for_is_read_from_the_right_past_trusted_proxies(
    forwarded_for: str, expected: tuple[str, int]
) -> None:
    assert client(("x-forwarded-for", forwarded_for))[0] == expected


def test_several_header_lines_are_one_list() -> None:
    assert client(("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.7"))[0] == ("192.0.2.7", 0)
    assert client(("forwarded", "for=6.6.6.6"), ("forwarded", "for=192.0.2.7"))[0] == ("192.0.2.7", 0)


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ("for=192.0.2.7", (("192.0.2.7", 0), "http")),
        ("For=192.0.2.7;Proto=HTTPS;by=203.0.113.43", (("192.0.2.7", 0), "https")),
        ('for="192.0.2.7:5000"', (("192.0.2.7", 5000), "http")),
        ('for="[2001:db8::7]:5000";proto=https', (("2001:db8::7", 5000), "https")),
        ("for=6.6.6.6;proto=http, for=192.0.2.7;proto=https", (("192.0.2.7", 0), "https")),
        ("for=192.0.2.7;proto=https , for=10.1.1.1;proto=http", (("192.0.2.7", 0), "https")),
        ("for=192.0.2.7, for=10.1.1.1;proto=https", (("192.0.2.7", 0), "https")),
        ("for=6.6.6.6, for=unknown", (PROXY, "http")),
        ("for=6.6.6.6, for=_hidden;proto=https", (PROXY, "http")),
        ("for=6.6.6.6, proto=https", (PROXY, "http")),
        ("for=192.0.2.7;proto=gopher", (("192.0.2.7", 0), "http")),
        # Quotes that the client opened do not swallow, and do not move, what the proxy wrote.
        ('for=6.6.6.6;x=", for=192.0.2.7', (("192.0.2.7", 0), "http")),
        ('for=6.6.6.6;x="\\, for=192.0.2.7', (("192.0.2.7", 0), "http")),
        ('for=6.6.6.6;x=", for="[2001:db8::7]:5000"', (PROXY, "http")),
        ("for=6.6.6.6, two words, for=10.1.1.1", (("10.1.1.1", 0), "http")),
        ("for=6.6.6.6 for=6.6.6.6, for=192.0.2.7", (("192.0.2.7", 0), "http")),
    ],
)
def test_forwarded_is_read_from_the_right_past_trusted_proxies(
    forwarded: str, expected: tuple[tuple[str, int], str]
) -> None:
    assert client(("forwarded", forwarded)) == expected


def test_where_both_kinds_of_headers_disagree_neither_is_believed() -> None:
    assert client(("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "192.0.2.7")) == (PROXY, "http")
    assert client(("forwarded", "for=192.0.2.7;proto=https"), ("x-forwarded-for", "6.6.6.6, 192.0.2.7")) == (
        ("192.0.2.7", 0),
        "https",
    )


def test_the_scheme_is_what_the_nearest_proxy_says() -> None:
    forwarded_for = ("x-forwarded-for", "192.0.2.7")
    assert client(forwarded_for, ("x-forwarded-proto", "https"))[1] == "https"
    assert client(forwarded_for, ("x-forwarded-proto", "https, http"))[1] == "http"
    assert client(forwarded_for, ("x-forwarded-proto", "javascript"))[1] == "http"
