"""The two helpers of bare handlers, with any ASGI server."""

from typing import Any

import pytest

from pushctl.errors import BodyTooLarge
from pushctl.http.asgi import ClientDisconnected, Message, Receive, read_body, respond


def saying(*messages: Message) -> Receive:
    left = list(messages)

    async def receive() -> Message:
        return left.pop(0)

    return receive


def piece(body: bytes, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_is_read_whole_up_to_its_limit() -> None:
    assert await read_body(saying({"type": "http.request"}), 0) == b""
    assert await read_body(saying(piece(b"hello")), 5) == b"hello"
    assert await read_body(saying(piece(b"he", True), piece(b"", True), piece(b"llo")), 5) == b"hello"


async def test_a_longer_body_is_too_large_as_soon_as_that_is_known() -> None:
    for messages in ([piece(b"hello!")], [piece(b"hell", True), piece(b"o!", True)]):
        with pytest.raises(BodyTooLarge):
            await read_body(saying(*messages), 5)


async def test_a_body_that_ends_early_is_never_taken_for_a_whole_one() -> None:
    for messages in ([{"type": "http.disconnect"}], [piece(b"hell", True), {"type": "http.disconnect"}]):
        with pytest.raises(ClientDisconnected):
            await read_body(saying(*messages), 5)


async def test_respond_gives_one_whole_answer_with_its_length() -> None:
    sent: list[Any] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await respond(send, 201, [(b"location", b"/x")], b"hello")
    assert sent == [
        {"type": "http.response.start", "status": 201, "headers": [(b"location", b"/x"), (b"content-length", b"5")]},
        {"type": "http.response.body", "body": b"hello"},
    ]
