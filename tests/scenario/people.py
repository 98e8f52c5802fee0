"""People and devices as raw as the protocol allows: plain HTTP and WebSocket text frames, nothing of our client.

So these tests hold the servers to the contract, not to whatever our own client happens to accept.
"""

import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import httpx
import trio
import trio_websocket

from pushctl.clock import system_clock
from pushctl.identity.browserid_make import make_assertion, make_bundle, make_key, public_key_json
from pushctl.ids import UserId
from pushctl.testing.service import Running

Frame = dict[str, Any]
PATIENCE_SECONDS = 10


@cache
def user_key() -> Any:
    """One key for everybody in the tests: making one costs 60 ms."""
    return make_key()


class Closed(Exception):
    def __init__(self, code: int, reason: str | None) -> None:
        super().__init__(f"closed {code} {reason}")
        self.code = code


class Socket:
    """An open connection to a socket server. Everything received is kept in `frames`."""

    def __init__(self, websocket: trio_websocket.WebSocketConnection) -> None:
        self.websocket = websocket
        self.frames: list[Frame] = []

    async def send(self, frame: Frame | str | bytes) -> None:
        await self.websocket.send_message(json.dumps(frame) if isinstance(frame, dict) else frame)

    async def receive(self) -> Frame:
        """The next frame. Raises Closed."""
        with trio.fail_after(PATIENCE_SECONDS):
            try:
                frame: Frame = json.loads(await self.websocket.get_message())
            except trio_websocket.ConnectionClosed as closed:
                reason = closed.reason
                raise Closed(reason.code if reason else 1006, reason.reason if reason else None) from None
        self.frames.append(frame)
        return frame

    async def until(self, kind: str) -> Frame:
        """Read on to the next frame of this type."""
        while (frame := await self.receive())["type"] != kind:
            pass
        return frame

    async def synced(self) -> list[Frame]:
        """All sync frames up to the last."""
        pages = [await self.until("sync")]
        while not pages[-1]["done"]:
            pages.append(await self.until("sync"))
        return pages

    async def close_code(self) -> int:
        """Read until the server closes; the code."""
        try:
            while True:
                await self.receive()
        except Closed as closed:
            return closed.code

    async def silent(self, seconds: float = 0.3) -> bool:
        """Whether nothing comes for a moment. For what must never come; not for waiting."""
        with trio.move_on_after(seconds):
            await self.receive()
            return False
        return True


class Person:
    """A device of a user, logged in."""

    def __init__(self, service: Running, http: httpx.AsyncClient, login: Frame) -> None:
        self._service = service
        self._http = http
        self.token: str = login["token"]
        self.user: UserId = login["user"]
        self.device: str = login["device"]["id"]

    async def ask(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """A request to the client API with this session."""
        headers = {"Authorization": f"Bearer {self.token}"} | options.pop("headers", {})
        return await self._http.request(method, self._service.api + path, json=body, headers=headers, **options)

    async def allow(self, site: str = "https://news.example", icon: str | None = None) -> Frame:
        answer = await self.ask("POST", "/v1/push-urls", {"site": site, "icon": icon})
        assert answer.status_code in (200, 201), answer.text
        push_url: Frame = answer.json()
        return push_url

    async def unread(self) -> list[Frame]:
        messages: list[Frame] = (await self.ask("GET", "/v1/messages")).json()["messages"]
        return messages

    @asynccontextmanager
    async def connected(
        self, server: str = "s1", *, cursor: str | None = None, hello: Frame | None = None
    ) -> AsyncIterator[Socket]:
        """An open connection that has said hello. Frames are not read yet."""
        async with raw_socket(self._service.sockets[server]) as socket:
            await socket.send({"type": "hello", "token": self.token, "cursor": cursor} | (hello or {}))
            yield socket


@asynccontextmanager
async def raw_socket(url: str, subprotocols: list[str] | None = None) -> AsyncIterator[Socket]:
    """A WebSocket that has said nothing. Dropped without ceremony at the end."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    # A stream of our own: the library leaves it open when the server closed first.
    async with await trio.open_tcp_stream(parts.hostname, parts.port) as stream, trio.open_nursery() as nursery:
        offered = ["pushctl.v1"] if subprotocols is None else subprotocols
        websocket = await trio_websocket.wrap_client_stream(
            nursery, stream, parts.netloc, parts.path, subprotocols=offered
        )
        yield Socket(websocket)
        nursery.cancel_scope.cancel()


class Town:
    """A running service and whoever uses it."""

    def __init__(self, service: Running, http: httpx.AsyncClient, *, public_url: str = "") -> None:
        """`public_url`: what assertions are for, where the api is one of several behind it."""
        self.service = service
        self.http = http
        self.public_url = public_url or service.api

    async def bundle(self, name: str) -> str:
        """A fresh backed assertion for `<name>@dev-idp.localhost`."""
        answer = await self.http.post(
            f"{self.service.api}/dev/browserid/certificate",
            json={
                "email": f"{name}@dev-idp.localhost",
                "public_key": public_key_json(user_key()),
                "duration_seconds": 3600,
            },
            headers={"X-Pushctl-Dev": "1"},
        )
        assert answer.status_code == 200, answer.text
        # Two that are made in the same millisecond would be one and the same, and the second a replay.
        expires_at_ms = system_clock() + 120_000 - random.randrange(60_000)
        assertion = make_assertion(user_key(), audience=self.public_url, expires_at_ms=expires_at_ms)
        return make_bundle(answer.json()["certificate"], assertion)

    async def ask_to_log_in(self, name: str, device: str | None = None) -> httpx.Response:
        return await self.http.post(
            f"{self.service.api}/v1/login",
            json={"device": {"name": f"{name}'s", "id": device}},
            headers={"Authorization": f"BrowserID {await self.bundle(name)}"},
        )

    async def login(self, name: str, device: str | None = None) -> Person:
        answer = await self.ask_to_log_in(name, device)
        assert answer.status_code == 201, answer.text
        return Person(self.service, self.http, answer.json())

    async def push(self, url: str, body: Any, **headers: str) -> httpx.Response:
        """A third party's POST; header names with _ for -."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.post(url, json=body, headers=named)


async def eventually(truth: Callable[[], Any]) -> Any:
    """What `truth` awaits, once it is true: for effects that come through a hint or a loop of the service."""
    with trio.fail_after(PATIENCE_SECONDS):
        while not (found := await truth()):  # noqa: ASYNC110 - nobody here can be told
            await trio.sleep(0.02)
    return found
