"""What people type, and what is made of it or said about it."""

from contextlib import suppress
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from pushctl.cli import values


@pytest.mark.parametrize(
    ("typed", "seconds"),
    [("500ms", 0.5), ("5s", 5), ("10m", 600), ("2h", 7200), ("3d", 259_200), (" 1.5h ", 5400), ("0s", 0)],
)
def test_durations(typed: str, seconds: float) -> None:
    assert values.duration(typed) == seconds


@pytest.mark.parametrize("typed", ["", "5", "s", "5 s", "-5s", "5S", "1h30m", "5sec", "٥s", "1e3s", "nan", "."])
def test_what_is_no_duration_is_told_how_to_write_one(typed: str) -> None:
    with pytest.raises(typer.BadParameter, match="500ms, 5s, 10m, 2h or 3d"):
        values.duration(typed)


def test_a_default_passes_through() -> None:
    assert values.duration(30.0) == 30.0
    assert values.whole_seconds(7) == 7


@pytest.mark.parametrize(("typed", "a_second"), [("100/s", 100), ("0.5/s", 0.5), ("600/m", 10), (" 36/h ", 0.01)])
def test_rates(typed: str, a_second: float) -> None:
    assert values.rate(typed) == pytest.approx(a_second)


@pytest.mark.parametrize("typed", ["", "100", "/s", "0/s", "-1/s", "100/d", "100/ms", "100 /s", "1e3/s"])
def test_what_is_no_rate_is_told_how_to_write_one(typed: str) -> None:
    with pytest.raises(typer.BadParameter, match="100/s, 600/m or 1000/h"):
        values.rate(typed)


@pytest.mark.parametrize(("typed", "part"), [("25%", 0.25), ("0.25", 0.25), ("0", 0), ("100%", 1), ("1", 1)])
def test_shares(typed: str, part: float) -> None:
    assert values.share(typed) == part


@pytest.mark.parametrize("typed", ["", "%", "101%", "1.5", "-1", "half", "nan"])
def test_what_is_no_share_is_told_how_to_write_one(typed: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"25% or 0\.25"):
        values.share(typed)


@pytest.mark.parametrize(("typed", "seconds"), [("0", 0), ("90", 90), ("1h", 3600), ("1.5m", 90)])
def test_a_time_to_live_may_be_a_bare_number(typed: str, seconds: int) -> None:
    assert values.whole_seconds(typed) == seconds


@pytest.mark.parametrize("typed", ["500ms", "-1", "1.5", "12345678901", "soon"])
def test_a_time_to_live_is_whole_seconds(typed: str) -> None:
    with pytest.raises(typer.BadParameter):
        values.whole_seconds(typed)


@pytest.mark.parametrize(
    ("typed", "origin"),
    [
        ("news.example", "https://news.example"),
        ("news.example:8443", "https://news.example:8443"),
        ("http://localhost:3000/", "http://localhost:3000"),
        ("https://news.example/", "https://news.example"),
        ("[::1]:80", "https://[::1]:80"),
    ],
)
def test_a_site_without_a_scheme_is_https(typed: str, origin: str) -> None:
    assert values.site(typed) == origin


@pytest.mark.parametrize("typed", ["", "/", "ftp://x.example", "https://", "a b", "https://x:99999", "https://[::1"])
def test_what_is_no_site(typed: str) -> None:
    with pytest.raises(typer.BadParameter, match="is not a site"):
        values.site(typed)


@pytest.mark.parametrize("typed", ["news.example/world", "https://news.example/?q", "https://u:p@news.example"])
def test_more_than_a_site_is_answered_with_the_site(typed: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"write https://news\.example$"):
        values.site(typed)


@given(st.text(max_size=30))
def test_whatever_is_typed_is_a_site_or_a_usage_error(typed: str) -> None:
    with suppress(typer.BadParameter):
        assert values.site(typed).startswith(("http://", "https://"))


def test_a_servers_url_loses_its_last_slash() -> None:
    assert values.server_url("http://127.0.0.1:8080/") == "http://127.0.0.1:8080"
    for typed in ("127.0.0.1:8080", "ws://x", "http://x/?q=1", ""):
        with pytest.raises(typer.BadParameter, match="write http"):
            values.server_url(typed)


@pytest.mark.parametrize(
    ("start", "media_type"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\n\0\0\0WEBPVP8 ", "image/webp"),
        (b"\0\0\1\0", "image/x-icon"),
        (b'<?xml version="1.0"?>\n<!-- made by hand -->\n<svg xmlns="http://www.w3.org/2000/svg">', "image/svg+xml"),
    ],
)
def test_an_image_file_becomes_a_data_url(start: bytes, media_type: str, tmp_path: Path) -> None:
    (tmp_path / "icon").write_bytes(start)
    assert values.icon(str(tmp_path / "icon")).startswith(f"data:{media_type};base64,")


def test_an_icon_that_is_a_url_stays_one() -> None:
    for url in ("https://news.example/i.png", "data:image/png;base64,AAAA"):
        assert values.icon(url) == url


def test_an_icon_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    (tmp_path / "large.gif").write_bytes(b"GIF89a" + b"x" * 12_300)
    for path, words in (("text", "is not an image"), ("large.gif", "at most 16384"), ("missing", "No such file")):
        with pytest.raises(typer.BadParameter, match=words):
            values.icon(str(tmp_path / path))


def test_half_characters_of_a_foreign_argument_are_a_usage_error() -> None:
    assert values.text("ü") == "ü"
    with pytest.raises(typer.BadParameter, match="UTF-8"):
        values.text(b"\xff".decode(errors="surrogateescape"))


@pytest.mark.parametrize("typed", ["", "a b", "ü", "a\r\nX-Evil: 1", "\x7f"])
def test_what_does_not_fit_into_a_header_is_refused(typed: str) -> None:
    with pytest.raises(typer.BadParameter, match="visible ASCII"):
        values.header_text(typed)


def test_the_first_line_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("  https://x/push/1  \nsecond\n")
    assert values.first_line_of(str(tmp_path / "url")) == "https://x/push/1"
    (tmp_path / "empty").write_text("\nx")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for path, words in (("empty", "no first line"), ("binary", "not UTF-8"), ("missing", "No such file")):
        with pytest.raises(typer.BadParameter, match=words):
            values.first_line_of(str(tmp_path / path))


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "now"),
        (0.5, "now"),
        (1, "1s"),
        (59.9, "59s"),
        (60, "1m"),
        (3599, "59m"),
        (3600, "1h"),
        (86_400, "1d"),
        (1e9, "999d"),
    ],
)
def test_ages(seconds: float, shown: str) -> None:
    assert values.age(seconds) == shown
