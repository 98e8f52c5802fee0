"""One request and its answer over a real socket: ASGI as applications see it, and their mistakes."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from pushctl.errors import BodyInvalid, PushUrlGone
from pushctl.http.asgi import ClientDisconnected, Receive, Scope, Send, read_body, respond
from tests.unit.http.harness import get, post, serving


async def test_the_scope_says_all_that_asgi_wants_to_know() -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(dict(scope))
        await respond(send, 204, [])

    async with serving(app) as running, running.peer() as peer:
        assert isinstance(peer.stream, trio.SocketStream)
        own = peer.stream.socket.getsockname()
        await peer.send(get("/a%20%C3%BC//b?c=%20d&e?f", "X-Two: 1", "x-two:\t2 "))
        await peer.answer()
        await peer.send(b"OPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        await peer.answer()
        await peer.send(b"GET HTTPS://B:1?x HTTP/1.1\r\nAccept: */*\r\nHost: a\r\n\r\n")
        await peer.answer()
    host, port = running.address.split(":")
    assert scopes[0] == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/a ü//b",
        "raw_path": b"/a%20%C3%BC//b",
        "query_string": b"c=%20d&e?f",
        "root_path": "",
        "headers": [(b"host", b"a"), (b"x-two", b"1"), (b"x-two", b"2")],
        "client": own,
        "server": (host, int(port)),
    }
    assert (scopes[1]["method"], scopes[1]["path"], scopes[1]["http_version"]) == ("OPTIONS", "*", "1.0")
    # An absolute target: its authority replaces Host (RFC 9112, section 3.2.2).
    assert (scopes[2]["path"], scopes[2]["query_string"]) == ("/", b"x")
    assert scopes[2]["headers"] == [(b"host", b"B:1"), (b"accept", b"*/*")]


# --- bodies ----------------------------------------------------------------------------------------------------------


async def test_a_body_waits_at_the_peer_while_the_application_does_not_take_it() -> None:
    go = trio.Event()
    size = 32 * 1024 * 1024
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await go.wait()
        taken = 0
        while True:
            message = await receive()
            assert len(message["body"]) <= 16_384
            taken += len(message["body"])
            if not message["more_body"]:
                break
        await respond(send, 200, [], str(taken).encode())

    async with serving(app, max_body_bytes=size) as running, running.peer() as peer:

        async def upload() -> None:
            nonlocal sent
            await peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
            while sent < size:
                await peer.send(b"x" * 65_536)
                sent += 65_536

        running.nursery.start_soon(upload)
        await trio.testing.wait_all_tasks_blocked(0.1)
        assert 0 < sent < size
        go.set()
        assert (await peer.answer()).body == str(size).encode()


async def test_100_continue_is_said_when_the_application_asks_for_the_body() -> None:
    async with serving() as running, running.peer() as peer:
        for _ in range(2):
            await peer.send(b"POST /first HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\n")
            assert (await peer.answer()).status == 100
            await peer.send(b"hello")
            assert (await peer.answer()).status == 200
        # Who did not wait is not kept waiting either.
        await peer.send(post(b"hello", "Expect: 100-continue"))
        assert (await peer.answer()).status == 200
        await peer.send(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        await peer.send(b"hello")
        assert (await peer.answer()).status == 200


async def test_an_application_that_does_not_want_the_body_never_says_100_and_ends_the_connection() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, 403, [])

    async with serving(app) as running, running.peer() as peer:
        await peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        answer = await peer.answer()
        assert (answer.status, answer.headers["connection"]) == (403, "close")
        await peer.send(get("/second"))
        await peer.nothing_more()


@pytest.mark.parametrize(
    ("size", "kept"), [(65_536, True), (65_537, False)], ids=["a small body is dropped", "a large one ends it"]
)
async def test_a_body_that_the_application_does_not_read(size: int, kept: bool) -> None:
    paths = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        paths.append(scope["path"])
        await respond(send, 200, [])

    async with serving(app, max_body_bytes=1_000_000) as running, running.peer() as peer:
        await peer.send(post(b"x" * size) + get("/second"))
        assert ("connection" in (await peer.answer()).headers) == (not kept)
        if kept:
            assert (await peer.answer()).status == 200
        else:
            await peer.nothing_more()
        assert paths == ["/", "/second"][: 2 if kept else 1]


async def test_a_chunked_body_that_the_application_does_not_read_is_dropped_up_to_a_bound() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, 200, [])

    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    async with serving(app, max_body_bytes=1_000_000) as running, running.peer() as peer:
        await peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 40)
        assert (await peer.answer()).status == 200
        await peer.nothing_more()


async def swallow(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that makes its own sense of a body that does not end."""
    while (await receive()).get("more_body", False):
        pass
    assert (await receive())["type"] == "http.disconnect"
    try:
        await respond(send, 201, [], b"all is well")
    except ClientDisconnected:
        return


