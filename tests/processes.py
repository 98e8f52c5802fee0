"""Processes of the tests' own: they end when the tests do, and have ports that nobody else is given meanwhile.

Promises: a command started with `dying_with_us` is killed by the kernel (on Linux) when this process ends, however it
ends, frozen or not. Must not know: what is run.
"""

import os
import random
import socket
import sys
import threading
from collections.abc import Sequence

PORTS = range(12_000, 22_000)
"""Below every port the kernel hands out by itself, and so are those 10,000 higher (buses of a Redis Cluster)."""

# The kernel kills the child when we die, so that not even a killed or frozen test run leaves one behind. The signal
# follows the thread that forked, so that must be one that lives as long as the process: the main thread.
_SHIM = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


def dying_with_us(command: Sequence[str]) -> list[str]:
    """What to start instead of this command, whose first part is a path. Only in the main thread."""
    assert threading.current_thread() is threading.main_thread(), "see _SHIM"
    return [sys.executable, "-I", "-S", "-c", _SHIM, str(os.getpid()), *command]


_given: set[int] = set()


def free_port() -> int:
    """A port on which nobody listens, nor on the one 10,000 higher. The kernel gives it to nobody, so who listens on it
    can end and start again; nor do we soon, or other workers of pytest-xdist, for what is started now listens late."""
    ours = PORTS[int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 8 :: 8]
    if len(_given) > len(ours) // 2:
        _given.clear()
    while True:
        port = random.choice(ours)
        if port in _given:
            continue
        with socket.socket() as one, socket.socket() as bus:
            for probe in (one, bus):
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what just ended is no obstacle
            try:
                one.bind(("127.0.0.1", port))
                bus.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
        _given.add(port)
        return port
