"""Start-up and shutdown of an ASGI application (the lifespan part of ASGI).

Owns: the task that runs the application's lifespan.
Promises: the body of `async with lifespan(app)` runs between its start-up and its shutdown; an application that knows
no lifespan is left alone. If the body is cancelled, so is the application's shutdown.
Must not know: listeners. HttpServer does not call it: bare handlers have nothing to start.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from pushctl.errors import Failed
from pushctl.http.asgi import ASGIApp, Message
from pushctl.http.contained import Contained
from pushctl.log import get_logger

log = get_logger()


@asynccontextmanager
async def lifespan(app: ASGIApp) -> AsyncIterator[None]:
    """`async with lifespan(app): await server.serve(...)`. Raises Failed if the application cannot start."""
    life = _Lifespan(app)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(life.run)
        await life.started.wait()
        if life.failure is None:
            yield
            life.stopping.set()
            await life.over.wait()
        nursery.cancel_scope.cancel()
    if life.failure is not None:
        raise Failed(f"the application cannot start: {life.failure}")


class _Lifespan:
    """One run of an application's lifespan."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._told_to_start = False
        self.started = trio.Event()
        self.stopping = trio.Event()
        self.over = trio.Event()
        self.failure: str | None = None

    async def run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}}
        with Contained() as call:
            await self._app(scope, self._receive, self._send)
        if call.error is not None:
            if self.started.is_set():
                log.error("app_lifespan_crashed", exc_info=call.error)
            else:  # ASGI: that is how an application says that it knows no lifespan
                log.debug("app_without_lifespan", error=type(call.error).__name__)
        self.started.set()
        self.over.set()

    async def _receive(self) -> Message:
        if not self._told_to_start:
            self._told_to_start = True
            return {"type": "lifespan.startup"}
        await self.stopping.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        match message["type"]:
            case "lifespan.startup.complete":
                self.started.set()
            case "lifespan.startup.failed":
                self.failure = message.get("message", "") or "it did not say why"
                self.started.set()
            case "lifespan.shutdown.complete":
                self.over.set()
            case "lifespan.shutdown.failed":
                log.error("app_lifespan_crashed", detail=message.get("message", ""))
                self.over.set()