async def read(scope: Scope, receive: Receive, send: Send) -> None:
    await read_body(receive, 1_000_000)
    raise AssertionError("there is no whole body")


BROKEN_BODIES = {
    "malformed": (b"5\r\nhello\r\n+5\r\n", 400, "body_invalid"),
    "too large": (b"5\r\nhello\r\nfffff\r\n", 413, "body_too_large"),
    "ended early": (b"5\r\nhel", 400, "body_invalid"),
    "too slow": (b"5\r\nhel", 408, "too_slow"),
}


@pytest.mark.parametrize("app", [swallow, read])
@pytest.mark.parametrize("name", BROKEN_BODIES)
async def test_a_broken_body_is_answered_by_this_layer_whatever_the_application_says(name: str, app: Any) -> None:
    body, status, code = BROKEN_BODIES[name]
    async with serving(app, body_seconds=0.2 if status == 408 else 10) as running, running.peer() as peer:
        await peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        if name == "ended early":
            await peer.send_eof()
        answer = await peer.answer()
        assert (answer.status, answer.problem["code"], answer.headers["connection"]) == (status, code, "close")
        await peer.nothing_more()
        assert running.server.statistics().problems == 1


async def test_a_body_that_drips_in_is_408_after_body_seconds() -> None:
    async def drip() -> None:
        await peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n")
        while True:
            await peer.send(b"x")
            await trio.sleep(0.002)

    async with serving(body_seconds=0.2) as running, running.peer() as peer:
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            assert (await peer.answer()).status == 408
            nursery.cancel_scope.cancel()
        assert trio.current_time() - started >= 0.2
        assert running.seen == []


async def test_a_body_that_never_stops_coming_is_408_after_body_seconds_too() -> None:
    async def flood() -> None:
        await peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000000000\r\n\r\n")
        while True:
            await peer.send(b"x" * 65_536)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] == "http.request":
            pass

    limits: dict[str, Any] = {"body_seconds": 0.05, "max_body_bytes": 10**15}
    async with serving(app, **limits) as running, running.peer() as peer, trio.open_nursery() as nursery:
        nursery.start_soon(flood)
        assert (await peer.answer()).status == 408
        nursery.cancel_scope.cancel()


# --- answers ---------------------------------------------------------------------------------------------------------


def streaming(*pieces: bytes, status: int = 200, headers: Any = ()) -> Callable[..., Any]:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})

    return app


async def test_a_streamed_answer_is_chunked_and_the_connection_lives_on() -> None:
    async with serving(streaming(b"he", b"", b"llo", b"x" * 100_000)) as running, running.peer() as peer:
        for _ in range(2):
            await peer.send(get())
            answer = await peer.answer()
            assert answer.headers["transfer-encoding"] == "chunked"
            assert answer.body == b"hello" + b"x" * 100_000


async def test_a_streamed_answer_of_known_length_is_not_chunked() -> None:
    app = streaming(b"he", b"llo", headers=[(b"Content-Length", b"5")])
    async with serving(app) as running, running.peer() as peer:
        for _ in range(2):
            await peer.send(get())
            answer = await peer.answer()
            assert (answer.headers["content-length"], answer.body) == ("5", b"hello")


async def test_a_streamed_answer_to_http_1_0_ends_with_the_connection() -> None:
    async with serving(streaming(b"he", b"llo")) as running, running.peer() as peer:
        await peer.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        answer = await peer.answer()
        assert answer.headers.keys() == {"date", "connection"}
        assert (answer.headers["connection"], answer.body) == ("close", b"hello")


