"""A terminal in the hands of a full-screen program: keys in, signals in, and everything as it was at the end.

Owns: the modes of the keyboard, reading it, and the signals that concern a screen.
Promises: however the block is left (return, error, Ctrl-C, SIGTERM, SIGHUP), the terminal is as before; Ctrl-Z suspends
and comes back. Only `kill -9` can leave it otherwise.
Must not know: what is on the screen (canvas.py), what bytes mean (keyboard.py).
"""

import errno
import math
import os
import signal
import sys
import termios
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import trio

from pushctl.cli.client.live.keyboard import Decoder, Input

ESCAPE_SECONDS: Final = 0.1
"""An Escape that nothing follows for so long is the key. What an arrow sends stays together also over ssh."""

IFLAG, LFLAG = 0, 3


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
        with suppress(termios.error):  # it has gone
            termios.tcsetattr(fd, termios.TCSAFLUSH, before)


async def typed() -> AsyncGenerator[Input, None]:
    """What comes from the terminal; ends when it is gone. Standard input stays a blocking file: it is the same open
    file as the terminal we write to."""
    fd = sys.stdin.fileno()
    decoder = Decoder()
    while True:
        with trio.move_on_after(ESCAPE_SECONDS if decoder.waits else math.inf) as patience:
            await trio.lowlevel.wait_readable(fd)
        if patience.cancelled_caught:
            for found in decoder.silence():
                yield found
            continue
        try:
            data = os.read(fd, 1024)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return
        if not data:
            return
        for found in decoder.feed(data):
            yield found


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
                try:
                    enter()
                except termios.error:  # it has gone meanwhile
                    return
                changed()
            else:
                return
