"""What a service manager is told (systemd: sd_notify(3)): ready, how it goes, reloading, stopping, and that it lives.

Owns: the messages, and when they are sent. Promises: without NOTIFY_SOCKET nothing is done; a service manager that does
not listen holds up nobody; WATCHDOG=1 comes at half the time it asks for, and only while /healthz of every role here
would say live, so a process whose event loop stands, or whose essential loops do, is restarted.
Must not know: what roles do; who sends the stop signal.

The protocol is one datagram of lines. Our own code: of the libraries for it, sdnotify has not been kept for years, and
systemd-python and cysystemd want a C compiler.
"""

import os
import time
from collections.abc import MutableMapping, Sequence
from typing import Final, Self

import msgspec
import trio

from pushctl.errors import PushctlError
from pushctl.log import get_logger
from pushctl.reasons import Reason
from pushctl.runtime import Role, Until

STATUS_SECONDS: Final = 10.0
"""Between two looks at whether the status line is still true."""

SEND_SECONDS: Final = 1.0
"""For the service manager to make room for a message; then it is dropped."""

MARGIN_SECONDS: Final = 10.0
"""A stop may take so much longer than the longest drain."""

_VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")

log = get_logger(part="supervision")


class Supervisor(msgspec.Struct, frozen=True):
    """Who is told. `address`: of a Unix datagram socket; None: nobody. `watchdog_seconds`: it wants to hear that often
    that we live; None: it does not care."""

    address: bytes | None
    watchdog_seconds: float | None = None

    @classmethod
    def of(cls, environ: MutableMapping[str, str]) -> Self:
        """As a service manager tells its children; what it said is removed, for it is not meant for ours."""
        address, usec, pid = (environ.pop(name, "") for name in _VARIABLES)
        if not address.startswith(("/", "@")):
            return cls(None)  # none, or a kind of address (vsock:) that only whole machines use
        watched = usec.isdecimal() and int(usec) > 0 and pid in ("", str(os.getpid()))
        spelled = b"\0" + os.fsencode(address[1:]) if address.startswith("@") else os.fsencode(address)
        return cls(spelled, int(usec) / 1e6 if watched else None)

    async def tell(self, *lines: str) -> None:
        """Send one message. One that does not arrive is logged, once it cannot."""
        if self.address is None:
            return
        with trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_DGRAM | trio.socket.SOCK_CLOEXEC) as socket:
            with trio.move_on_after(SEND_SECONDS) as patience:
                try:
                    await socket.sendto("\n".join(lines).encode(), self.address)
                except OSError as error:
                    log.warning("service_manager_deaf", detail=error.strerror or str(error))
            if patience.cancelled_caught:
                log.warning("service_manager_deaf", detail="it makes no room for messages")


class Supervision:
    """Of the roles in one process. `run` it in a nursery; say `is_ready` once they are."""

    def __init__(self, supervisor: Supervisor, roles: Sequence[Role]) -> None:
        """`roles`: looked at anew each time."""
        self._supervisor = supervisor
        self._roles = roles
        self._words = "ready"
        self._ready = trio.Event()
        self._stopping = False

    def is_ready(self, words: str) -> None:
        """All can serve. `words`: what its status line says while all is well."""
        self._words = f"ready, {words}"
        self._ready.set()

    async def run(self, stop: Until) -> None:
        """Until cancelled. `stop` returns when the process is told to end."""
        if self._supervisor.address is None:
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._say_stopping, stop)
            await self._ready.wait()
            await self._supervisor.tell("READY=1", f"STATUS={self._words}")
            nursery.start_soon(self._keep_status, stop)
            if self._supervisor.watchdog_seconds is not None:
                nursery.start_soon(self._say_alive, self._supervisor.watchdog_seconds / 2)

    async def reloading(self) -> None:
        """Files are about to be read again; `reloaded` follows."""
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        await self._supervisor.tell("RELOADING=1", f"MONOTONIC_USEC={now_us}", "STATUS=reading files again")

    async def reloaded(self) -> None:
        await self._supervisor.tell("READY=1", f"STATUS={self._words}")

    async def _say_stopping(self, stop: Until) -> None:
        await stop()
        self._stopping = True
        seconds = max((role.drain_seconds for role in self._roles), default=0) + MARGIN_SECONDS
        # A drain may be longer than the service manager's own patience (TimeoutStopSec).
        extended = f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}"
        await self._supervisor.tell("STOPPING=1", f"STATUS=draining, for {seconds:g} s at most", extended)

    async def _say_alive(self, seconds: float) -> None:
        while True:
            # As /healthz: a stop has its own bound, and ends loops one by one.
            roles = () if self._stopping else self._roles
            stuck = [reason for role in roles for reason in role.health.liveness.stuck()]
            if stuck:
                log.error("watchdog_not_fed", detail="; ".join(map(str, stuck)))
            else:
                await self._supervisor.tell("WATCHDOG=1")
            await trio.sleep(seconds)

    async def _keep_status(self, stop: Until) -> None:
        """Have the status line say why it is not ready, while it is not."""
        said = self._words
        async with trio.open_nursery() as nursery:

            async def until_stopped() -> None:
                await stop()
                nursery.cancel_scope.cancel()

            nursery.start_soon(until_stopped)
            while True:
                await trio.sleep(STATUS_SECONDS)
                reasons = [f"not ready: {reason}" for role in self._roles for reason in await _not_ready(role)]
                words = "; ".join(dict.fromkeys(reasons)) or self._words
                if words != said:
                    said = words
                    await self._supervisor.tell(f"STATUS={words}")


async def _not_ready(role: Role) -> list[Reason]:
    try:
        return [*await role.not_ready(), *role.health.own()]
    except PushctlError:
        return []  # it may be well again at the next look
