"""A service at the edge of the world, for the client's tests: it says what a test wants, also what no real one would.

Real in it: the HTTP server, WebSocket, the development identity provider and the verifier. Made up: everything that a
real service would keep. `answers` overrides a route; `script` is what happens on each socket connection, in turn.
"""

import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cache, partial
from typing import Any

import msgspec
import trio
import trio_websocket

from pushctl.clock import system_clock
from pushctl.config.model import Http
from pushctl.http.server import HttpServer, address_of, open_listeners
from pushctl.identity.browserid import Verifier
from pushctl.identity.dev_idp import DevIdp
from pushctl.identity.refusal import LoginRefused
from pushctl.protocol import frames

Body = Any
Answer = tuple[int, Body, Mapping[str, str]]
Script = Callable[["FakeSocket"], Awaitable[None]]

PATIENCE_SECONDS = 5


@cache
def identity_provider() -> DevIdp:
    """One for all tests: its key takes 60 ms to make."""
    return DevIdp.generate()


class FakeSocket:
    """The server's end of one connection."""

    def __init__(self, websocket: trio_websocket.WebSocketConnection) -> None:
        self.websocket = websocket

    async def receive(self) -> frames.ClientFrame:
        with trio.fail_after(PATIENCE_SECONDS):
            return frames.decode_client_frame(await self.websocket.get_message())

    async def send(self, *found: msgspec.Struct) -> None:
        for frame in found:
            await self.websocket.send_message(frames.encode(frame).decode())

    async def greet(self, *synced: msgspec.Struct, ping_ms: int = 30_000) -> frames.Hello:
        """Takes the hello, says welcome and then `synced`."""
        hello = await self.receive()
        assert isinstance(hello, frames.Hello), hello
        await self.send(frames.Welcome(server="s1", ping_ms=ping_ms, user="u1", device="d1"), *synced)
        return hello

    async def close(self, code: int, reason: str = "") -> None:
        await self.websocket.aclose(code, reason)


async def until_closed(socket: FakeSocket) -> None:
    """Takes frames until the device goes away."""
    while True:
        try:
            await socket.websocket.get_message()
        except trio_websocket.ConnectionClosed:
            return


class FakeService:
    def __init__(self) -> None:
        self.api_url = ""
        self.socket_url = ""
        self.answers: dict[str, Answer | Callable[[], Awaitable[Answer]]] = {}
        """`POST /push/abc` -> what it answers (a problem, if the status is one of an error)."""
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        """Method and path with query, headers, body."""
        self.scripts: list[Script] = []
        """One per connection; when they are used up, upgrades are refused with 503."""
        self.connections = 0
        self.crashes: list[str] = []

    def bodies(self, route: str) -> list[Any]:
        """What was posted to a route."""
        return [msgspec.json.decode(body) for name, _, body in self.requests if name == route]

    # --- HTTP --------------------------------------------------------------------------------------------------------

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            part = await receive()
            body, more = body + part.get("body", b""), part.get("more_body", False)
        query = scope["query_string"].decode()
        route = f"{scope['method']} {scope['path']}"
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        self.requests.append((f"{route}?{query}" if query else route, headers, body))
        status, answer, more_headers = await self._answer(route, headers, body)
        problem = status >= 400 and isinstance(answer, dict)
        content_type = "application/problem+json" if problem else "application/json"
        raw = b"" if answer is None else msgspec.json.encode(answer)
        sent = {"content-type": content_type, "content-length": str(len(raw)), **more_headers}
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()],
            }
        )
        await send({"type": "http.response.body", "body": raw})

    async def _answer(self, route: str, headers: dict[str, str], body: bytes) -> Answer:
        given = self.answers.get(route)
        if given is not None:
            return await given() if callable(given) else given
        if route == "POST /dev/browserid/certificate" and headers.get("x-pushctl-dev") == "1":
            asked = msgspec.json.decode(body)
            made = identity_provider().certificate(
                asked["email"], asked["public_key"], asked["duration_seconds"], system_clock()
            )
            return 200, {"certificate": made}, {}
        if route == "POST /v1/login":
            return self._login(headers["authorization"], msgspec.json.decode(body))
        if route == "GET /v1/servers":
            return 200, {"servers": [self.socket_url], "expires_in_seconds": 30}, {}
        return 404, {"code": "not_found", "detail": "there is no such thing"}, {}

    def _login(self, authorization: str, asked: Any) -> Answer:
        provider = identity_provider()
        try:
            verified = Verifier({provider.domain: provider.authority}, [self.api_url]).verify(
                authorization.removeprefix("BrowserID "), system_clock()
            )
        except LoginRefused as refused:
            return refused.status, {"code": refused.code, "detail": refused.detail}, {}
        name = verified.email.partition("@")[0]
        device = {"id": asked["device"]["id"] or f"device-of-{name}", "name": asked["device"]["name"]}
        token = f"token-{len(self.bodies('POST /v1/login'))}"
        return 201, {"token": token, "user": name, "device": device, "expires_at": "2099-01-01T00:00:00.000Z"}, {}

    # --- WebSocket ---------------------------------------------------------------------------------------------------

    async def take_socket(self, request: trio_websocket.WebSocketRequest) -> None:
        self.connections += 1
        if not self.scripts:
            await request.reject(503, extra_headers=[(b"Retry-After", b"7")], body=b"full")
            return
        script = self.scripts.pop(0)
        assert frames.SUBPROTOCOL in request.proposed_subprotocols
        socket = FakeSocket(await request.accept(subprotocol=frames.SUBPROTOCOL))
        try:
            await script(socket)
        except trio_websocket.ConnectionClosed as closed:
            self.crashes.append(f"the device closed too early: {closed.reason}")


@asynccontextmanager
async def open_fake_service() -> AsyncIterator[FakeService]:
    """A running one; what a script did not expect fails the test at the end."""
    service = FakeService()
    listeners = await open_listeners("127.0.0.1:0")
    service.api_url = f"http://{address_of(listeners)}"
    async with trio.open_nursery() as nursery:
        await nursery.start(HttpServer(service.app, Http()).serve, listeners)
        sockets = await nursery.start(trio_websocket.serve_websocket, service.take_socket, "127.0.0.1", 0, None)
        service.socket_url = f"ws://127.0.0.1:{sockets.port}/"
        yield service
        nursery.cancel_scope.cancel()
    assert not service.crashes, service.crashes


@asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    """Takes the upgrade and then neither reads nor writes: a frozen process, as TCP sees it."""

    async def freeze(stream: trio.SocketStream) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += await stream.receive_some()
        fields = dict(line.split(b": ", 1) for line in request.split(b"\r\n")[1:] if b": " in line)
        key = {name.lower(): value for name, value in fields.items()}[b"sec-websocket-key"]
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())  # noqa: S324
        answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        await stream.send_all(answer + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, freeze, 0, host="127.0.0.1"))
        listener: trio.SocketListener = listeners[0]
        yield f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/"
        nursery.cancel_scope.cancel()
