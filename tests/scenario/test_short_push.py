"""A message is answered in the same bytes whichever way it went: all at once (the short one), or in pieces."""

import re

import pytest
import trio

from tests.scenario.people import Town
from tests.unit.http.harness import RawPeer

BODY = b'{"title": "T"}'
JSON = "Content-Type: application/json"
_OWN = re.compile(rb"(?<=location: /message/)\S+|(?<=receipt/)[^>]+|(?<=date: )[^\r]+")


async def answered(office: Town, head: list[str], body: bytes, *, whole: bool) -> bytes:
    """All that comes, without what is of one message alone."""
    host, port = office.service.api.removeprefix("http://").split(":")
    lines = [*head, f"Host: {host}:{port}", f"Content-Length: {len(body)}", "Connection: close", "", ""]
    first, last = "\r\n".join(lines).encode(), body
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        stream.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY, 1)
        await stream.send_all(first + last if whole else first)
        if not whole:
            await trio.sleep(0.02)
            await stream.send_all(last)
        return _OWN.sub(b"...", await RawPeer(stream).everything())


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ([JSON, "TTL: 60"], BODY, 201),
        ([JSON, "Origin: https://elsewhere.example"], BODY, 201),
        ([JSON, "TTL: 0"], BODY, 201),
        ([JSON, "Prefer: respond-async"], BODY, 202),
        ([JSON, "TTL: -1"], BODY, 400),
        ([JSON, "Authorization: Bearer x"], BODY, 401),
        ([JSON], b"{", 400),
        ([], BODY, 415),
        ([JSON], BODY.ljust(5000), 413),
    ],
)
async def test_the_way_makes_no_difference(office: Town, headers: list[str], body: bytes, status: int) -> None:
    url = (await (await office.login("ada")).allow())["url"]
    head = [f"POST {url.removeprefix(office.service.api)} HTTP/1.1", *headers]
    at_once, in_pieces = [await answered(office, head, body, whole=whole) for whole in (True, False)]
    assert at_once == in_pieces
    assert at_once.startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize("path", ["/push/nobodys", "/push/", "/push/a/b"])
async def test_nor_does_it_for_what_is_no_push_url(office: Town, path: str) -> None:
    head = [f"POST {path} HTTP/1.1", JSON]
    at_once, in_pieces = [await answered(office, head, BODY, whole=whole) for whole in (True, False)]
    assert at_once == in_pieces
    assert at_once.startswith(b"HTTP/1.1 404 ")
