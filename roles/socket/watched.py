"""A stream whose peer can be told slow from stalled.

Owns: sending in pieces, and the deadline that each piece puts off. Must not know: what is sent.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import trio

PIECE_BYTES = 16_384
"""A peer that takes less than this in the given time has stalled. No more than two wait in our kernel for a peer that
reads nothing: Trio lets a socket count as writable only while less than 16 KiB are unsent (TCP_NOTSENT_LOWAT)."""


class Watched(trio.abc.Stream):
    """A stream that sends in pieces, so that somebody can tell slow from stalled."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._scope: trio.CancelScope | None = None
        self._seconds = math.inf

    @contextmanager
    def watched(self, seconds: float) -> Iterator[trio.CancelScope]:
        """Cancels the block when no piece could be sent for `seconds`."""
        with trio.CancelScope(deadline=trio.current_time() + seconds) as scope:
            self._scope, self._seconds = scope, seconds
            try:
                yield scope
            finally:
                self._scope = None

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        for start in range(0, max(1, len(view)), PIECE_BYTES):
            await self._stream.send_all(view[start : start + PIECE_BYTES])
            if self._scope is not None:
                self._scope.deadline = trio.current_time() + self._seconds

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()
