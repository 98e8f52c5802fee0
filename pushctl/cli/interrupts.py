"""Ctrl-C for commands that measure or watch: they are ended early, and what was found is still told.

Owns: the signals. Must not know: what is measured.
"""

import signal
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

T = TypeVar("T")


async def interruptible(run: Callable[[], Awaitable[T]], interrupt: Callable[[], None]) -> T:
    """What `run` returns; SIGINT and SIGTERM call `interrupt`, as often as they come. They reach only the main thread:
    in another one nobody can interrupt."""
    if threading.current_thread() is not threading.main_thread():
        return await run()

    async def listen(*, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                interrupt()

    async with trio.open_nursery() as nursery:
        await nursery.start(listen)
        found = await run()
        nursery.cancel_scope.cancel()
    return found
