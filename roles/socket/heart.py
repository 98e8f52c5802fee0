"""A socket server's heartbeats, and what it may do between two of them.

Owns: the beat, the registry's time, and knowing whether this process ran. Promises: after a silence that others may
have taken for death its owner is told to look at everything; a process that did not run for so long is `absent`, and
stays so until it has asked whether another has its id.
Must not know: leases, connections.
"""

import math
import random
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from pushctl.errors import StoreUnavailable
from pushctl.liveness import Loop
from pushctl.registry.servers import HEARTBEAT_SECONDS, QUIET_MS

if TYPE_CHECKING:
    from roles.socket.serve import SocketRole

QUIET_SECONDS = QUIET_MS / 1000

LAST_BEATS = 8
"""A quarter of a minute: the quickest of them says best how late it is, and a clock that was set is soon followed."""


class Fenced(Exception):
    """A newer generation of this server's id has started: this one must stop at once."""


class Heart:
    def __init__(self, role: "SocketRole", *, after_silence: Callable[[], None]) -> None:
        """`after_silence`: called when heartbeats go on after a silence longer than QUIET_SECONDS."""
        self._role = role
        self._after_silence = after_silence
        self._beating = trio.CancelScope()
        self._registry_ahead_ms = 0.0
        self._last_ahead_ms: deque[float] = deque(maxlen=LAST_BEATS)
        self._least_ahead_ms = 0.0
        self._beaten_at = self._turned_at = math.inf  # not begun
        self._was_silent = self._absent = False
        self._back = trio.Event()
        self.loop = Loop("the heartbeat")

    async def beat_once(self) -> None:
        """Say that this server lives, and learn the registry's time. Raises Fenced, StoreUnavailable."""
        asked_at = trio.current_time()
        beat = await self._role.registry.servers.heartbeat(self._role.id, self._role.row())
        if beat is None:
            raise Fenced
        # Counted from the question: an answer may have been long on its way, or waited for us while we did not run.
        self._registry_ahead_ms = beat.now_ms - asked_at * 1000
        self._last_ahead_ms.append(self._registry_ahead_ms)
        self._least_ahead_ms = min(self._last_ahead_ms)
        self._note_silence(max(beat.silent_ms / 1000, asked_at - self._beaten_at))
        self._beaten_at = asked_at
        self._role.drainer.hear(beat.wish)
        self._role.broadcasts.hear(beat.broadcasts)

    def _note_silence(self, seconds: float) -> None:
        """After a silence leases may be gone, and hints with them. Once more a heartbeat later: a router that had not
        heard of the first may still have pruned."""
        was_silent, self._was_silent = self._was_silent, seconds > QUIET_SECONDS and self._beaten_at < math.inf
        if self._was_silent:
            self._role.log.warning("was_silent", seconds=round(seconds, 1))
        if was_silent or self._was_silent:
            self._after_silence()

    def registry_now_ms(self) -> float:
        """The registry's time or, by as much as the last heartbeat took, later: never earlier, or what must not come
        too late would."""
        return trio.current_time() * 1000 + self._registry_ahead_ms

    def registry_about_ms(self) -> float:
        """The registry's time, for measuring: by the quickest of the last heartbeats, so off by half its round trip."""
        return trio.current_time() * 1000 + self._least_ahead_ms

    async def beat(self) -> None:
        """Beat until cancelled or `stop_beating`. Raises Fenced."""
        with self._beating:
            while True:
                await trio.sleep(HEARTBEAT_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - jitter is no secret
                await self._beat_on()

    async def _beat_on(self) -> None:
        """One heartbeat, answered or not; another, if this process did not run meanwhile: that answer is old."""
        asked_at = -math.inf
        while trio.current_time() - asked_at > QUIET_SECONDS:
            self.loop.turn()
            asked_at = trio.current_time()
            try:
                await self.beat_once()
            except StoreUnavailable as error:
                self._role.log.warning("heartbeat_missed", detail=error.detail)
        self._turned_at = trio.current_time()
        if self._absent:
            self._absent = False
            self._back.set()
            self._back = trio.Event()

    def stop_beating(self) -> None:
        """A goodbye follows: no heartbeat may come after it."""
        self._beating.cancel()

    # --- not running -------------------------------------------------------------------------------------------------

    @property
    def absent(self) -> bool:
        """This process did not run for so long (it was stopped, or its machine was) that another may have its id by
        now, and has not asked since. Until then it sends, writes and believes nothing."""
        self._absent = self._absent or trio.current_time() - self._turned_at > QUIET_SECONDS
        return self._absent

    async def present(self) -> None:
        """Returns at once unless `absent`; else when a heartbeat was answered, or Redis is not there to ask."""
        while self.absent:
            await self._back.wait()

    def turn(self) -> None:
        """The event loop turns: called about every second."""
        if not self.absent:
            self._turned_at = trio.current_time()
