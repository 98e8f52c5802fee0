"""Accepting connections: plain sockets, each given to a task of its own.

Owns: what the kernel has ready, and what to do when no file can be opened. Promises: whatever one connection does,
others are taken; others run between AT_ONCE connections. Must not know: what is done with a connection.

Why not trio.serve_listeners: it makes a SocketStream of every connection, which stays on the task's stack as long as
that lives, though what is wanted here is the socket. By tracemalloc that is 0.8 of the 6 KB that a WebSocket that says
nothing takes.
"""

import errno
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

import trio

from pushctl.log import get_logger

AT_ONCE: Final = 32

UNSENT_BYTES: Final = 16_384
"""A socket takes more only while less than this is unsent: the rest waits with us, where it has a bound."""

PAUSE_SECONDS: Final = 0.1
"""After the kernel could not give us one: it has no files or no memory left."""

_EXHAUSTED: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS))

log = get_logger(part="accepting")

Serve = Callable[[socket.socket], Awaitable[None]]


async def accept_forever(
    listeners: Sequence[trio.SocketListener], serve: Serve, nursery: trio.Nursery, *, name: str
) -> None:
    """Until cancelled; the connections live on in `nursery`, in tasks of this name. Closes the listeners."""

    def begin(accepted: socket.socket) -> None:
        nursery.start_soon(serve, accepted, name=name)

    try:
        async with trio.open_nursery() as accepting:
            for listener in listeners:
                accepting.start_soon(_accept_from, listener, begin)
    finally:
        with trio.CancelScope(shield=True):
            for listener in listeners:
                await listener.aclose()


async def _accept_from(listener: trio.SocketListener, begin: Callable[[socket.socket], None]) -> None:
    descriptor = listener.socket.fileno()
    # Of the same file: Trio's sockets have no way to try without a checkpoint.
    with socket.socket(fileno=socket.dup(descriptor)) as listening:
        listening.setblocking(False)
        while True:
            await trio.lowlevel.wait_readable(descriptor)
            for _ in range(AT_ONCE):
                try:
                    accepted, _ = listening.accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno in _EXHAUSTED:
                        log.error("cannot_accept", detail=error.strerror)
                        await trio.sleep(PAUSE_SECONDS)
                    break  # else that peer is gone already
                with suppress(OSError):  # that peer is gone already
                    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
                begin(accepted)
