"""What is written to one connection: frames, and before each the pings and pongs that are due.

Owns: the pulse, and what wakes the writer. Promises: while the writer waits for something else, pings and pongs are
written all the same. One task writes; anybody may wake it. Must not know: what frames say, how a connection ends.
"""

from typing import TYPE_CHECKING

import trio

from roles.socket.patience import Wait
from roles.socket.pulse import Pulse
from roles.socket.wire import Disconnected, Wire

if TYPE_CHECKING:
    from roles.socket.serve import SocketRole


class Voice:
    def __init__(self, role: "SocketRole", wire: Wire) -> None:
        self._role = role
        self._wire = wire
        self._woken = trio.Event()
        socket = role.config.socket
        self._pulse = Pulse(trio.current_time(), ping_seconds=socket.ping_seconds, pong_seconds=socket.pong_seconds)
        wire.on_pong_owed = self.wake
        wire.on_pong = self._pulse.ponged

    def wake(self) -> None:
        """Something has come that the writer may have to do."""
        self._woken.set()

    async def _wait(self) -> None:
        """Until something happened since the last look: hints, pings and endings all wake."""
        await self._woken.wait()
        self._woken = trio.Event()

    async def _send(self, frame: bytes) -> None:
        """Send one frame, and first what is due of pings and pongs."""
        await self._role.present()
        await self._keep_alive()
        await self._wire.send(frame)
        self._role.frames_written += 1

    async def _keep_alive(self) -> None:
        if self._wire.owes_pong:
            await self._wire.pong()
        if self._pulse.ping_due:
            self._pulse.pinged(trio.current_time())
            await self._wire.ping()

    async def _ping_meanwhile(self, wait: Wait) -> None:
        """Write pings and pongs that are due while something is waited for: nobody else writes them, and the device
        must not take us for dead. Raises Disconnected."""
        over = False
        gone: Disconnected | None = None

        async def watch() -> None:
            nonlocal over
            await wait()
            over = True
            self.wake()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            try:
                while not over:
                    await self._keep_alive()
                    await self._wait()
            except Disconnected as error:
                gone = error
                nursery.cancel_scope.cancel()
        if gone is not None:
            raise gone
