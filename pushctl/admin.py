"""The admin listener of a role, as a bare ASGI application: /healthz /readyz /metrics /version.

Owns: these four answers. Promises: /healthz fails only over what a restart mends, never over Redis; /readyz answers
within READY_SECONDS.
Must not know: which role it speaks for, or how requests arrive (http/server.py).
"""

from typing import Any, Protocol

import msgspec
import trio

from pushctl.build import build
from pushctl.errors import MethodNotAllowed, NotFound, Problem, PushctlError
from pushctl.http.asgi import Headers, Receive, Scope, Send, respond
from pushctl.http.problem import send_problem
from pushctl.metrics import CONTENT_TYPE, Metrics
from pushctl.reasons import Code, Reason

READY_SECONDS = 3
"""How long a role may think about whether it is ready. A prober's own patience is a few seconds."""


class Vitals(Protocol):
    """How one role is."""

    def stuck(self) -> list[Reason]:
        """Why it is not alive: only a restart helps. Empty: it is."""
        ...

    async def not_ready(self) -> list[Reason]:
        """Why it cannot do its work right now. Empty: it can. Raises PushctlError."""
        ...

    def warnings(self) -> list[Reason]:
        """What will keep it from its work before long."""
        ...


class AdminApp:
    """What an operator's tools ask one role."""

    def __init__(self, label: str, metrics: Metrics, vitals: Vitals, *, dev_idp: bool = False) -> None:
        self._label = label
        self._metrics = metrics
        self._vitals = vitals
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
        reasons = self._vitals.stuck()
        return (503 if reasons else 200), {"live": not reasons, "reasons": reasons} | self._marks()

    async def _ready(self) -> tuple[int, dict[str, Any]]:
        reasons = [Reason(Code.CHECK_SLOW, f"the check itself took longer than {READY_SECONDS} s")]
        with trio.move_on_after(READY_SECONDS):
            try:
                reasons = await self._vitals.not_ready()
            except PushctlError as error:
                reasons = [Reason(Code.CHECK_FAILED, str(error))]
        warnings = self._vitals.warnings()
        answer = {"ready": not reasons, "reasons": reasons, "warnings": warnings}
        return (503 if reasons else 200), answer | self._marks()

    async def _version(self) -> tuple[int, dict[str, Any]]:
        return 200, {"role": self._label} | msgspec.to_builtins(await trio.to_thread.run_sync(build))

    def _marks(self) -> dict[str, Any]:
        return {"dev_idp": True} if self._dev_idp else {}