@pytest.mark.parametrize(
    ("app", "length"),
    [
        (streaming(b"hello"), None),
        (streaming(b"hello", headers=[(b"content-length", b"5")]), "5"),
        (None, "1"),
    ],
    ids=["streamed", "of known length", "whole"],
)
async def test_the_answer_to_head_has_the_headers_and_no_body(app: Any, length: str | None) -> None:
    async with serving(app) as running, running.peer() as peer:
        for _ in range(2):
            await peer.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = await peer.answer(to_head=True)
            assert answer.headers.get("content-length") == length
            assert "transfer-encoding" not in answer.headers
        assert peer.rest == b""


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_that_has_no_body_says_nothing_about_one(status: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, status, [(b"etag", b'"1"')], b"surplus")

    async with serving(app) as running, running.peer() as peer:
        for _ in range(2):
            await peer.send(get())
            answer = await peer.answer()
            assert (answer.status, sorted(answer.headers)) == (status, ["date", "etag"])


async def test_headers_of_the_connection_are_this_layers_business() -> None:
    headers = [
        (b"Transfer-Encoding", b"gzip"),
        (b"Keep-Alive", b"timeout=5"),
        (b"Connection", b"close"),
        (b"Date", b"now"),
    ]
    async with serving(streaming(b"hello", headers=headers)) as running, running.peer() as peer:
        await peer.send(get())
        answer = await peer.answer()
        assert answer.headers == {"transfer-encoding": "chunked", "connection": "close", "date": "now"}
        await peer.nothing_more()


# --- mistakes of applications ----------------------------------------------------------------------------------------


async def crash(scope: Scope, receive: Receive, send: Send) -> None:
    raise ZeroDivisionError("secret detail")


