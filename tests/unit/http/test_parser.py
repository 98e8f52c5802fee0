"""Hostile and broken requests over a real socket: the exact answer, and that nothing hidden behind them is read.

Every row is sent together with one more, well-formed request. A server that took the row's framing differently from
whoever stood in front of it would answer that one too: it must never reach the application.
"""

import sys
from types import FrameType

import pytest

from pushctl.config.model import Http
from pushctl.errors import BodyInvalid, MethodNotAllowed, Problem, UriTooLong
from pushctl.http.asgi import Receive, Scope, Send, respond
from pushctl.http.parser import Request, RequestParser
from tests.unit.http.harness import get, serving

HIDDEN = get("/hidden")

POST = b"POST /first HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
GOOD_CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"

REFUSED: dict[str, tuple[bytes, int, str, str | None]] = {
    # --- lengths
    "negative length": (POST + b"Content-Length: -1\r\n\r\nhello", 400, "body_invalid", "Content-Length"),
    "length with a plus": (POST + b"Content-Length: +5\r\n\r\nhello", 400, "body_invalid", "Content-Length"),
    "length as a list": (POST + b"Content-Length: 5, 5\r\n\r\nhello", 400, "body_invalid", "Content-Length"),
    "two numbers as length": (POST + b"Content-Length: 5 5\r\n\r\nhello", 400, "body_invalid", "Content-Length"),
    "hexadecimal length": (POST + b"Content-Length: 0x5\r\n\r\nhello", 400, "body_invalid", "Content-Length"),
    "length with underscore": (POST + b"Content-Length: 1_0\r\n\r\nhello", 400, "body_invalid", "Content-Length"),
    "words as length": (POST + b"Content-Length: five\r\n\r\nhello", 400, "body_invalid", "Content-Length"),
    "length of other digits": (POST + b"Content-Length: \xb2\r\n\r\nhello", 400, "body_invalid", "Content-Length"),
    "empty length": (POST + b"Content-Length:\r\n\r\nhello", 400, "body_invalid", "Content-Length"),
    "length above the limit": (POST + b"Content-Length: 65537\r\n\r\nhello", 413, "body_too_large", "Content-Length"),
    "length of 64 bits": (
        POST + b"Content-Length: 18446744073709551621\r\n\r\nhello",
        413,
        "body_too_large",
        "Content-Length",
    ),
    "length of a thousand digits": (
        POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nhello",
        413,
        "body_too_large",
        "Content-Length",
    ),
    "two equal lengths": (
        POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        400,
        "body_invalid",
        "Content-Length",
    ),
    "two different lengths": (
        POST + b"Content-Length: 5\r\nContent-Length: 0\r\n\r\nhello",
        400,
        "body_invalid",
        "Content-Length",
    ),
    "underscored length": (POST + b"Content_Length: 5\r\n\r\nhello", 400, "body_invalid", "content_length"),
    # --- transfer encodings
    "length and chunked": (
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + GOOD_CHUNKS,
        400,
        "body_invalid",
        "Transfer-Encoding",
    ),
    "chunked and length": (
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + GOOD_CHUNKS,
        400,
        "body_invalid",
        "Transfer-Encoding",
    ),
    "chunked twice": (
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + GOOD_CHUNKS,
        400,
        "body_invalid",
        "Transfer-Encoding",
    ),
    "identity, then chunked": (
        POST + b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n" + GOOD_CHUNKS,
        400,
        "body_invalid",
        "Transfer-Encoding",
    ),
    "chunked, then identity": (
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" + GOOD_CHUNKS,
        400,
        "body_invalid",
        "Transfer-Encoding",
    ),
    **{
        f"transfer encoding {value!r}": (
            POST + b"Transfer-Encoding: " + value + b"\r\n\r\n" + GOOD_CHUNKS,
            400,
            "body_invalid",
            "Transfer-Encoding",
        )
        for value in (
            b"identity",
            b"gzip",
            b"gzip, chunked",
            b"chunked, gzip",
            b"chunked, chunked",
            b",chunked",
            b"chunked,",
            b"xchunked",
            b"chunkedx",
            b"chunked;q=1",
            b'"chunked"',
            b"'chunked'",
            b"chunked identity",
            b"ch\xfcnked",
            b"",
        )
    },
    "transfer encoding behind a vertical tab": (
        POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + GOOD_CHUNKS,
        400,
        "body_invalid",
        "Transfer-Encoding",
    ),
    "underscored transfer encoding": (
        POST + b"Transfer_Encoding: chunked\r\n\r\n" + GOOD_CHUNKS,
        400,
        "body_invalid",
        "transfer_encoding",
    ),
    "chunked on HTTP/1.0": (
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + GOOD_CHUNKS,
        400,
        "body_invalid",
        "Transfer-Encoding",
    ),
    # --- lines
    "bare LF everywhere": (b"GET / HTTP/1.1\nHost: a\n\n", 400, "body_invalid", None),
    "bare LF after a header": (b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400, "body_invalid", "Host"),
    "bare LF at the end": (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400, "body_invalid", None),
    "bare CR in a value": (b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400, "body_invalid", "Host"),
    "CR before CR LF": (b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400, "body_invalid", "Host"),
    "bare LF before the request": (b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "body_invalid", None),
    "two empty lines before the request": (b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "body_invalid", None),
    "folded value": (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400, "body_invalid", "X"),
    "value folded with a tab": (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc\r\n\r\n", 400, "body_invalid", "X"),
    "folded first line": (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, "body_invalid", None),
    "folded transfer encoding": (
        POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + GOOD_CHUNKS,
        400,
        "body_invalid",
        "Transfer-Encoding",
    ),
    "space before the colon": (
        POST + b"Transfer-Encoding : chunked\r\n\r\n" + GOOD_CHUNKS,
        400,
        "body_invalid",
        "Transfer-Encoding",
    ),
    "tab before the colon": (POST + b"Content-Length\t: 5\r\n\r\nhello", 400, "body_invalid", "Content-Length"),
    "no colon": (b"GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n", 400, "body_invalid", None),
    "no name": (b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400, "body_invalid", None),
    "control character in a name": (b"GET / HTTP/1.1\r\nHost: a\r\nX\x01: b\r\n\r\n", 400, "body_invalid", None),
    "other letters in a name": (b"GET / HTTP/1.1\r\nHost: a\r\nX\xe9: b\r\n\r\n", 400, "body_invalid", None),
    **{
        f"character {character:#04x} in a value": (
            b"GET / HTTP/1.1\r\nHost: a\r\nX: b%cc\r\n\r\n" % character,
            400,
            "body_invalid",
            "X",
        )
        for character in (0x00, 0x01, 0x08, 0x0B, 0x0C, 0x1B, 0x1F, 0x7F)
    },
    # --- hosts
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400, "body_invalid", "Host"),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "body_invalid", "Host"),
    "two hosts on HTTP/1.0": (b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400, "body_invalid", "Host"),
    **{
        f"host {value!r}": (b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % value, 400, "body_invalid", "Host")
        for value in (b"", b"a b", b"a/b", b"a@b", b"a:b", b"a:1:2", b"[::1", b"\xe4", b"a?b", b"a:123456")
    },
    # --- request lines
    "two spaces after the method": (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "body_invalid", None),
    "tab after the method": (b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "body_invalid", None),
    "space after the version": (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400, "body_invalid", None),
    "space in the target": (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "body_invalid", None),
    "control character in the target": (b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "body_invalid", None),
    "raw UTF-8 in the target": ("GET /ü HTTP/1.1\r\nHost: a\r\n\r\n".encode(), 400, "body_invalid", None),
    "percent-encoded nonsense": (b"GET /%ff HTTP/1.1\r\nHost: a\r\n\r\n", 400, "body_invalid", None),
    "fragment in the target": (b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "body_invalid", None),
    "target without a slash": (b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "body_invalid", None),
    "asterisk for GET": (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, "body_invalid", None),
    "absolute target of another scheme": (b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "body_invalid", None),
    "absolute target without host": (b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "body_invalid", None),
    "absolute target with a user": (b"GET http://u@a/x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "body_invalid", None),
    "no target": (b"GET HTTP/1.1\r\nHost: a\r\n\r\n", 400, "body_invalid", None),
    "HTTP/0.9": (b"GET /\r\n", 400, "body_invalid", None),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 400, "body_invalid", None),
    "HTTP/2 by its name": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400, "body_invalid", None),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "body_invalid", None),
    "RTSP": (b"DESCRIBE rtsp://a/ RTSP/1.0\r\nHost: a\r\n\r\n", 400, "body_invalid", None),
    "TLS on the plain port": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "body_invalid", None),
    "unknown method": (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method_not_allowed", None),
    "method in lower case": (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method_not_allowed", None),
    "method that httptools knows": (b"PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method_not_allowed", None),
    "TRACE": (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method_not_allowed", None),
    "CONNECT": (b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method_not_allowed", None),
    "endless method": (b"A" * 5000, 400, "body_invalid", None),
    # --- sizes
    "target above the limit": (b"GET /" + b"a" * 4096 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "uri_too_long", None),
    "endless target": (b"GET /" + b"a" * 8192, 414, "uri_too_long", None),
    "one header above the limit": (
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 16_384 + b"\r\n\r\n",
        431,
        "headers_too_large",
        None,
    ),
    "endless header": (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 20_000, 431, "headers_too_large", None),
    "headers together above the limit": (
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 400 + b"\r\n",
        431,
        "headers_too_large",
        None,
    ),
    "101 headers": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 100 + b"\r\n", 431, "headers_too_large", None),
    "endless headers": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 101, 431, "headers_too_large", None),
    # --- what this layer does not do
    "WebSocket upgrade": (
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        400,
        "body_invalid",
        "Upgrade",
    ),
    "unknown expectation": (POST + b"Expect: 200-ok\r\nContent-Length: 5\r\n\r\nhello", 400, "body_invalid", "Expect"),
}

BAD_CHUNKS: dict[str, tuple[bytes, int, str]] = {
    "size with a plus": (b"+5\r\nhello\r\n0\r\n\r\n", 400, "body_invalid"),
    "negative size": (b"-5\r\nhello\r\n0\r\n\r\n", 400, "body_invalid"),
    "space before the size": (b" 5\r\nhello\r\n0\r\n\r\n", 400, "body_invalid"),
    "space after the size": (b"5 \r\nhello\r\n0\r\n\r\n", 400, "body_invalid"),
    "size with 0x": (b"0x5\r\nhello\r\n0\r\n\r\n", 400, "body_invalid"),
    "size with underscore": (b"1_0\r\nhello\r\n0\r\n\r\n", 400, "body_invalid"),
    "no size": (b"\r\nhello\r\n0\r\n\r\n", 400, "body_invalid"),
    "only an extension": (b";a\r\nhello\r\n0\r\n\r\n", 400, "body_invalid"),
    "size of 64 bits": (b"10000000000000005\r\nhello\r\n0\r\n\r\n", 400, "body_invalid"),
    "size of 32 bits": (b"ffffffff\r\nhello\r\n0\r\n\r\n", 413, "body_too_large"),
    "size above the limit": (b"10001\r\nhello\r\n0\r\n\r\n", 413, "body_too_large"),
    "sizes together above the limit": (
        b"8000\r\n" + b"a" * 0x8000 + b"\r\n8001\r\n" + b"a" * 0x8001 + b"\r\n0\r\n\r\n",
        413,
        "body_too_large",
    ),
    "size with many zeros": (b"0000000000000000005\r\nhello\r\n0\r\n\r\n", 400, "body_invalid"),
    "bare LF after the size": (b"5\nhello\r\n0\r\n\r\n", 400, "body_invalid"),
    "bare CR after the size": (b"5\rhello\r\n0\r\n\r\n", 400, "body_invalid"),
    "bare LF after the data": (b"5\r\nhello\n0\r\n\r\n", 400, "body_invalid"),
    "bare LF in an extension": (b"5;a\nhello\r\n0\r\n\r\n", 400, "body_invalid"),
    "control character in an extension": (b"5;a\x01\r\nhello\r\n0\r\n\r\n", 400, "body_invalid"),
    "line end within quotes": (b'5;a="\r\n"\r\nhello\r\n0\r\n\r\n', 400, "body_invalid"),
    "data longer than the size": (b"5\r\nhello world\r\n0\r\n\r\n", 400, "body_invalid"),
    "data shorter than the size": (b"5\r\nhell\r\n0\r\n\r\n", 400, "body_invalid"),
    "oversized extension": (b"5;" + b"a" * 300 + b"\r\nhello\r\n0\r\n\r\n", 400, "body_invalid"),
    "endless extension": (b"5;" + b"a" * 20_000, 400, "body_invalid"),
    "extensions on every chunk": ((b"1;" + b"a" * 200 + b"\r\nx\r\n") * 30 + b"0\r\n\r\n", 400, "body_invalid"),
    "oversized trailer": (b"5\r\nhello\r\n0\r\nX: " + b"a" * 5000 + b"\r\n\r\n", 431, "headers_too_large"),
    "endless trailers": (b"5\r\nhello\r\n0\r\n" + b"X: aaaaaaaaaaaaaa\r\n" * 400, 431, "headers_too_large"),
    "bare LF in a trailer": (b"5\r\nhello\r\n0\r\nX: y\n\r\n", 400, "body_invalid"),
    "folded trailer": (b"5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n", 400, "body_invalid"),
    "length as a trailer": (b"5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n", 400, "body_invalid"),
    "host as a trailer": (b"5\r\nhello\r\n0\r\nhOST: b\r\n\r\n", 400, "body_invalid"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_request_that_is_not_beyond_doubt_is_refused_and_nothing_behind_it_is_read(name: str) -> None:
    request, status, code, field = REFUSED[name]
    async with serving() as running, running.peer() as peer:
        await peer.send(request + HIDDEN)
        answer = await peer.answer()
        assert (answer.status, answer.problem["code"], answer.problem["field"]) == (status, code, field)
        assert answer.headers["connection"] == "close"
        assert status != 405 or answer.headers["allow"] == "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
        await peer.nothing_more()
        assert running.seen == []


@pytest.mark.parametrize("name", BAD_CHUNKS)
async def test_a_chunked_body_that_is_not_beyond_doubt_is_refused_and_nothing_behind_it_is_read(name: str) -> None:
    chunks, status, code = BAD_CHUNKS[name]
    async with serving() as running, running.peer() as peer:
        await peer.send(CHUNKED + chunks + HIDDEN)
        answer = await peer.answer()
        assert (answer.status, answer.problem["code"], answer.problem["field"]) == (status, code, None)
        assert answer.headers["connection"] == "close"
        await peer.nothing_more()
        assert running.seen == []


@pytest.mark.parametrize(
    "start",
    [
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\n",
        b"GET /\r\n",
        b"\x16\x03\x01\x02",
        b"\n",
        b"SSH-2.0-x\r\n",
    ],
)
async def test_what_cannot_become_a_request_is_refused_at_once(start: bytes) -> None:
    async with serving(header_seconds=1000) as running, running.peer() as peer:
        await peer.send(start)
        assert (await peer.answer()).status == 400
        await peer.nothing_more()


def test_empty_lines_that_drip_in_are_forgiven_once() -> None:
    parser = RequestParser(Http())
    for octet in b"\r\n":
        parser.feed(bytes([octet]))
        assert parser.next_request() is None
    parser.feed(b"\r\n")
    with pytest.raises(BodyInvalid):
        parser.next_request()


async def test_a_body_is_never_read_as_a_request() -> None:
    async with serving() as running, running.peer() as peer:
        length = b"POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN)
        await peer.send(length + HIDDEN)
        assert (await peer.answer()).body == b"/first"
        await peer.send(CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN))
        assert (await peer.answer()).body == b"/first"
        # An upgrade that is not taken up changes nothing, though httptools would skip such a body.
        await peer.send(length.replace(b"\r\n\r\n", b"\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n") + HIDDEN)
        assert (await peer.answer()).body == b"/first"
        assert running.seen == [("POST", "/first", HIDDEN)] * 3


async def test_no_body_of_a_request_that_the_application_does_not_read_becomes_a_request() -> None:
    paths = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        paths.append(scope["path"])
        await respond(send, 200, [])

    async with serving(app) as running, running.peer() as peer:
        await peer.send(CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN) + get("/second"))
        assert [(await peer.answer()).status, (await peer.answer()).status] == [200, 200]
        await peer.send(CHUNKED + b"%x\r\n%bXX0\r\n\r\n" % (len(HIDDEN), HIDDEN) + get("/third"))
        assert (await peer.answer()).status == 200
        await peer.nothing_more()
        assert paths == ["/first", "/second", "/first"]


GOOD = {
    "empty line before the request": b"\r\nGET /first HTTP/1.1\r\nHost: a\r\n\r\n",
    "white space around a value": b"GET /first HTTP/1.1\r\nHost: \t a\t \r\n\r\n",
    "latin letters in a value": b"GET /first HTTP/1.1\r\nHost: a\r\nX: \xe9\r\n\r\n",
    "empty value": b"GET /first HTTP/1.1\r\nHost: a\r\nX:\r\n\r\n",
    "IPv6 host": b"GET /first HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
    "100 headers": b"GET /first HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 99 + b"\r\n",
    "no host on HTTP/1.0": b"GET /first HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "absolute target": b"GET http://a/first HTTP/1.1\r\nHost: a\r\n\r\n",
    "length with zeros": b"POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 005\r\n\r\nhello",
    "no body at all": b"POST /first HTTP/1.1\r\nHost: a\r\n\r\n",
    "chunked in capitals": POST + b"Transfer-Encoding: CHUNKED\r\n\r\n" + GOOD_CHUNKS,
    "chunks with extensions": CHUNKED + b'5;a=b;c="d e"\r\nhello\r\n0;x\r\n\r\n',
    "chunks with trailers": CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nY: \r\n\r\n",
    "chunks in capitals": CHUNKED + b"00A\r\nhellohello\r\n0\r\n\r\n",
    "upgrade to HTTP/2": b"GET /first HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
}


@pytest.mark.parametrize("name", GOOD)
async def test_what_the_standard_allows_is_taken_and_so_is_the_next_request(name: str) -> None:
    async with serving() as running, running.peer() as peer:
        await peer.send(GOOD[name] + get("/second"))
        assert [(await peer.answer()).body, (await peer.answer()).body] == [b"/first", b"/second"]
        assert [path for _, path, _ in running.seen] == ["/first", "/second"]


async def test_the_answer_is_the_same_however_the_bytes_are_cut() -> None:
    async with serving() as running:
        for request in (GOOD["chunks with trailers"], REFUSED["folded value"][0], CHUNKED + BAD_CHUNKS["no size"][0]):
            statuses = set()
            for size in (1, 2, 3, 7, len(request)):
                async with running.peer() as peer:
                    for at in range(0, len(request), size):
                        await peer.send(request[at : at + size])
                    statuses.add((await peer.answer()).status)
            assert len(statuses) == 1


def read_all(data: bytes) -> list[tuple[Request, bytes]]:
    parser = RequestParser(Http())
    parser.feed(data)
    read = []
    while (request := parser.next_request()) is not None:
        read.append((request, parser.read_body()))
        assert parser.body_done
    return read


SAME = b"Host: h\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello"


def test_requests_with_the_same_headers_as_the_last_are_read_like_any_other() -> None:
    starts = [
        b"POST /1 HTTP/1.1\r\n",
        b"PUT /2?q HTTP/1.1\r\n",
        b"POST /3 HTTP/1.0\r\n",
        b"POST http://other/4 HTTP/1.0\r\n",
        b"POST /5 HTTP/1.0\r\n",
        b"POST /6 HTTP/1.1\r\n",
    ]
    together = read_all(b"".join(start + SAME for start in starts))
    assert together == [read_all(start + SAME)[0] for start in starts]
    assert [request.http_version for request, _ in together] == ["1.1", "1.1", "1.0", "1.0", "1.0", "1.1"]


def test_headers_that_only_begin_like_the_last_ones_are_not_taken_for_them() -> None:
    longer = b"GET / HTTP/1.1\r\nHost: h\r\nX: 1\r\n\r\n"
    longest = longer.replace(b"X: 1", b"X: 12")
    (_, _), (request, _), (last, _) = read_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" + longer + longest)
    assert request.headers == [(b"host", b"h"), (b"x", b"1")]
    assert last.headers == [(b"host", b"h"), (b"x", b"12")]


def test_an_application_that_changes_its_headers_changes_nobody_elses() -> None:
    parser = RequestParser(Http())
    for _ in range(3):
        parser.feed(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        request = parser.next_request()
        assert request is not None
        assert request.headers == [(b"host", b"h")]
        request.headers.append((b"x-user", b"alice"))


@pytest.mark.parametrize(
    ("start", "problem"),
    [(b"BREW / HTTP/1.1\r\n", MethodNotAllowed), (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n", UriTooLong)],
)
def test_a_bad_request_line_before_the_same_headers_is_refused(start: bytes, problem: type[Problem]) -> None:
    with pytest.raises(problem):
        read_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" + start + b"Host: h\r\n\r\n")


def test_the_same_headers_under_another_version_are_judged_again() -> None:
    with pytest.raises(BodyInvalid):
        read_all(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.1\r\nConnection: keep-alive\r\n\r\n")


def test_a_head_that_drips_in_is_looked_at_when_a_line_ends_and_not_at_every_byte() -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 16_000
    parser = RequestParser(Http())
    looks = 0

    def watch(frame: FrameType, event: str, _: object) -> None:
        nonlocal looks
        looks += event == "call" and frame.f_code.co_name == "_not_a_head"

    sys.setprofile(watch)
    try:
        for octet in head:
            parser.feed(bytes([octet]))
            assert parser.next_request() is None
    finally:
        sys.setprofile(None)
    assert looks < 40
