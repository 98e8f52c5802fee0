"""A WebDriver BiDi client: commands out, results in, over one WebSocket.

Owns: matching results to commands. Must not know: which browser it is.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import trio
import trio_websocket

COMMAND_SECONDS = 30


class Refused(Exception):
    """The browser answered with an error."""


class BiDi:
    def __init__(self, websocket: trio_websocket.WebSocketConnection) -> None:
        self._websocket = websocket
        self._numbers = count(1)
        self.context = ""

    async def ask(self, method: str, **params: Any) -> Any:
        """The result of a command. Raises Refused."""
        number = next(self._numbers)
        with trio.fail_after(COMMAND_SECONDS):
            await self._websocket.send_message(json.dumps({"id": number, "method": method, "params": params}))
            while (answer := json.loads(await self._websocket.get_message())).get("id") != number:
                pass
        if answer["type"] == "error":
            raise Refused(f"{method}: {answer['error']}: {answer['message']}")
        return answer["result"]

    async def open(self, url: str) -> None:
        await self.ask("browsingContext.navigate", context=self.context, url=url, wait="complete")

    async def evaluate(self, expression: str) -> Any:
        """What an expression comes to in the page, once its promise is kept; by way of JSON. Raises Refused."""
        found = await self.ask(
            "script.evaluate",
            expression=f"(async () => JSON.stringify(await ({expression}) ?? null))()",
            target={"context": self.context},
            awaitPromise=True,
        )
        if found["type"] != "success":
            raise Refused(found["exceptionDetails"]["text"])
        return json.loads(found["result"]["value"])

    async def until_page_says(self, words: str) -> None:
        """Until these stand in the page."""
        with trio.fail_after(COMMAND_SECONDS):
            await self.evaluate(
                f"""new Promise((found) => {{
                    const look = () => document.body.innerText.includes({json.dumps(words)}) && found(true);
                    new MutationObserver(look).observe(document.body, {{ childList: true, subtree: true }});
                    look();
                }})"""
            )


@asynccontextmanager
async def bidi(port: int) -> AsyncIterator[BiDi]:
    """A session with the browser that listens on this port of 127.0.0.1."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream, trio.open_nursery() as nursery:
        websocket = await trio_websocket.wrap_client_stream(nursery, stream, f"127.0.0.1:{port}", "/session")
        client = BiDi(websocket)
        await client.ask("session.new", capabilities={})
        client.context = (await client.ask("browsingContext.getTree"))["contexts"][0]["context"]
        yield client
        nursery.cancel_scope.cancel()