async def crash_after_start(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise ZeroDivisionError("secret detail")


async def crash_in_a_nursery(scope: Scope, receive: Receive, send: Send) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(crash, scope, receive, send)
        nursery.start_soon(trio.sleep_forever)


async def say_nothing(scope: Scope, receive: Receive, send: Send) -> None:
    pass


async def split_the_answer(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, 200, [(b"location", b"/\r\nSet-Cookie: a=b")])


async def give_an_informational_answer(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, 101, [])


async def give_two_lengths(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, 200, [(b"content-length", b"5")], b"hello")


async def lie_about_the_length(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello world"})


async def start_twice(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.start", "status": 200, "headers": []})


async def speak_websocket(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.accept"})


CRASHES = [
    crash,
    crash_after_start,
    crash_in_a_nursery,
    say_nothing,
    split_the_answer,
    give_an_informational_answer,
    give_two_lengths,
    lie_about_the_length,
    start_twice,
    speak_websocket,
]


@pytest.mark.parametrize("app", CRASHES)
async def test_a_crash_is_a_500_without_a_word_about_why_and_is_logged(
    app: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving(app) as running, running.peer() as peer:
        running.crashes_expected = 1
        await peer.send(post(b"hello", path="/push/abc"))
        answer = await peer.answer()
        assert (answer.status, answer.problem["code"]) == (500, "internal")
        assert b"secret" not in answer.body
        assert b"Error" not in answer.body
        await peer.nothing_more()
    logged = capsys.readouterr().err
    assert ("app_crashed" if app is not say_nothing else "app_gave_no_answer") in logged
    assert "/push/[redacted]" in logged


async def crash_half_way(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hel", "more_body": True})
    raise ZeroDivisionError


async def stop_half_way(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hel", "more_body": True})


async def stop_before_the_announced_length(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hel", "more_body": True})
    await send({"type": "http.response.body"})


async def cancel_a_send(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    with trio.move_on_after(0.05):
        await send({"type": "http.response.body", "body": b"x" * 50_000_000, "more_body": True})
    await send({"type": "http.response.body", "body": b"the end"})


@pytest.mark.parametrize("app", [crash_half_way, stop_half_way, stop_before_the_announced_length, cancel_a_send])
async def test_half_an_answer_is_never_mistaken_for_a_whole_one(app: Any) -> None:
    async with serving(app) as running, running.peer() as peer:
        running.crashes_expected = 1
        await peer.send(get() + get())
        with pytest.raises(trio.BrokenResourceError):  # a reset, no orderly end
            await peer.everything()


async def test_a_crash_after_the_answer_is_logged_and_costs_nothing_else() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, 200, [])
        raise ZeroDivisionError

    async with serving(app) as running, running.peer() as peer:
        running.crashes_expected = 2
        for _ in range(2):
            await peer.send(get())
            assert (await peer.answer()).status == 200


async def test_a_problem_that_an_application_raises_is_the_answer_and_the_connection_lives_on() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/gone":
            raise PushUrlGone("it was revoked")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise BodyInvalid("not a number", field="$.n")

    async with serving(app) as running, running.peer() as peer:
        await peer.send(post(b"hello", path="/gone") + get("/bad"))
        answer = await peer.answer()
        assert (answer.status, answer.problem["code"]) == (410, "push_url_gone")
        answer = await peer.answer()
        assert (answer.status, answer.problem["field"]) == (400, "$.n")


# --- peers that go away ----------------------------------------------------------------------------------------------


async def send_for_ever(send: Send) -> None:
    while True:
        await send({"type": "http.response.body", "body": b"x" * 10_000, "more_body": True})


async def test_receive_tells_an_application_that_its_client_is_gone_and_send_refuses() -> None:
    raised = trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert await read_body(receive, 10) == b"hello"
        assert (await receive())["type"] == "http.disconnect"
        assert (await receive())["type"] == "http.disconnect"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with pytest.raises(ClientDisconnected):
            await send_for_ever(send)
        raised.set()

    async with serving(app) as running:
        async with running.peer() as peer:
            await peer.send(post(b"hello"))
        await raised.wait()


async def test_a_disconnect_that_an_application_does_not_catch_is_no_crash(capsys: pytest.CaptureFixture[str]) -> None:
    over = trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await read_body(receive, 100)
        finally:
            over.set()

    async with serving(app) as running:
        async with running.peer() as peer:
            await peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nhello")
        await over.wait()
    assert capsys.readouterr().err == ""


async def test_requests_that_come_while_an_application_listens_for_the_end_are_answered_later() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                await read_body(receive, 10)
                assert (await receive())["type"] == "http.disconnect"
                nursery.cancel_scope.cancel()

            nursery.start_soon(listen)
            await trio.sleep(0.05)
            await respond(send, 200, [], scope["path"].encode())
        # `listen` ended because the request was answered: nobody cancelled it.

    async with serving(app) as running, running.peer() as peer:
        await peer.send(get("/1"))
        await peer.send(get("/2") + get("/3"))
        assert [(await peer.answer()).body for _ in range(3)] == [b"/1", b"/2", b"/3"]


async def test_what_a_peer_pipelines_while_an_application_listens_is_bounded() -> None:
    go, over = trio.Event(), trio.Event()
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive_all, receive)
            await go.wait()
            await respond(send, 200, [(b"connection", b"close")])
        over.set()

    async def receive_all(receive: Receive) -> None:
        while (await receive())["type"] == "http.request":
            pass

    async with serving(app) as running, running.peer() as peer:

        async def flood() -> None:
            nonlocal sent
            with trio.CancelScope() as scope:
                scopes.append(scope)
                while True:
                    await peer.send(get() * 1000)
                    sent += 1

        scopes: list[trio.CancelScope] = []
        running.nursery.start_soon(flood)
        await trio.testing.wait_all_tasks_blocked(0.1)
        at_rest = sent
        await trio.testing.wait_all_tasks_blocked(0.1)
        assert sent == at_rest
        scopes[0].cancel()
        go.set()
        assert (await peer.answer()).status == 200
        await over.wait()


async def test_a_peer_that_does_not_read_its_answer_is_cut_off_after_write_seconds() -> None:
    raised = trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await respond(send, 200, [], b"x" * 50_000_000)
        except ClientDisconnected:
            raised.set()
            raise

    async with serving(app, write_seconds=0.2) as running, running.peer() as peer:
        started = trio.current_time()  # before the server's own count, which begins when its answer does not fit
        await peer.send(get())
        await raised.wait()
        assert trio.current_time() - started >= 0.2
        with pytest.raises(trio.BrokenResourceError):
            await peer.everything()


async def test_a_peer_that_reads_slowly_but_in_time_gets_everything() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, 200, [], b"x" * 4_000_000)

    async with serving(app) as running, running.peer() as peer:
        await peer.send(get())
        await trio.sleep(0.1)
        assert len((await peer.answer()).body) == 4_000_000
