"""The admin listener of a role, as a bare ASGI application: /healthz /readyz /metrics /version.

Owns: these four answers. Promises: /healthz answers as long as the event loop turns, whatever Redis does; /readyz
answers within READY_SECONDS.
Must not know: which role it speaks for, or how requests arrive (http/server.py).
"""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import trio

from pushctl.build import build
from pushctl.errors import MethodNotAllowed, NotFound, Problem, PushctlError
from pushctl.http.asgi import Headers, Receive, Scope, Send, respond
from pushctl.http.problem import send_problem
from pushctl.metrics import CONTENT_TYPE, Metrics

READY_SECONDS = 3
"""How long a role may think about whether it is ready. A prober's own patience is a few seconds."""


class AdminApp:
    """What an operator's tools ask one role."""

    def __init__(
        self, label: str, metrics: Metrics, not_ready: Callable[[], Awaitable[list[str]]], *, dev_idp: bool = False
    ) -> None:
        self._label = label
        self._metrics = metrics
        self._not_ready = not_ready
        self._dev_idp = dev_idp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive  # no route here reads a body
        try:
            content_type, status, body = await self._answer(scope["method"], scope["path"])
        except Problem as problem:
            await send_problem(send, problem)
        else:
            headers: Headers = [(b"content-type", content_type), (b"cache-control", b"no-store")]
            await respond(send, status, headers, body)

    async def _answer(self, method: str, path: str) -> tuple[bytes, int, bytes]:
        answer = {"/healthz": self._health, "/readyz": self._ready, "/version": self._version}.get(path)
        if answer is None and path != "/metrics":
            raise NotFound("this listener has /healthz, /readyz, /metrics and /version")
        if method not in ("GET", "HEAD"):
            raise MethodNotAllowed(f"{path} takes GET and HEAD", allow=("GET", "HEAD"))
        if answer is None:
            return CONTENT_TYPE.encode(), 200, self._metrics.render()
        status, content = await answer()
        return b"application/json", status, msgspec.json.encode(content)

    async def _health(self) -> tuple[int, dict[str, Any]]:
        return 200, {"live": True} | self._marks()

    async def _ready(self) -> tuple[int, dict[str, Any]]:
        reasons = [f"the check itself took longer than {READY_SECONDS} s"]
        with trio.move_on_after(READY_SECONDS):
            try:
                reasons = await self._not_ready()
            except PushctlError as error:
                reasons = [str(error)]
        return (503 if reasons else 200), {"ready": not reasons, "reasons": reasons} | self._marks()

    async def _version(self) -> tuple[int, dict[str, Any]]:
        return 200, {"role": self._label} | msgspec.to_builtins(await trio.to_thread.run_sync(build))

    def _marks(self) -> dict[str, Any]:
        return {"dev_idp": True} if self._dev_idp else {}
