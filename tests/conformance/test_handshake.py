"""The opening handshake, by RFC 6455, section 4.2, and what RFC 9112 says of the request around it."""

import json
from collections.abc import Mapping

import pytest
from trio.testing import MockClock

from tests.conformance.cases import close, frame, text
from tests.conformance.seam import REQUEST, Said, Script, Server, converse
from tests.scenario.raw_frames import PING

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
"""Of the RFC's own example."""
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def with_lines(*lines: bytes) -> bytes:
    return REQUEST[:-2] + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def without(name: bytes) -> bytes:
    return b"".join(line for line in REQUEST.splitlines(keepends=True) if not line.startswith(name + b":"))


def other(old: bytes, new: bytes) -> bytes:
    assert old in REQUEST
    return REQUEST.replace(old, new)


def headers(said: Said) -> dict[bytes, bytes]:
    """In lower case; of two of a name the test is wrong."""
    pairs = [line.split(b":", 1) for line in said.head.split(b"\r\n")[1:] if line]
    found = {name.lower(): value.strip() for name, value in pairs}
    assert len(found) == len(pairs), said.head
    return found


async def answered(*segments: bytes) -> tuple[Server, Said]:
    """To this request, and then to a message and a Close."""
    return await converse([*segments[1:], text("after"), close(1000)], request=segments[0])


# --- let in ----------------------------------------------------------------------------------------------------------

ACCEPTED: Mapping[str, bytes] = {
    "as the RFC has it": REQUEST,
    "names in lower case": b"\r\n".join(
        line.lower() if line[:3] not in (b"GET", b"Sec") else line for line in REQUEST.split(b"\r\n")
    ),
    "names in upper case": other(b"Sec-WebSocket-", b"SEC-WEBSOCKET-").replace(b"Upgrade:", b"UPGRADE:"),
    "websocket in any case": other(b"websocket", b"WebSocket"),
    "upgrade in any case": other(b"Connection: Upgrade", b"Connection: uPGRADE"),
    "several words of Connection": other(b"Connection: Upgrade", b"Connection: keep-alive ,\tUpgrade"),
    "Connection in two lines": other(b"Connection: Upgrade", b"Connection: keep-alive\r\nConnection: Upgrade"),
    "no space behind colons": REQUEST.replace(b": ", b":"),
    "spaces around values": other(b"websocket", b"  websocket \t"),
    "another path": other(b"GET /", b"GET /some/where?with=%20query"),
    "the whole URL": other(b"GET /", b"GET http://push.example/"),
    "an Origin": with_lines(b"Origin: https://page.example"),
    "headers that mean nothing here": with_lines(b"Cookie: a=b", b"X-Latin: \xe9\xff", b"X-Empty:"),
    "a head of 8 KiB": with_lines(b"Cookie: " + b"a" * 8000),
    "a body of no bytes": with_lines(b"Content-Length: 0"),
}


@pytest.mark.parametrize("name", ACCEPTED)
async def test_let_in(name: str, autojump_clock: MockClock) -> None:
    server, said = await answered(ACCEPTED[name])
    found = headers(said)
    assert said.head.startswith(b"HTTP/1.1 101 ")
    assert found[b"upgrade"].lower() == b"websocket"
    assert found[b"connection"].lower() == b"upgrade"
    assert found[b"sec-websocket-accept"] == ACCEPT
    assert not found.keys() & {b"sec-websocket-protocol", b"sec-websocket-extensions", b"content-length"}
    assert (server.heard, said.close_code) == (["after"], 1000)


async def test_a_request_may_be_cut_anywhere(autojump_clock: MockClock) -> None:
    cuts = [[REQUEST[:at], REQUEST[at:]] for at in range(1, len(REQUEST))]
    for segments in (*cuts, [REQUEST[at : at + 1] for at in range(len(REQUEST))]):
        server, said = await answered(*segments)
        assert (server.heard, said.status, said.close_code) == (["after"], 101, 1000), segments


OFFERS: Mapping[str, tuple[tuple[bytes, ...], bytes | None]] = {
    "ours": ((b"pushctl.v1",), b"pushctl.v1"),
    "Firefox's": ((b"push-notification",), b"push-notification"),
    "ours among others": ((b"chat, pushctl.v1 ,superchat",), b"pushctl.v1"),
    "both, in whatever order": ((b"push-notification, pushctl.v1",), b"pushctl.v1"),
    "in several lines": ((b"chat", b"pushctl.v1"), b"pushctl.v1"),
    "others'": ((b"chat, superchat",), None),
    "ours in another case": ((b"PUSHCTL.V1",), None),
}


