"""What is written to one connection: frames, and before each the pings and pongs that are due.

Owns: who writes. What is ready and what the kernel takes at once is written by whoever brings it (`_may_write_now`);
for all else there is the writer, a task that lives as long as it has something to do or to wait for: a connection that
says nothing has none. Promises: one of them writes at a time, so frames never mix; while the writer waits for the
registry, pings, pongs and all that stands beside the log are written all the same. A ping that the kernel takes at once
waits for no writer at all (`_may_interject`). Anybody may wake it.
Must not know: what frames say, how a connection ends.
"""

from typing import TYPE_CHECKING

import trio

from roles.socket.patience import Wait
from roles.socket.wire import Disconnected, Wire

if TYPE_CHECKING:
    from roles.socket.serve import SocketRole


class Voice:
    __slots__ = ("_greeted", "_is_held", "_more", "_role", "_wire", "_woken", "_writing")

    def __init__(self, role: "SocketRole", wire: Wire) -> None:
        self._role = role
        self._wire = wire
        self._is_held = False
        """From the moment it is, it may be written to."""
        self._greeted = False
        """The first frame was written, or is being written."""
        self._writing = False
        """There is a writer."""
        self._more = False
        """Something has come since it looked last."""
        self._woken: trio.Event | None = None
        """While it waits for something to come."""

    def wake(self) -> None:
        """Something has come that the writer may have to do."""
        self._more = True
        if self._woken is not None:
            self._woken.set()
        elif self._is_held and not self._writing:
            self._writing = True
            self._begin_writing()

    def _begin_writing(self) -> None:
        self._role.spawn(self._write)

    async def _write(self) -> None:
        """All that there is to do. Then `_writing` is over; raises nothing."""
        raise NotImplementedError

    async def _write_aside(self) -> bool:
        """The writer: what is due beside the log, and waits for nobody; False if nothing is. Raises Disconnected."""
        raise NotImplementedError

    async def _wait(self) -> None:
        """The writer: until something happened since the last look. Hints, pings and endings all wake."""
        if not self._more:
            self._woken = trio.Event()
            try:
                await self._woken.wait()
            finally:
                self._woken = None
        self._more = False

    @property
    def _may_write_now(self) -> bool:
        """Without the writer: nothing is on its way that has to go first."""
        return not self._writing and self._may_interject

    @property
    def _may_interject(self) -> bool:
        """Between two frames, whoever writes them: what has no place among them."""
        return self._greeted and not self._wire.busy and not self._role.heart.absent

    def _write_now(self, *frames: bytes) -> None:
        """One behind the other, in one call. Raises Disconnected."""
        self._wire.write(*frames)
        self._role.frames_written += len(frames)

    async def _send(self, frame: bytes) -> None:
        """The writer: send one frame, and first what is due of pings and pongs."""
        if self._role.heart.absent:
            await self._role.present()
        await self._keep_alive()
        await self._wire.send(frame)
        self._role.frames_written += 1

    async def _keep_alive(self) -> None:
        if self._wire.busy:
            await self._wire.flush()
        if self._wire.owes_pong:
            await self._wire.pong()
        if self._wire.pulse.ping_due:
            self._pinged()
            await self._wire.ping()

    def _pinged(self) -> None:
        """A ping is about to be written."""
        self._wire.pulse.pinged(trio.current_time())

    async def _write_meanwhile(self, wait: Wait) -> None:
        """While something is waited for, write what does not depend on it: nobody else does, and the peer must not take
        us for dead. Raises Disconnected."""
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
                    if not await self._write_aside():
                        await self._wait()
            except Disconnected as error:
                gone = error
                nursery.cancel_scope.cancel()
        if gone is not None:
            raise gone
