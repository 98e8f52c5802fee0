"""The server process: started so that it cannot outlive us, awaited, stopped.

Owns: one child process. Promises: it is gone when we are, however we end (on Linux); a clean stop waits for it.
Must not know: where its data comes from.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import trio

from pushctl.embedded.program import Server
from pushctl.errors import Failed
from pushctl.log import get_logger

log = get_logger()

_START_SECONDS = 30
_PROBE_SECONDS = 2
_STOP_SECONDS = 10

# The child asks to be told of our death, then makes sure that it did not happen before it asked. The signal follows the
# thread that forked, so that must be one that lives as long as the process: the main thread, not one of trio's workers.
# A small program before exec rather than Popen's preexec_fn, which runs Python in a fork of a process with threads.
_SHIM = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


class Child:
    """The server process. Its output is a pipe that says two things: why it did not start, and (its end) that it is
    gone."""

    def __init__(self, server: Server, arguments: Sequence[str], *, keep_open: int) -> None:
        assert threading.current_thread() is threading.main_thread(), "see _SHIM"
        reading, writing = os.pipe()
        shim = [sys.executable, "-I", "-S", "-c", _SHIM, str(os.getpid())]
        try:
            self._process = subprocess.Popen(
                [*shim, str(server.path), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                pass_fds=[keep_open],
                # A terminal's Ctrl-C goes to the whole group: it is for us, Redis is still needed while we drain.
                start_new_session=True,
                umask=0o077,
                env={name: value for name, value in os.environ.items() if not name.startswith("PUSHCTL_")},
            )
        finally:
            os.close(writing)
        self._output = trio.lowlevel.FdStream(reading)
        self._said = b""
        self._server = server

    @property
    def pid(self) -> int:
        return self._process.pid

    async def until_gone(self) -> None:
        """Return when the process is gone. One task at a time."""
        async for chunk in self._output:
            self._said = (self._said + chunk)[-2000:]

    async def until_it_answers(self, socket: Path) -> None:
        """Return when it takes commands, its data loaded."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._fail_when_gone)
            await _answers(socket)
            nursery.cancel_scope.cancel()

    async def _fail_when_gone(self) -> None:
        await self.until_gone()
        said = self._said.decode("utf-8", "replace").strip().splitlines()
        why = " ".join(said[-3:]) or "it said nothing, but its log may"
        raise Failed(f"the embedded {self._server} did not start: {why}")

    async def stop(self) -> None:
        """Ask it to end (it writes out what it has), insist after _STOP_SECONDS, return when it is gone."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with trio.move_on_after(_STOP_SECONDS) as bound:
                await self.until_gone()
            if bound.cancelled_caught:
                log.warning("redis_killed", pid=self.pid, after_seconds=_STOP_SECONDS)
                self._process.kill()
        self._process.wait()
        await self._output.aclose()


async def _answers(socket: Path) -> None:
    """Return when the server at `socket` answers PING. Loading may take as long as it takes, silence may not."""
    deadline = trio.current_time() + _START_SECONDS
    while trio.current_time() < deadline:
        answer = b""
        with suppress(OSError, trio.BrokenResourceError), trio.move_on_after(_PROBE_SECONDS):
            async with await trio.open_unix_socket(socket) as stream:
                await stream.send_all(b"PING\r\n")
                answer = await stream.receive_some(200)
        if answer.startswith(b"+PONG"):
            return
        if answer.startswith(b"-LOADING"):
            deadline = trio.current_time() + _START_SECONDS
        # Nothing tells us of a socket that begins to listen, so it is tried again and again.
        await trio.sleep(0.01)
    raise Failed(f"the embedded Redis at {socket} does not answer")
