"""The library trio-websocket on a socket server, as others' clients are (tests/interop/websocket)."""

import json

import httpx
import trio
import trio_websocket

from pushctl.config.model import Config
from pushctl.testing.service import running
from tests.scenario.people import Person, Socket, Town

PATIENCE_SECONDS = 30


def ping_of(size: int) -> str:
    frame = json.dumps({"type": "ping", "x": ""}, separators=(",", ":"))
    return frame.replace('""', f'"{"*" * (size - len(frame))}"')


async def ended(socket: Socket) -> tuple[int, str | None]:
    """By whom it was closed does not matter: the code and the reason that the server's Close has."""
    code = await socket.close_code()
    reason = socket.websocket.closed
    assert isinstance(reason, trio_websocket.CloseReason)
    return code, reason.reason


async def test_trio_websocket_talks_pings_closes_and_is_closed(config: Config) -> None:
    async with running(config, sockets=1, without=("router", "gc")) as service, httpx.AsyncClient() as http:
        person = await Town(service, http).login("ada")
        with trio.fail_after(PATIENCE_SECONDS):
            await talk(person)
            for code in (1000, 4999):
                async with person.connected() as socket:
                    await socket.synced()
                    await socket.websocket.aclose(code, "grüße")
                    assert (await ended(socket))[0] == code
            for wrong, code in (("", 4502), ("x" * 65_537, 1009)):
                async with person.connected() as socket:
                    await socket.synced()
                    await socket.send(wrong)
                    assert (await ended(socket))[0] == code


async def talk(person: Person) -> None:
    async with person.connected() as socket:
        await socket.synced()
        for size in (25, 125, 126, 127, 65_535, 65_536):
            await socket.send(ping_of(size))
            await socket.until("pong")
        for payload in (b"!", b"x" * 125):
            await socket.websocket.ping(payload)
        assert socket.websocket.subprotocol == "pushctl.v1"