@pytest.mark.parametrize("name", OFFERS)
async def test_of_the_subprotocols_one_of_ours_is_chosen_or_it_is_refused(name: str, autojump_clock: MockClock) -> None:
    offered, chosen = OFFERS[name]
    _, said = await answered(with_lines(*(b"Sec-WebSocket-Protocol: " + each for each in offered)))
    assert said.status == (101 if chosen else 400)
    assert headers(said).get(b"sec-websocket-protocol") == chosen


EXTENSIONS = (
    b"permessage-deflate",
    b'permessage-deflate; client_max_window_bits, permessage-deflate; server_no_context_takeover; x="1"',
    b"x-webkit-deflate-frame, permessage-bzip2",
    b"nonsense; ; ,,",
)


@pytest.mark.parametrize("offered", EXTENSIONS)
async def test_extensions_are_declined_and_none_is_used(offered: bytes, autojump_clock: MockClock) -> None:
    request = with_lines(b"Sec-WebSocket-Extensions: " + offered)
    server, said = await answered(request)
    assert b"sec-websocket-extensions" not in headers(said)
    assert (said.status, server.heard) == (101, ["after"])
    compressed = frame(1, b"\xf2\x48\xcd\xc9\xc9\x07\x00", reserved=4)
    server, said = await converse([compressed], request=request)
    assert (server.heard, said.close_code) == ([], 1002)


# --- refused ---------------------------------------------------------------------------------------------------------

REFUSED: Mapping[str, tuple[bytes, tuple[int, ...]]] = {
    "POST": (other(b"GET", b"POST"), (400, 405)),
    "HEAD": (other(b"GET", b"HEAD"), (400, 405)),
    "get": (other(b"GET", b"get"), (400, 405, 501)),
    "a page is asked for": (b"GET / HTTP/1.1\r\nHost: push.example\r\n\r\n", (400, 426)),
    "no Host": (without(b"Host"), (400,)),
    "two Hosts": (with_lines(b"Host: other.example"), (400,)),
    "no Upgrade": (without(b"Upgrade"), (400, 426)),
    "Upgrade to something else": (other(b"websocket", b"h2c"), (400, 426)),
    "Upgrade to something alike": (other(b"websocket", b"websockets"), (400, 426)),
    "no Connection": (without(b"Connection"), (400, 426)),
    "Connection without upgrade": (other(b"Connection: Upgrade", b"Connection: keep-alive"), (400, 426)),
    "Connection with a word alike": (other(b"Connection: Upgrade", b"Connection: no-upgrade"), (400, 426)),
    "no version": (without(b"Sec-WebSocket-Version"), (400, 426)),
    "two versions, ours first": (with_lines(b"Sec-WebSocket-Version: 8"), (400, 426)),
    "an empty version": (other(b"Version: 13", b"Version:"), (400, 426)),
    "no key": (without(b"Sec-WebSocket-Key"), (400,)),
    "an empty key": (other(KEY, b""), (400,)),
    "a key of 15 bytes": (other(KEY, b"AAAAAAAAAAAAAAAAAAAA"), (400,)),
    "a key of 17 bytes": (other(KEY, b"AAAAAAAAAAAAAAAAAAAAAAA="), (400,)),
    "a key without its padding": (other(KEY, KEY[:-2]), (400,)),
    "a key that is no base64": (other(KEY, b"!!!!!!!!!!!!!!!!!!!!!!=="), (400,)),
    "a key of another alphabet": (other(KEY, b"_-" * 11 + b"=="), (400,)),
    "a space before the colon": (other(b"Upgrade: w", b"Upgrade : w"), (400,)),
    "a line without colon": (with_lines(b"nonsense"), (400,)),
    "a name with a space": (with_lines(b"two words: x"), (400,)),
    "a NUL": (with_lines(b"X: \0"), (400,)),
    "a CR alone": (with_lines(b"X: a\rb"), (400,)),
    "no target": (other(b"GET / ", b"GET "), (400,)),
    "a target with a space": (other(b"GET / ", b"GET /a b "), (400,)),
    "another HTTP": (other(b"HTTP/1.1", b"HTTQ/1.1"), (400,)),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 505)),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), (400,)),
    "a head of 100 KiB": (with_lines(b"X: " + b"a" * 100_000), (400, 431)),
    "a head without end": (REQUEST[:-2] + b"X: y\r\n" * 20_000, (400, 431)),
}
VERSIONS = (b"0", b"4", b"8", b"12", b"14", b"130", b"013", b"13a", b"-13", b"8, 7")


def check_refusal(said: Said, statuses: tuple[int, ...]) -> None:
    """An answer that is whole: who gets it need not wait for more."""
    assert said.head.startswith(b"HTTP/1.1 ")
    assert said.status in statuses
    found = headers(said)
    assert int(found[b"content-length"]) == len(said.rest)
    assert found[b"connection"].lower() == b"close"


