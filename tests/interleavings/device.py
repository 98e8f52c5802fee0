"""A device at the edge of the world: what a socket server would write to its socket, it keeps.

Everything but the WebSocket is real: the connection, its tail, the hub.
"""

import math
from contextvars import Context, copy_context
from typing import TYPE_CHECKING

import trio

from pushctl.protocol import frames
from roles.socket.connection import Connection
from roles.socket.pulse import Pulse
from roles.socket.wire import Disconnected, Wire

if TYPE_CHECKING:
    from pushctl.inbox import Session
    from roles.socket.serve import SocketRole


A_MOMENT = 0.002
"""Between two looks at what Redis has to bring about."""


class Pipe(Wire):
    """The seam to a WebSocket, without one: text in, frames out."""

    def __init__(self, told: list[frames.ServerFrame]) -> None:
        self._told = told
        self._said, self._hears = trio.open_memory_channel[str](math.inf)
        self._ponged = trio.Event()
        self._gone = False
        self.pulse = Pulse(trio.current_time(), ping_seconds=math.inf, pong_seconds=math.inf)

    async def receive(self) -> str:
        try:
            return await self._hears.receive()
        except trio.EndOfChannel:
            raise Disconnected(1000) from None

    def interrupt(self) -> None:
        self._said.close()

    @property
    def busy(self) -> bool:
        return False

    @property
    def owes_pong(self) -> bool:
        return False

    def write(self, *messages: bytes) -> None:
        for message in messages:
            self._hear(message)

    def write_ping(self) -> None:
        self.pulse.ponged()

    async def send(self, frame: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self._hear(frame)

    def _hear(self, frame: bytes) -> None:
        if self._gone:
            raise Disconnected(1000)
        decoded = frames.decode_server_frame(frame)
        assert decoded is not None
        if isinstance(decoded, frames.Pong):
            self._ponged.set()
        else:
            self._told.append(decoded)

    async def ping(self) -> None:
        await trio.lowlevel.checkpoint()
        self.pulse.ponged()

    async def close(self, code: int, reason: str, *, by: float = math.inf) -> None:
        await trio.lowlevel.checkpoint()
        self.drop()

    def drop(self) -> None:
        self._gone = True
        self._said.close()

    async def ask(self) -> None:
        """Say ping; returns with the pong."""
        self._ponged = trio.Event()
        self._said.send_nowait('{"type":"ping"}')
        await self._ponged.wait()


def _in_one_context(kind: type[Connection]) -> type["Placed"]:
    """Whose writer passes the points of whoever said hello, whoever woke it."""

    class InOneContext(kind):  # type: ignore[misc,valid-type]  # any connection
        context: Context

        def _begin_writing(self) -> None:
            self.context.run(super()._begin_writing)

    return InOneContext


class Placed(Connection):
    context: Context


class Device:
    """A device of a user, over all its connections. `told`: every frame it was sent, pongs apart."""

    def __init__(self, session: "Session") -> None:
        self.id = session.device
        self._session = session
        self._pipe = Pipe([])
        self.told: list[frames.ServerFrame] = []
        self.over = trio.Event()

    def dial(self, server: "SocketRole", cursor: str | None, kind: type[Connection] = Connection) -> None:
        """A connection that has said hello, with a session that was found."""
        self._pipe = Pipe(self.told)
        self._connection = _in_one_context(kind)(server, self._pipe, self._session, frames.Hello("", cursor))
        self.over = trio.Event()

    async def stay(self) -> None:
        """Until the connection is over."""
        self._connection.context = copy_context()
        await self._connection.run()
        self.over.set()

    def hang_up(self) -> None:
        self._pipe.drop()

    async def settled(self) -> None:
        """Until the server has nothing more to say: nothing came between two pongs, and the tail waits for nothing."""
        said = -1
        tail = self._connection.tail
        while said != len(self.told) or tail.behind or tail.has_hole():
            said = len(self.told)
            await self._pipe.ask()
            if tail.behind or tail.has_hole():
                await trio.sleep(A_MOMENT)  # for Redis, which has other orders to serve, and needs a CPU for that

    # --- what it knows -----------------------------------------------------------------------------------------------

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What it learnt of messages, in the order in which it did: ("message", id) or ("read", id)."""
        learnt: list[tuple[str, str]] = []
        for frame in self.told:
            if isinstance(frame, frames.SnapshotFrame):
                learnt += [("message", message.id) for message in frame.messages]
            for event in frame.events if isinstance(frame, frames.DeltaFrame) else [frame]:
                if isinstance(event, frames.MessageEvent):
                    learnt.append(("message", event.message.id))
                elif isinstance(event, frames.ReadEvent):
                    learnt += [("read", message_id) for message_id in event.ids]
        return learnt

    @property
    def cursor(self) -> str | None:
        """The last one it was told."""
        cursors: list[str | None] = [getattr(frame, "cursor", None) for frame in self.told]
        return next((cursor for cursor in reversed(cursors) if cursor), None)
