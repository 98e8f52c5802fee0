"""socket.io with its Redis streams adapter and connection state recovery, behind the little application that it needs
(socketio_server/server.mjs)."""

import json
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from tests.benchmarks.peer import MARK, Heard, Peer, Running, TextDialect
from tests.benchmarks.peer.parts import OverHttp, Server, ending
from tests.benchmarks.rig import folder, one_redis, version
from tests.interop.npm import installed
from tests.processes import free_port

NODE = shutil.which("node") or "/usr/bin/node"
NPM = shutil.which("npm") or "/usr/bin/npm"
APPLICATION = Path(__file__).with_name("socketio_server")

_OFFSET = re.compile(rb'"(\d+-\d+)"\]$')


class Dialect(TextDialect):
    """Its place is the id of its session and the offset of its last message."""

    greets = True

    def __init__(self, device: int) -> None:
        self._path = f"/socket.io/?EIO=4&transport=websocket&device={device}"
        self._session = ""
        self._offset = ""

    def request(self) -> tuple[str, str | None]:
        return self._path, None

    def hello(self) -> list[bytes]:
        return []

    def hears(self, payload: bytes) -> Heard:
        if payload == b"2":
            return Heard(answers=[b"3"])
        if payload.startswith(b"0"):
            place = {"pid": self._session, "offset": self._offset}
            return Heard(answers=[b"40" + (json.dumps(place).encode() if self._session else b"")])
        if payload.startswith(b"40"):
            self._session = json.loads(payload[2:]).get("pid", "")
            return Heard(ready=True)
        offset = _OFFSET.search(payload)
        if offset:
            self._offset = offset[1].decode()
        return Heard([int(number) for number in MARK.findall(payload)])


class SocketIo(OverHttp):
    def dialect(self, device: int) -> Dialect:
        return Dialect(device)


@asynccontextmanager
async def _running(devices: int) -> AsyncIterator[Running]:
    installed(APPLICATION)
    with ExitStack() as stack:
        redis = stack.enter_context(one_redis())
        here = stack.enter_context(folder())
        port = free_port()
        environment = os.environ | {"PORT": str(port), "REDIS": redis.url, "NODE_ENV": "production"}
        command = [NODE, str(APPLICATION / "server.mjs")]
        server = stack.enter_context(ending(Server(command, port, here / "log", environment)))
        await server.start()
        named = json.loads((APPLICATION / "package.json").read_text())["dependencies"]["socket.io"]
        yield SocketIo("node", server, redis, port=port, version=f"socket.io {named} with {version(redis)}")


PEER = Peer(
    "socket.io",
    {NODE: "nodejs", NPM: "npm"},
    {
        "confirmed means": "sent to Redis; whether it came there nobody is told",
        "for a user who is away": "in one stream for all, 10,000 messages, for 2 minutes",
        "comes back": "what it missed, unless its server died under it, or nothing had come to it before",
        "read on one device": "an application may tell the others",
        "who may publish": "what an application says",
        "who may listen": "what an application says",
        "a sender can ask": "an application may have devices answer",
    },
    _running,
)
