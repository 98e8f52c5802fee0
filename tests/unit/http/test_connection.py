"""One connection over a real socket: keep-alive, pipelining, half-closed peers, and what happens to the slow."""

import pytest
import trio

from pushctl.http.asgi import Receive, Scope, Send, read_body, respond
from pushctl.http.connection import BURST
from tests.unit.http.harness import get, post, serving


async def test_a_connection_serves_one_request_after_the_other() -> None:
    async with serving() as running, running.peer() as peer:
        for number in range(50):
            await peer.send(post(b"x" * number, path=f"/{number}"))
            answer = await peer.answer()
            assert (answer.status, answer.body) == (200, b"/%d" % number)
            assert "connection" not in answer.headers
            assert answer.headers["date"].endswith(" GMT")
        assert running.server.statistics().accepted == 1
        assert running.server.statistics().requests == 50


async def test_pipelined_requests_are_answered_in_their_order() -> None:
    async with serving() as running, running.peer() as peer:
        requests = b"".join(post(b"x" * 100, path=f"/{number}") for number in range(500))
        running.nursery.start_soon(peer.send, requests)
        for number in range(500):
            assert (await peer.answer()).body == b"/%d" % number


async def test_a_pipelining_peer_lets_others_run() -> None:
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    starts: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        starts.append(turns)
        await respond(send, 204, [])

    async with serving(app) as running, running.peer() as peer:
        running.nursery.start_soon(take_turns)
        count = 16_384 // len(get())
        await peer.send(get() * count)
        for _ in range(count):
            await peer.answer()
        # Trio shuffles: the connection may be last in one round and first in the next.
        assert max(starts.count(turn) for turn in starts) <= 2 * BURST


async def test_connection_close_is_obeyed_and_what_comes_behind_it_is_not_read() -> None:
    async with serving() as running, running.peer() as peer:
        await peer.send(get("/first", "Connection: Keep-Alive, Close") + get("/second"))
        answer = await peer.answer()
        assert answer.headers["connection"] == "close"
        await peer.nothing_more()
        assert [path for _, path, _ in running.seen] == ["/first"]


async def test_http_1_0_ends_after_one_answer_unless_it_asks_for_more() -> None:
    async with serving() as running:
        async with running.peer() as peer:
            await peer.send(b"GET / HTTP/1.0\r\n\r\n" + get("/second"))
            assert (await peer.answer()).headers["connection"] == "close"
            await peer.nothing_more()
        async with running.peer() as peer:
            for _ in range(2):
                await peer.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                assert (await peer.answer()).headers["connection"] == "keep-alive"


async def test_a_peer_that_has_closed_its_side_still_gets_all_its_answers() -> None:
    async with serving() as running, running.peer() as peer:
        await peer.send(post(b"hello", path="/1") + get("/2") + get("/3"))
        await peer.send_eof()
        assert [(await peer.answer()).body for _ in range(3)] == [b"/1", b"/2", b"/3"]
        await peer.nothing_more()


async def test_a_half_closed_peer_gets_all_its_answers_though_an_application_listened_for_its_end() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive, 10)
        assert (await receive())["type"] == "http.disconnect"
        await respond(send, 200, [], scope["path"].encode())

    async with serving(app) as running, running.peer() as peer:
        await peer.send(get("/1") + get("/2"))
        await peer.send_eof()
        assert [(await peer.answer()).body for _ in range(2)] == [b"/1", b"/2"]
        await peer.nothing_more()


@pytest.mark.parametrize("sent", [b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n"])
async def test_a_connection_that_ends_within_the_headers_is_400(sent: bytes) -> None:
    async with serving() as running, running.peer() as peer:
        await peer.send(get("/whole") + sent)
        await peer.send_eof()
        assert (await peer.answer()).status == 200
        answer = await peer.answer()
        assert (answer.status, answer.problem["code"]) == (400, "body_invalid")
        await peer.nothing_more()
        assert [path for _, path, _ in running.seen] == ["/whole"]


@pytest.mark.parametrize("before", [b"", get("/whole")], ids=["first request", "second request"])
async def test_headers_that_drip_in_are_408_after_header_seconds(before: bytes) -> None:
    async def drip() -> None:
        for octet in b"GET / HTTP/1.1\r\nX: " + b"a" * 10_000:
            await peer.send(bytes([octet]))
            await trio.sleep(0.01)

    async with serving(header_seconds=0.2) as running, running.peer() as peer:
        await peer.send(before)
        if before:
            assert (await peer.answer()).status == 200
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            answer = await peer.answer()
            nursery.cancel_scope.cancel()
        assert (answer.status, answer.problem["code"]) == (408, "too_slow")
        assert answer.headers["connection"] == "close"
        assert trio.current_time() - started >= 0.2


async def test_a_connection_without_a_single_byte_is_closed_after_header_seconds_without_a_word() -> None:
    async with serving(header_seconds=0.1) as running, running.peer() as peer:
        await peer.nothing_more()


async def test_an_idle_connection_is_closed_after_idle_seconds_without_a_word() -> None:
    async with serving(idle_seconds=0.1) as running, running.peer() as peer:
        started = trio.current_time()  # before the server's own count, which begins when its answer is written
        await peer.send(get())
        assert (await peer.answer()).status == 200
        await peer.nothing_more()
        assert trio.current_time() - started >= 0.1


async def test_an_idle_connection_is_not_closed_before_idle_seconds() -> None:
    async with serving(header_seconds=0.1) as running, running.peer() as peer:
        await peer.send(get())
        assert (await peer.answer()).status == 200
        await trio.sleep(0.3)
        await peer.send(get())
        assert (await peer.answer()).status == 200


async def test_a_slow_application_is_not_mistaken_for_a_slow_peer() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await trio.sleep(0.3)
        assert await read_body(receive, 10) == b"hello"
        await trio.sleep(0.3)
        await respond(send, 200, [])

    limits = {"header_seconds": 0.1, "body_seconds": 0.1, "idle_seconds": 0.1, "write_seconds": 0.1}
    async with serving(app, **limits) as running, running.peer() as peer:
        await peer.send(post(b"hello"))
        assert (await peer.answer()).status == 200


async def test_the_last_answer_arrives_though_the_peer_is_still_sending() -> None:
    async with serving() as running, running.peer() as peer:
        await peer.send(b"GET / HTTP/1.1\r\n\r\n" + b"x" * 200_000)
        assert (await peer.answer()).status == 400
        await peer.send(b"x" * 200_000)
        await peer.nothing_more()
