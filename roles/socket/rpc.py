"""The internal listener: routers bring hints here when they route by `rpc` (pushctl/routing/caller.py is their end).

Owns: one route, POST /hints/<id>/<generation>, and who may use it. Promises: nothing is taken that no role of this
installation signed for this very process, just now and for the first time; the answer names the users of the batch that
are not held here. Must not know: connections, what hints mean.
"""

import secrets
from collections.abc import Callable, Iterable

import trio

from pushctl.errors import BodyInvalid, MethodNotAllowed, NotFound, Problem
from pushctl.http.asgi import Receive, Scope, Send, read_body, respond
from pushctl.http.problem import problem_response
from pushctl.identity.peers import Gate, PeerKeys
from pushctl.ids import ServerId
from pushctl.log import get_logger
from pushctl.protocol.jobs import Batch, BatchInPart, Heard, JobInvalid, decode_hint, encode
from pushctl.routing.batches import BATCH_BYTES
from pushctl.routing.caller import MOMENT_HEADER, purpose_of

MAX_BODY_BYTES = 4 * BATCH_BYTES
"""A batch ends with the job that reaches BATCH_BYTES, and that job has a bound, too."""

ANY_TIME_MS = 10**12
"""The clock here starts at any time up to this one: whoever calls has to ask first what time it is."""


class RpcApp:
    """A bare ASGI application. `hear` takes a batch and names the users that it has nobody for."""

    def __init__(
        self, server: ServerId, generation: int, keys: PeerKeys, hear: Callable[[Batch], Iterable[str]]
    ) -> None:
        self._path = purpose_of(server, generation)
        ahead_ms = secrets.randbelow(ANY_TIME_MS)
        self._gate = Gate(keys, self._path, now_ms=lambda: ahead_ms + round(trio.current_time() * 1000))
        self._hear = hear
        self._log = get_logger(part="rpc", server=server)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        moment = (MOMENT_HEADER.encode(), b"%d" % self._gate.now_ms())
        try:
            answer = await self._answer(scope, receive)
        except Problem as problem:
            status, headers, body = problem_response(problem)
            await respond(send, status, [*headers, moment], body)
        else:
            await respond(send, 200, [(b"content-type", b"application/msgpack"), moment], answer)

    async def _answer(self, scope: Scope, receive: Receive) -> bytes:
        if scope["path"] != self._path:
            raise NotFound(f"this is {self._path}")
        if scope["method"] != "POST":
            raise MethodNotAllowed("hints are posted", allow=("POST",))
        signatures = [value for name, value in scope["headers"] if name == b"authorization"]
        body = await read_body(receive, MAX_BODY_BYTES)
        self._gate.check(b",".join(signatures).decode("latin-1"), body)
        try:
            hint = decode_hint(body)
        except BatchInPart as error:
            self._log.warning("hint_of_another_release", error=str(error))
            hint = error.known
        except JobInvalid as error:
            raise BodyInvalid(str(error)) from None
        if not isinstance(hint, Batch):
            raise BodyInvalid("expected a batch of jobs")
        return encode(Heard(sorted(set(self._hear(hint)))))