@pytest.mark.parametrize("name", REFUSED)
async def test_refused(name: str, autojump_clock: MockClock) -> None:
    request, statuses = REFUSED[name]
    server, said = await answered(request)
    check_refusal(said, statuses)
    assert server.heard == []


@pytest.mark.parametrize("version", VERSIONS)
async def test_another_version_is_told_which_one_is_spoken(version: bytes, autojump_clock: MockClock) -> None:
    _, said = await answered(other(b"Version: 13", b"Version: " + version))
    check_refusal(said, (426,))
    assert headers(said)[b"sec-websocket-version"] == b"13"


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (other(KEY, b"AAAA"), "Sec-WebSocket-Key"),
        (with_lines(b"Sec-WebSocket-Protocol: chat"), "Sec-WebSocket-Protocol"),
    ],
)
async def test_a_refusal_names_the_header(request_: bytes, field: str, autojump_clock: MockClock) -> None:
    _, said = await answered(request_)
    check_refusal(said, (400,))
    assert headers(said)[b"content-type"] == b"application/problem+json"
    problem = json.loads(said.rest)
    assert (problem["status"], problem["field"]) == (400, field)
    assert problem["detail"]


async def test_who_says_nothing_is_refused_nothing(autojump_clock: MockClock) -> None:
    for request in (b"", b"GET / HTTP/1.1\r\nHost: push.ex", REQUEST[:-2]):
        server, stream = Server(), Script([request] if request else [])
        await server.serve(stream)
        assert bytes(stream.written) == b""


# --- what a client must not do, and may not profit from --------------------------------------------------------------


async def test_a_body_is_never_taken_for_frames(autojump_clock: MockClock) -> None:
    inside = text("inside")
    for head, body in (
        (with_lines(b"Content-Length: %d" % len(inside)), inside),
        (with_lines(b"Transfer-Encoding: chunked"), b"%x\r\n%s\r\n0\r\n\r\n" % (len(inside), inside)),
    ):
        server, said = await answered(head + body)
        assert "inside" not in server.heard
        if said.status != 101:
            check_refusal(said, (400,))


async def test_a_folded_line_is_unfolded_or_refused(autojump_clock: MockClock) -> None:
    """RFC 9112, section 5.2."""
    for request in (other(b"Upgrade: ", b"Upgrade:\r\n "), with_lines(b"X: a", b"\tb: c")):
        server, said = await answered(request)
        if said.status == 101:
            assert server.heard == ["after"]
        else:
            check_refusal(said, (400,))


# --- where the RFC is stricter, or more generous ---------------------------------------------------------------------

STRICTER: Mapping[str, tuple[bytes, tuple[int, ...]]] = {
    "HTTP/1.0": (other(b"HTTP/1.1", b"HTTP/1.0"), (400, 426, 505)),
    "two keys": (with_lines(b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), (400,)),
    "a key twice": (with_lines(b"Sec-WebSocket-Key: " + KEY), (400,)),
    "two versions, ours last": (other(b"Version: 13", b"Version: 8\r\nSec-WebSocket-Version: 13"), (400, 426)),
    "a version twice": (with_lines(b"Sec-WebSocket-Version: 13"), (400, 426)),
}
MORE_GENEROUS: Mapping[str, bytes] = {
    "Connection in two lines, upgrade in the first": with_lines(b"Connection: keep-alive"),
    "Upgrade to one of several": other(b"websocket", b"h2c, websocket"),
}


@pytest.mark.parametrize("name", STRICTER)
async def test_refused_by_the_letter(name: str, autojump_clock: MockClock) -> None:
    request, statuses = STRICTER[name]
    _, said = await answered(request)
    check_refusal(said, statuses)


@pytest.mark.parametrize("name", MORE_GENEROUS)
async def test_let_in_by_the_letter(name: str, autojump_clock: MockClock) -> None:
    server, said = await answered(MORE_GENEROUS[name])
    assert (said.status, server.heard) == (101, ["after"])


async def test_what_comes_with_the_request_is_heard_or_refused_but_not_lost(autojump_clock: MockClock) -> None:
    """A client must wait for the answer (section 4.1); frames that are lost in the middle would be another
    conversation."""
    early = text("early")
    for at in range(1, len(early) + 1):
        server, said = await answered(REQUEST + early[:at], early[at:] + frame(PING, b"p"))
        if said.status == 101 and said.close_code != 1002:
            assert server.heard == ["early", "after"]
            assert said.pongs == [b"p"]


async def test_426_says_what_to_upgrade_to(autojump_clock: MockClock) -> None:
    """RFC 9110, section 15.5.22."""
    _, said = await answered(other(b"Version: 13", b"Version: 8"))
    found = headers(said)
    assert found[b"upgrade"].lower() == b"websocket"
