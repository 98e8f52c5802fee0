"""A small TCP proxy that cuts, holds back or loses what goes through it.

Promises: what TCP promises, and no more. Nothing ever goes missing from the middle of a stream: a connection that lost
something is dead from then on, in that direction, and its ends have to find out by themselves.
Must not know: what the bytes say, beyond one word by which connections can be told apart.
"""

import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from enum import Enum
from functools import partial

import trio

CHUNK_BYTES = 65_536

Dial = Callable[[], Awaitable[trio.SocketStream]]


class Mode(Enum):
    """What is done to connections, those that are open and those that come while it lasts."""

    PASS = "pass"
    DROP = "drop"
    """Nothing arrives any more, in either direction, and nobody is told: for good."""
    ANSWERS_LOST = "answers lost"
    """What the near end says arrives; what it is told does not: for good."""
    DELAY = "delay"
    """Everything arrives `delay_seconds` late, or a little more."""
    HALF_OPEN = "half-open"
    """The far end is closed, and the near end is not told."""
    RESET = "reset"
    """Both ends are reset."""


class _Link:
    """A connection through the proxy. `near`: who dialled; `far`: whom they meant."""

    def __init__(self, proxy: "Proxy", near: trio.SocketStream, far: trio.SocketStream) -> None:
        self._proxy = proxy
        self._near = near
        self._far = far
        self._lost = {near: False, far: False}
        """What comes from there goes nowhere any more."""
        self.meant = proxy.word == b""

    async def run(self) -> None:
        async with self._near, self._far, trio.open_nursery() as nursery:
            nursery.start_soon(self._pump, self._near, self._far, nursery.cancel_scope)
            nursery.start_soon(self._pump, self._far, self._near, nursery.cancel_scope)

    async def _pump(self, source: trio.SocketStream, sink: trio.SocketStream, both: trio.CancelScope) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while chunk := await source.receive_some(CHUNK_BYTES):
                self._look_for_word(chunk)
                if self._proxy.mode is Mode.DELAY:
                    await trio.sleep(self._proxy.delay_seconds)
                if self.meant and (self._proxy.deaf if source is self._far else self._proxy.mute):
                    self._lost[source] = True
                if not self._lost[source]:
                    await sink.send_all(chunk)
        if not self._lost[source]:
            both.cancel()

    def _look_for_word(self, chunk: bytes | bytearray) -> None:
        if not self.meant and self._proxy.word in bytes(chunk):
            self.meant = True
            self._proxy.connections += 1

    async def suffer(self, mode: Mode) -> None:
        if mode in (Mode.DROP, Mode.HALF_OPEN):
            self._lost = {self._near: True, self._far: True}
        if mode is Mode.ANSWERS_LOST:
            self._lost[self._far] = True
        if mode is Mode.HALF_OPEN:
            await trio.aclose_forcefully(self._far)
        if mode is Mode.RESET:
            for stream in (self._near, self._far):
                await reset(stream)


class Proxy:
    """Forwards bytes from where it listens to what `dial` opens.

    While `deaf` is set, connections that ever said `word` hear nothing; while `mute` is set, nothing that they say
    arrives; everything else goes on. `connections` counts those that said it. `strike` and `heal` are for all.
    """

    def __init__(self, dial: Dial, word: bytes = b"") -> None:
        self._dial = dial
        self.word = word
        self.deaf = False
        self.mute = False
        self.mode = Mode.PASS
        self.delay_seconds = 0.2
        self.port = 0
        self.connections = 0
        self._links: set[_Link] = set()

    @property
    def url(self) -> str:
        """For who wants Redis behind it."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def door(self) -> str:
        """For devices that want a socket server behind it."""
        return f"ws://127.0.0.1:{self.port}/"

    async def strike(self, mode: Mode) -> None:
        self.mode = mode
        for link in list(self._links):
            await link.suffer(mode)

    def heal(self) -> None:
        """Connections that come from now on are whole; so are those that only were delayed."""
        self.mode = Mode.PASS

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen on `port`, 0 picks one, until cancelled."""
        (listener,) = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._serve, [listener])

    async def _serve(self, near: trio.SocketStream) -> None:
        if self.mode is Mode.RESET:
            await reset(near)
            return
        try:
            far = await self._dial()
        except OSError:
            await reset(near)
            return
        link = _Link(self, near, far)
        self._links.add(link)
        try:
            await link.suffer(self.mode)
            await link.run()
        finally:
            self._links.discard(link)


async def reset(stream: trio.SocketStream) -> None:
    """Close with RST: the peer's next look at it is an error."""
    with suppress(trio.ClosedResourceError, OSError):
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await trio.aclose_forcefully(stream)


@asynccontextmanager
async def proxy(target: str, word: bytes = b"SUBSCRIBE") -> AsyncIterator[Proxy]:
    """A proxy to the Redis at this Unix socket."""
    running = Proxy(partial(trio.open_unix_socket, target), word)
    async with trio.open_nursery() as nursery:
        await nursery.start(running.run)
        yield running
        nursery.cancel_scope.cancel()
