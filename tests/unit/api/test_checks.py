"""Sites, icons, VAPID keys and device names: what is taken, in which spelling, and what is refused."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from pushctl.errors import BodyInvalid
from pushctl.ids import b64url
from roles.api import checks


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://news.example", "https://news.example"),
        ("HTTPS://News.EXAMPLE", "https://news.example"),
        ("https://news.example:443", "https://news.example"),
        ("http://news.example:80", "http://news.example"),
        ("http://news.example:443", "http://news.example:443"),
        ("https://news.example:08443", "https://news.example:8443"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("https://BÜCHER.example", "https://xn--bcher-kva.example"),
        ("https://straße.example", "https://xn--strae-oqa.example"),
        ("https://bücher。example", "https://xn--bcher-kva.example"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("http://[::1]:80", "http://[::1]"),
        ("https://[2001:DB8:0:0::1]:8443", "https://[2001:db8::1]:8443"),
        ("https://my_host.example", "https://my_host.example"),
    ],
)
def test_a_site_is_an_origin_in_one_spelling(text: str, origin: str) -> None:
    assert checks.site(text) == origin


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "news.example",
        "//news.example",
        "ftp://news.example",
        "httpſ://news.example",
        "https:news.example",
        "https://",
        "https://news.example/",
        "https://news.example/path",
        "https://news.example?q",
        "https://news.example#f",
        "https://me@news.example",
        "https://me:pw@news.example",
        "https://news.example\\x",
        " https://news.example",
        "https://news.example\n",
        "https://new s.example",
        "https://news.example:",
        "https://news.example:0",
        "https://news.example:65536",
        "https://news.example:٣",
        "https://news.example:x",
        "https://.example",
        "https://news..example",
        "https://news.example.",
        "https://-news.example",
        "https://" + "x" * 64 + ".example",
        "https://" + "x." * 200 + "example",
        "https://*.example",
        "https://127.1",
        "https://0x7f.0.0.1",
        "https://127.0.0.01",
        "https://256.0.0.1",
        "https://1.2.3.4.5",
        "https://[::1",
        "https://[::1]x",
        "https://[fe80::1%25eth0]",
        "https://[v1.x]",
        "https://" + "ü" * 600,
        "https://\u2fff.example",
        "https://xn--\u00fc.example",
        "https://\x00",
    ],
)
def test_what_is_no_origin_is_refused_with_its_field(text: str) -> None:
    with pytest.raises(BodyInvalid) as caught:
        checks.site(text)
    assert caught.value.field == "$.site"


hosts = st.text("aZ0-_.:[]@/üßＡ。\u200d٣%\\ ", max_size=12)


@given(
    st.builds("{}://{}{}".format, st.sampled_from(["http", "HTTPS", "ws"]), hosts, st.sampled_from(["", ":80", ":x"]))
)
def test_any_text_is_a_stable_site_or_refused(text: str) -> None:
    try:
        origin = checks.site(text)
    except BodyInvalid:
        return
    assert checks.site(origin) == origin
    assert origin.isascii()


@pytest.mark.parametrize(
    "text",
    [
        None,
        "https://news.example/icon.png",
        "http://news.example",
        "https://news.example/" + "x" * 2027,
        "https://news.example/ü.png?a#b",
        "data:image/png;base64," + base64.b64encode(b"x" * 100).decode(),
        "data:image/svg+xml;charset=utf-8,%3Csvg/%3E",
        "data:image/gif,",
        "data:image/png;base64," + "A" * (16 * 1024 - 24) + "==",
    ],
)
def test_icons_are_urls_or_small_images(text: str | None) -> None:
    assert checks.icon(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "icon.png",
        "/icon.png",
        "//news.example/icon.png",
        "ftp://news.example/icon.png",
        "javascript:alert(1)",
        "https://",
        "https:///icon.png",
        "https://news.example/a b.png",
        "https://news.example/\n",
        "https://news.example/" + "x" * 2028,
        "data:,x",
        "data:text/html,x",
        "data:image/png;base64,*",
        "data:image/png;base64,AAA",
        "data:image/png;base64",
        "data:image/png,ü",
        "data:image/png,a b",
        "data:image/png;base64," + "A" * 16 * 1024,
    ],
)
def test_other_icons_are_refused_with_their_field(text: str) -> None:
    with pytest.raises(BodyInvalid) as caught:
        checks.icon(text)
    assert caught.value.field == "$.icon"


def test_a_vapid_key_is_an_uncompressed_p256_point() -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert checks.vapid_key(b64url(point)) == b64url(point)
    assert checks.vapid_key(None) is None
    compressed = key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    elsewhere = bytes([4]) + b"\x01" * 64
    for wrong in (b64url(compressed), b64url(elsewhere), b64url(point) + "=", b64url(point[:-1]), "", "ü", "*"):
        with pytest.raises(BodyInvalid) as caught:
            checks.vapid_key(wrong)
        assert caught.value.field == "$.vapid_key"


def test_device_names_are_short_and_printable() -> None:
    for good in ("laptop", "Jörgs 📱", "x" * 64):
        assert checks.device_name(good) == good
    for wrong in ("", "x" * 65, "a\nb", "a\x1b[2J", "a\x85b", "\u2028"):
        with pytest.raises(BodyInvalid) as caught:
            checks.device_name(wrong)
        assert caught.value.field == "$.device.name"
