"""Whatever bytes arrive, the HTTP parser yields requests or raises Problem; and what it yields, httptools reads too."""

from collections.abc import Sequence
from dataclasses import replace

import httptools
from hypothesis import given, settings
from hypothesis import strategies as st

from pushctl.config.model import Http
from pushctl.errors import Problem
from pushctl.http.addresses import TrustedProxies
from pushctl.http.parser import RequestParser

LIMITS = replace(Http(), max_header_bytes=1024, max_target_bytes=256, max_body_bytes=1024, max_headers=8)

Read = tuple[str, bytes, bytes]
"""(method, target's path, body)"""

FRAGMENTS = [
    b"GET / HTTP/1.1\r\n",
    b"POST /a HTTP/1.1\r\n",
    b"POST /b HTTP/1.0\r\n",
    b"OPTIONS * HTTP/1.1\r\n",
    b"GET http://h/x?y HTTP/1.1\r\n",
    b"Host: h\r\n",
    b"host:h:80 \r\n",
    b"Content-Length: 5\r\n",
    b"content-length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Connection: close\r\n",
    b"Connection: upgrade\r\nUpgrade: h2c\r\n",
    b"Expect: 100-continue\r\n",
    b"X: y\r\n",
    b" folded\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"hello",
    b"5\r\nhello\r\n",
    b"5;a=b\r\nhello\r\n",
    b"0\r\n\r\n",
    b"0\r\nX: y\r\n\r\n",
    b"ffffffffff\r\n",
    b"a" * 300,
]

streams = st.one_of(
    st.binary(max_size=400),
    st.lists(st.sampled_from(FRAGMENTS), max_size=14).map(b"".join),
    st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=3)), max_size=14).map(b"".join),
)


def cut(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*(piece for piece in pieces if piece), data]


def read(pieces: Sequence[bytes]) -> tuple[list[Read], str | None]:
    """(whole requests, the problem's code and detail that ended it)."""
    parser = RequestParser(LIMITS)
    done: list[Read] = []
    request, body = None, b""
    try:
        for piece in pieces:
            parser.feed(piece)
            while True:
                if request is None:
                    request, body = parser.next_request(), b""
                    if request is None:
                        break
                while data := parser.read_body():
                    body += data
                if not parser.body_done:
                    break
                done.append((request.method, request.raw_path, body))
                request = None
    except Problem as problem:
        return done, f"{problem.code}: {problem.detail}"
    return done, None


@settings(max_examples=400, deadline=None)
@given(streams, st.lists(st.integers(1, 40), max_size=10))
def test_any_bytes_are_requests_or_a_problem_however_they_are_cut(data: bytes, sizes: list[int]) -> None:
    whole, problem = read([data])
    pieces, cut_problem = read(cut(data, sizes))
    assert pieces == whole
    # Only which limit or line is named first may depend on how much was there when it was noticed.
    assert (problem is None) == (cut_problem is None)


class _Second:
    """What httptools makes of the same bytes."""

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.done: list[Read] = []
        self.target = self.body = b""

    def on_message_begin(self) -> None:
        self.target = self.body = b""

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.done.append((self.parser.get_method().decode(), self.target, self.body))


heads = st.tuples(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "OPTIONS"]),
    st.text("abc/%20-._~", max_size=20).map(lambda text: "/" + text.replace("%", "")),
    st.lists(st.tuples(st.text("xyzXYZ-", min_size=1, max_size=8), st.text(" !azAZ09é\t", max_size=12)), max_size=6),
)
bodies = st.one_of(
    st.just((b"", b"")),
    st.binary(max_size=60).map(lambda body: (b"Content-Length: %d\r\n" % len(body) + b"\r\n" + body, body)),
    st.lists(st.binary(min_size=1, max_size=20), max_size=5).map(
        lambda pieces: (
            b"Transfer-Encoding: chunked\r\n\r\n"
            + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
            + b"0\r\n\r\n",
            b"".join(pieces),
        )
    ),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(heads, bodies), min_size=1, max_size=4), st.lists(st.integers(1, 60), max_size=8))
def test_good_requests_are_read_exactly_and_httptools_reads_the_same(
    requests: list[tuple[tuple[str, str, list[tuple[str, str]]], tuple[bytes, bytes]]], sizes: list[int]
) -> None:
    stream, expected = b"", []
    for (method, target, headers), (framed, body) in requests:
        lines = "".join(f"{name}:{value}\r\n" for name, value in headers)
        stream += f"{method} {target} HTTP/1.1\r\nHost: h\r\n{lines}".encode("latin-1") + (framed or b"\r\n")
        expected.append((method, target.encode(), body))
    assert read(cut(stream, sizes)) == (expected, None)
    second = _Second()
    second.parser.feed_data(stream)
    assert second.done == expected


header_text = st.one_of(
    st.binary(max_size=60),
    st.lists(
        st.sampled_from(
            [b"1.2.3.4", b"10.0.0.1", b"for=", b'for="[::1]:5"', b"proto=https", b";", b",", b'"', b"\\", b" ", b"_x"]
        ),
        max_size=12,
    ).map(b"".join),
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([b"forwarded", b"x-forwarded-for", b"x-forwarded-proto"]), header_text), max_size=4
    )
)
def test_whatever_forwarding_headers_say_the_client_is_an_address_and_the_scheme_http_or_https(
    headers: list[tuple[bytes, bytes]],
) -> None:
    (host, port), scheme = TrustedProxies(["10.0.0.0/8"]).client_of(("10.0.0.9", 1), "http", headers)
    assert host.isascii()
    assert port >= 0
    assert scheme in ("http", "https")
