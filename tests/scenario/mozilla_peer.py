"""A browser as small as Mozilla's protocol allows: JSON in text frames, nothing of our own code.

So these tests hold the servers to what Firefox sends and expects (docs/protocol.md, section 5).
"""

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from tests.scenario.people import Closed, Frame, Socket, raw_socket

FIREFOX = ("push-notification",)


class Talk(Socket):
    """One connection of a browser. All that came is in `frames`, also while something else was waited for."""

    async def reply(self, kind: str) -> Frame:
        """The next frame of this messageType, as Firefox picks it out among notifications."""
        while (frame := await self.receive()).get("messageType") != kind:
            pass
        return frame

    async def ask(self, frame: Frame) -> Frame:
        await self.send(frame)
        return await self.reply(frame["messageType"])

    async def hello(self, uaid: str | None = None, **more: Any) -> Frame:
        known = {} if uaid is None else {"uaid": uaid}
        return await self.ask({"messageType": "hello", "broadcasts": {}, "use_webpush": True} | known | more)

    async def register(self, channel: str, **more: Any) -> Frame:
        return await self.ask({"messageType": "register", "channelID": channel} | more)

    async def unregister(self, channel: str) -> Frame:
        return await self.ask({"messageType": "unregister", "channelID": channel, "code": 200})

    async def notification(self) -> Frame:
        return await self.reply("notification")

    async def notifications(self, count: int) -> list[Frame]:
        return [await self.notification() for _ in range(count)]

    async def ack(self, *notifications: Frame, code: int = 100) -> None:
        updates = [{"channelID": each["channelID"], "version": each["version"], "code": code} for each in notifications]
        await self.send({"messageType": "ack", "updates": updates})

    async def ping(self) -> None:
        """`{}`, and its answer: all that was said before has been done then."""
        await self.send("{}")
        while await self.receive() != {}:
            pass


def new_channel() -> str:
    return str(uuid.uuid4())


class Browser:
    """A profile: what Firefox keeps over restarts."""

    def __init__(self, url: str) -> None:
        """`url`: of a socket server; may be changed."""
        self.url = url
        self.uaid: str | None = None
        self.endpoints: dict[str, str] = {}

    @asynccontextmanager
    async def connected(self, subprotocols: Sequence[str] = FIREFOX, **hello: Any) -> AsyncIterator[Talk]:
        """Having said hello, and heard the answer."""
        async with talk(self.url, subprotocols) as each:
            answer = await each.hello(self.uaid, **hello)
            self.uaid = answer["uaid"]
            yield each

    async def subscribe(self, on: Talk, **more: Any) -> str:
        """A channel of its own; the push URL."""
        channel = new_channel()
        answer = await on.register(channel, **more)
        assert answer["status"] == 200, answer
        self.endpoints[channel] = answer["pushEndpoint"]
        return str(answer["pushEndpoint"])


@asynccontextmanager
async def talk(url: str, subprotocols: Sequence[str] = FIREFOX) -> AsyncIterator[Talk]:
    """A connection that has said nothing."""
    async with raw_socket(url, list(subprotocols)) as socket:
        yield Talk(socket.websocket)


async def never_answered(url: str, uaid: str | None) -> int:
    """Say hello where nobody may answer; the close code."""
    async with talk(url) as socket:
        with trio.fail_after(10):
            try:
                answer = await socket.hello(uaid)
            except Closed as closed:
                return closed.code
    raise AssertionError(f"answered: {answer}")
