"""A small proxy before Redis that can hold back what one kind of connection is told, or says."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import trio


class Proxy:
    """Forwards bytes. While `deaf` is set, connections that ever said `word` hear nothing; while `mute` is set, nothing
    that they say arrives. Everything else goes on. A connection that lost bytes this way is of no use any more."""

    def __init__(self, target: str, word: bytes) -> None:
        self._target = target
        self._word = word
        self.deaf = False
        self.mute = False
        self.url = ""
        self.connections = 0

    async def _serve(self, client: trio.SocketStream) -> None:
        async with await trio.open_unix_socket(self._target) as redis, client, trio.open_nursery() as nursery:
            meant = False

            async def up() -> None:
                nonlocal meant
                async for chunk in client:
                    if self._word in bytes(chunk) and not meant:
                        meant = True
                        self.connections += 1
                    if not (self.mute and meant):
                        await redis.send_all(chunk)
                nursery.cancel_scope.cancel()

            async def down() -> None:
                async for chunk in redis:
                    if not (self.deaf and meant):
                        await client.send_all(chunk)
                nursery.cancel_scope.cancel()

            async def quietly(work) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - up or down
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await work()

            nursery.start_soon(quietly, up)
            nursery.start_soon(quietly, down)


@asynccontextmanager
async def proxy(target: str, word: bytes = b"SUBSCRIBE") -> AsyncIterator[Proxy]:
    """A proxy to the Redis at this Unix socket."""
    running = Proxy(target, word)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    running.url = f"redis://127.0.0.1:{listener.socket.getsockname()[1]}/0"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, running._serve, [listener])
        yield running
        nursery.cancel_scope.cancel()
