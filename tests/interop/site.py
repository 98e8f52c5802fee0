"""A site with a page that subscribes, and its sender: pywebpush, which sites use.

Owns: what the page's service worker told. Must not know: which push service it is.
"""

import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pywebpush
import trio
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from py_vapid import Vapid02

from pushctl.config.model import Http
from pushctl.http.asgi import Receive, Scope, Send, read_body, respond
from pushctl.http.server import HttpServer, address_of, open_listeners

PAGES = Path(__file__).with_name("pages")
KINDS = {".html": b"text/html", ".js": b"text/javascript"}
PATIENCE_SECONDS = 30

NOTHING = "(no data)"
"""What the worker says of a push without a body."""


class Site:
    def __init__(self) -> None:
        self.url = ""
        self.told: list[tuple[str, str]] = []
        self._told = trio.Event()
        self._key = ec.generate_private_key(ec.SECP256R1())

    # --- the page ----------------------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] == "/told":
            what, text = json.loads(await read_body(receive, 65_536))
            self.told.append((what, text))
            self._told.set()
            self._told = trio.Event()
            await respond(send, 200, [])
            return
        page = PAGES / (scope["path"].strip("/") or "index.html")
        if page.parent != PAGES or not page.exists():
            await respond(send, 404, [])
            return
        await respond(send, 200, [(b"content-type", KINDS[page.suffix])], page.read_bytes())

    async def until(self, truth: Callable[[list[tuple[str, str]]], bool]) -> None:
        """Until this is true of what was told."""
        with trio.fail_after(PATIENCE_SECONDS):
            while not truth(self.told):
                await self._told.wait()

    async def pushes(self, count: int) -> list[str]:
        """The texts of all pushes, once there are so many. Firefox decrypts several at a time: those that were sent
        soon after one another may come in another order."""
        await self.until(lambda told: sum(what == "push" for what, _ in told) >= count)
        return [text for what, text in self.told if what == "push"]

    # --- the sender --------------------------------------------------------------------------------------------------

    @property
    def public_key(self) -> str:
        """Its VAPID key, as pages give it to browsers."""
        point = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return base64.urlsafe_b64encode(point).decode().rstrip("=")

    async def send(
        self, subscription: dict[str, Any], text: str | None, *, signed: bool, encoding: str = "aes128gcm"
    ) -> int:
        """The push service's answer to a message for this subscription."""
        vapid = Vapid02(self._key) if signed else None
        push = partial(
            pywebpush.webpush,
            subscription,
            data=text,
            vapid_private_key=vapid,
            vapid_claims={"sub": "mailto:ops@site.example"} if signed else None,
            content_encoding=encoding,
            ttl=600,
        )
        try:
            answer = await trio.to_thread.run_sync(push)
        except pywebpush.WebPushException as refused:
            answer = refused.response
        return int(answer.status_code)


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    """Served for as long as the block lasts, from localhost: what browsers take for secure."""
    here = Site()
    async with trio.open_nursery() as nursery:
        listeners = await open_listeners("127.0.0.1:0")
        here.url = f"http://localhost:{address_of(listeners).rpartition(':')[2]}/"
        await nursery.start(HttpServer(here, Http()).serve, listeners)
        yield here
        nursery.cancel_scope.cancel()
