"""HTTP connections of a router and a sender: kept, replaced, never trusted after a failure, and no request is sent
twice."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from functools import partial
from pathlib import Path

import pytest
import trio

from pushctl.http.asgi import Receive, Scope, Send, read_body, respond
from pushctl.keepalive import MAX_ANSWER_BYTES, Answer, KeepAlive, NotConnected, Unanswered
from pushctl.tls import Files, make_context
from tests.certificates import write_certificates
from tests.unit.http.harness import serving

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Peer:
    """A TCP server that answers each connection as it is told; it counts connections and requests."""

    def __init__(self, answer: Callable[[trio.SocketStream], Awaitable[None]]) -> None:
        self._answer = answer
        self.connections = 0
        self.requests = 0

    async def serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            async with stream:
                async for chunk in stream:
                    self.requests += chunk.startswith(b"POST ")
                    await self._answer(stream)


@asynccontextmanager
async def peer(answer: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[tuple[Peer, KeepAlive]]:
    running = Peer(answer)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, running.serve, [listener], handler_nursery=nursery))
        with trio.fail_after(10), closing(KeepAlive("127.0.0.1", listener.socket.getsockname()[1])) as http:
            yield running, http
        nursery.cancel_scope.cancel()


def says(*pieces: bytes) -> Callable[[trio.SocketStream], Awaitable[None]]:
    async def answer(stream: trio.SocketStream) -> None:
        for piece in pieces:
            await stream.send_all(piece)

    return answer


async def post(http: KeepAlive, body: bytes = b"body") -> Answer:
    return await http.post("/hints/s1/1", {"Authorization": "x"}, body)


async def test_what_is_posted_arrives_whole_at_a_real_server() -> None:
    seen: list[tuple[str, bytes, bytes]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        authorization = dict(scope["headers"])[b"authorization"]
        seen.append((scope["path"], authorization, await read_body(receive, 10_000_000)))
        await respond(send, 201, [(b"pushctl-moment", b"7")], b"taken")

    async with serving(app) as running:
        host, _, port = running.address.rpartition(":")
        http = KeepAlive(host, int(port))
        bodies = [b"", b"body", b"x" * 60_000]
        for body in bodies:
            answer = await post(http, body)
            assert (answer.status, answer.headers["pushctl-moment"], answer.body) == (201, "7", b"taken")
        http.close()
    assert seen == [("/hints/s1/1", b"x", body) for body in bodies]


async def test_one_connection_serves_one_call_after_another_and_as_many_as_there_are_at_once() -> None:
    async with peer(says(OK)) as (server, http):
        for _ in range(5):
            assert await post(http) == Answer(200, {"content-length": "2"}, b"ok")
        assert server.connections == 1
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(post, http)
        assert server.connections == 3
        await post(http)
        assert (server.connections, server.requests) == (3, 9)


async def test_a_connection_that_the_server_closed_meanwhile_is_not_used() -> None:
    async def answer_and_close(stream: trio.SocketStream) -> None:
        await stream.send_all(OK)
        await stream.aclose()

    async with peer(answer_and_close) as (server, http):
        for number in range(1, 4):
            assert (await post(http)).status == 200
            await trio.sleep(0.05)  # for its end to arrive
            assert (server.connections, server.requests) == (number, number)


@pytest.mark.parametrize(
    "pieces",
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n", b"1\r\nk\r\n0\r\n\r\n"),
        (OK[:10], OK[10:-1], OK[-1:]),
    ],
)
async def test_an_answer_in_pieces_is_put_together(pieces: tuple[bytes, ...]) -> None:
    async with peer(says(*pieces)) as (_, http):
        assert (await post(http)).body == b"ok"


@pytest.mark.parametrize(
    "pieces",
    [
        (b"not HTTP at all\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n", *[b"x" * 65_536] * (MAX_ANSWER_BYTES // 65_536 + 1)),
    ],
)
async def test_an_answer_that_breaks_the_protocol_or_has_no_end_is_none_and_costs_the_connection(
    pieces: tuple[bytes, ...],
) -> None:
    async with peer(says(*pieces)) as (server, http):
        for number in (1, 2):
            with pytest.raises(Unanswered):
                await post(http)
            assert (server.connections, server.requests) == (number, number)


async def test_a_server_that_hangs_up_instead_was_asked_once() -> None:
    async with peer(lambda stream: stream.aclose()) as (server, http):
        with pytest.raises(Unanswered):
            await post(http)
        assert server.requests == 1
    with pytest.raises(NotConnected, match=r"^cannot connect: connection refused$"):
        await post(http)


async def test_a_call_that_was_given_up_takes_its_connection_with_it() -> None:
    answers, asked = [False, True], trio.Event()

    async def answer_late(stream: trio.SocketStream) -> None:
        asked.set()
        if answers.pop(0):
            await stream.send_all(OK)

    async with peer(answer_late) as (server, http):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(post, http)
            await asked.wait()
            nursery.cancel_scope.cancel()
        assert (await post(http)).status == 200  # and not the answer to the first
        assert server.connections == 2


async def test_after_close_no_connection_is_kept() -> None:
    async with peer(says(OK)) as (server, http):
        await post(http)
        http.close()
        for _ in range(2):
            await post(http)
        assert server.connections == 3


async def test_connections_may_be_opened_before_they_are_needed_and_are_then_used() -> None:
    async with peer(says(OK)) as (server, http):
        await http.connect(3)
        await http.connect(3)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(post, http)
        assert (server.connections, server.requests) == (3, 3)
    with pytest.raises(NotConnected):
        await http.connect(2)


async def test_under_tls_it_is_the_same_and_who_is_not_believed_is_asked_nothing(tmp_path: Path) -> None:
    authority = write_certificates(tmp_path)
    context = make_context(Files("api", str(tmp_path / "server.pem"), str(tmp_path / "server.key"), ""))
    asked: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(dict(scope["headers"])[b"host"].decode())
        await respond(send, 201, [], await read_body(receive, 100_000))

    async with serving(app, tls=lambda: context) as running:
        port = int(running.address.rpartition(":")[2])
        with closing(KeepAlive("localhost", port, ssl.create_default_context(cafile=authority))) as http:
            for body in (b"one", b"x" * 60_000):
                assert (await post(http, body)).body == body
        stranger = KeepAlive("localhost", port, ssl.create_default_context())
        with pytest.raises(NotConnected, match="certificate verify failed"):
            await post(stranger)
    assert asked == [f"localhost:{port}"] * 2


@pytest.mark.parametrize("interim", [b"100 Continue\r\n", b"103 Early Hints\r\nRetry-After: 9\r\n"])
async def test_an_interim_response_is_not_the_answer(interim: bytes) -> None:
    async def answer(stream: trio.SocketStream) -> None:
        await stream.send_all(b"HTTP/1.1 " + interim + b"\r\n")
        await trio.sleep(0.01)
        await stream.send_all(OK)

    async with peer(answer) as (server, http):
        for _ in range(2):
            assert await post(http) == Answer(200, {"content-length": "2"}, b"ok")
        assert server.connections == 1


async def test_interim_responses_without_end_are_no_answer() -> None:
    async def answer(stream: trio.SocketStream) -> None:
        while True:
            await stream.send_all(b"HTTP/1.1 102 Processing\r\n\r\n" * 1000)

    async with peer(answer) as (_, http):
        with pytest.raises(Unanswered, match="too long"):
            await post(http)


async def test_an_answer_too_many_neither_counts_nor_waits_for_the_next_request() -> None:
    async with peer(says(OK + b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops")) as (server, http):
        for _ in range(2):
            assert await post(http) == Answer(200, {"content-length": "2"}, b"ok")
        assert server.connections == 2


async def test_an_answer_that_changes_the_protocol_is_none() -> None:
    upgrade = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n\0"
    async with peer(says(upgrade)) as (_, http):
        with pytest.raises(Unanswered, match="another protocol"):
            await post(http)


@pytest.mark.parametrize("host", ["a..b", f"{'a' * 64}.example"])
async def test_what_cannot_be_the_name_of_a_host_is_not_connected_to(host: str) -> None:
    with pytest.raises(NotConnected, match="no name of a host"):
        await KeepAlive(host, 80).post("/", {}, b"")
