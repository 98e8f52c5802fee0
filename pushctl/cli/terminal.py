"""A terminal in the hands of a full-screen program: keys in, signals in, and everything as it was at the end.

Owns: the terminal's modes, the bytes of keys, and the signals that concern a screen.
Promises: however the block is left (return, error, Ctrl-C, SIGTERM, SIGHUP), the terminal is as before; Ctrl-Z suspends
and comes back. Only `kill -9` can leave it otherwise.
Must not know: what is on the screen.
"""

import os
import re
import signal
import sys
import termios
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from typing import Final, Literal

import trio

Key = Literal["up", "down", "top", "bottom", "read", "read_all", "quit"]

_KEYS: Final[dict[bytes, Key]] = {
    b"k": "up",
    b"\x1b[A": "up",
    b"\x1bOA": "up",
    b"j": "down",
    b"\x1b[B": "down",
    b"\x1bOB": "down",
    b"g": "top",
    b"\x1b[H": "top",
    b"\x1b[1~": "top",
    b"G": "bottom",
    b"\x1b[F": "bottom",
    b"\x1b[4~": "bottom",
    b"r": "read",
    b"A": "read_all",
    b"q": "quit",
}
_ONE_KEY: Final = re.compile(rb"\x1b[\[O][0-9;]*[A-Za-z~]|\x1b|.", re.DOTALL)

IFLAG, LFLAG = 0, 3


def keys_in(data: bytes) -> list[Key]:
    """The keys that mean something here, in order. An arrow comes as one piece from the terminals there are."""
    return [_KEYS[found] for found in _ONE_KEY.findall(data) if found in _KEYS]


@contextmanager
def keyboard_mode(fd: int) -> Iterator[None]:
    """Each key comes at once and is not shown; Ctrl-C and Ctrl-Z still work, Ctrl-S does not freeze us."""
    before = termios.tcgetattr(fd)
    mode = termios.tcgetattr(fd)
    mode[LFLAG] &= ~(termios.ECHO | termios.ICANON)
    mode[IFLAG] &= ~termios.IXON
    try:
        termios.tcsetattr(fd, termios.TCSAFLUSH, mode)
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSAFLUSH, before)


async def keys() -> AsyncGenerator[Key, None]:
    """Keys as they are pressed; ends when the terminal is gone. Standard input stays a blocking file: it is the same
    open file as the terminal we write to."""
    fd = sys.stdin.fileno()
    while True:
        await trio.lowlevel.wait_readable(fd)
        data = os.read(fd, 1024)
        if not data:
            return
        for key in keys_in(data):
            yield key


async def handle_signals(
    *,
    changed: Callable[[], None],
    leave: Callable[[], None],
    enter: Callable[[], None],
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Until SIGTERM or SIGHUP. `changed`: the size is another; `leave`, `enter`: give the terminal back, take it."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGHUP, signal.SIGWINCH, signal.SIGTSTP) as received:
        task_status.started()
        async for number in received:
            if number == signal.SIGWINCH:
                changed()
            elif number == signal.SIGTSTP:
                leave()
                os.kill(os.getpid(), signal.SIGSTOP)
                enter()
                changed()
            else:
                return
