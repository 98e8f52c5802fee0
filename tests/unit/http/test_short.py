"""The short way: what goes it, what does not, and that errors on it are told as they are elsewhere."""

from dataclasses import dataclass, field

import pytest
import trio
import trio.testing

from pushctl.errors import NotFound
from pushctl.http.asgi import ASGIApp, Receive, Scope, Send
from pushctl.http.parser import Request
from tests.unit.http.harness import get, post, serving

BODY = b"x" * 200


@dataclass
class Short:
    """Takes POSTs under /s/ and remembers them; /s/no is a Problem, /s/crash our own mistake."""

    bodies: list[bytes] = field(default_factory=list)
    hosts: list[tuple[str, str]] = field(default_factory=list)
    asked: trio.Event = field(default_factory=trio.Event)
    may_answer: trio.Event = field(default_factory=trio.Event)

    def __post_init__(self) -> None:
        self.may_answer.set()

    def takes(self, request: Request, length: int) -> bool:
        return request.method == "POST" and request.path.startswith("/s/") and length <= 1000

    async def answer(self, request: Request, body: bytes, host: str, scheme: str, began: float) -> tuple[int, bytes]:
        self.bodies.append(body)
        self.hosts.append((host, scheme))
        self.asked.set()
        await self.may_answer.wait()
        if request.path == "/s/no":
            raise NotFound("nothing here")
        if request.path == "/s/crash":
            raise ZeroDivisionError
        return 201, b"location: /there\r\n"

    def instead(self, error: Exception, began: float) -> ASGIApp:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            raise error

        return app


async def test_whole_plain_requests_go_the_short_way_one_after_the_other() -> None:
    short = Short()
    async with serving(short=short) as running, running.peer() as peer:
        await peer.send(post(BODY, path="/s/a") + post(b"", path="/s/a") + get("/s/a"))
        for _ in range(2):
            answer = await peer.answer()
            assert (answer.status, answer.body) == (201, b"")
            assert list(answer.headers) == ["location", "content-length", "date"]
        assert (await peer.answer()).status == 200
        await peer.send(post(BODY, "Connection: close", path="/s/a"))
        assert (await peer.answer()).headers["connection"] == "close"
        await peer.nothing_more()
        assert short.bodies == [BODY, b"", BODY]
        assert running.seen == [("GET", "/s/a", b"")]


@pytest.mark.parametrize(
    "pieces",
    [
        (post(BODY, path="/s/a")[:-1], b"x"),
        (post(BODY, "Expect: 100-continue", path="/s/a"),),
        (b"POST /s/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",),
        (post(BODY, path="/s/a").replace(b"HTTP/1.1", b"HTTP/1.0"),),
        (post(BODY * 6, path="/s/a"),),
        (post(BODY, path="/other"),),
    ],
    ids=["in pieces", "expecting", "chunked", "HTTP/1.0", "too long", "another"],
)
async def test_anything_else_goes_to_the_application(pieces: tuple[bytes, ...]) -> None:
    short = Short()
    async with serving(short=short) as running, running.peer() as peer:
        for piece in pieces:
            await peer.send(piece)
            await trio.testing.wait_all_tasks_blocked()
        assert (await peer.answer()).status == 200
        assert short.bodies == []
        assert len(running.seen) == 1


async def test_its_errors_are_answered_as_an_applications_and_the_connection_lives_on_after_a_problem() -> None:
    async with serving(short=Short()) as running, running.peer() as peer:
        await peer.send(post(BODY, path="/s/no") + post(BODY, path="/s/a") + post(BODY, path="/s/crash"))
        assert (await peer.answer()).problem["code"] == "not_found"
        assert (await peer.answer()).status == 201
        assert (await peer.answer()).problem["code"] == "internal"
        await peer.nothing_more()
        running.crashes_expected = 1


async def test_it_is_told_the_client_behind_a_trusted_proxy() -> None:
    short = Short()
    async with serving(short=short, proxies=["127.0.0.1"]) as running, running.peer() as peer:
        await peer.send(post(b"", "X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https", path="/s/a"))
        await peer.answer()
        await peer.send(post(b"", path="/s/a"))
        await peer.answer()
    assert short.hosts == [("192.0.2.7", "https"), ("127.0.0.1", "http")]


async def test_after_a_drain_began_it_answers_and_ends_the_connection() -> None:
    short = Short()
    short.may_answer = trio.Event()
    async with serving(short=short) as running, running.peer() as peer:
        await peer.send(post(BODY, path="/s/a"))
        await short.asked.wait()
        running.nursery.start_soon(running.server.drain)
        await trio.testing.wait_all_tasks_blocked()
        short.may_answer.set()
        assert (await peer.answer()).headers["connection"] == "close"
        await peer.nothing_more()
