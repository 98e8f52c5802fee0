"""The third-party API over HTTP: POST /push/{token}, GET and DELETE /message/{id}, GET /receipt/{id}.

See docs/protocol.md, section 2.

A bare ASGI app: this is the path that the whole program exists for, and a framework would cost more than all of it.

Owns: paths, methods, status codes and headers of these routes; their errors carry Mozilla's `errno`.
Promises: 201 only after the message is stored. Whatever a peer sends is answered, never with a 500.
Must not know: what a token or a message id says.
"""

from functools import partial
from typing import Final

import msgspec

from pushctl.errors import BodyTooLarge, MethodNotAllowed, NotFound, Problem
from pushctl.http.asgi import ASGIApp, Receive, Scope, Send, host_of, read_body, respond, while_connected
from pushctl.http.observe import name_problem, name_route
from pushctl.http.parser import HeaderList
from pushctl.http.problem import send_problem
from pushctl.inbox import Inbox
from pushctl.webpush.request import preferences
from roles.api.limits import Limits
from roles.api.publish import PUSH_ROUTE, Publisher
from roles.api.receipts import Receipts

PUSH: Final = "/push/"
MESSAGE: Final = "/message/"
RECEIPT: Final = "/receipt/"

ALLOW_PUSH: Final = ("OPTIONS", "POST")
ALLOW_RECEIPT: Final = ("GET", "HEAD", "OPTIONS")
ALLOW_MESSAGE: Final = ("DELETE", "GET", "HEAD", "OPTIONS")

RECEIPT_RELATION: Final = "urn:ietf:params:push:receipt"

_JSON: Final = [(b"content-type", b"application/json")]


class PushRoutes:
    """ASGI app for every path under /push/, /message/ and /receipt/."""

    def __init__(self, publisher: Publisher, inbox: Inbox, receipts: Receipts, limits: Limits) -> None:
        self._publisher = publisher
        self._limits = limits
        self._inbox = inbox
        self._receipts = receipts
        self._encoder = msgspec.json.Encoder()

    @staticmethod
    def owns(path: str) -> bool:
        return path.startswith((PUSH, MESSAGE, RECEIPT))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["path"].startswith(PUSH):
                await self._push(scope, receive, send)
            elif scope["path"].startswith(RECEIPT):
                await self._receipt(scope, receive, send)
            else:
                await self._message(scope, send)
        except Problem as problem:
            await _tell(scope, send, problem)

    async def _push(self, scope: Scope, receive: Receive, send: Send) -> None:
        token = _last_part(scope, PUSH, PUSH_ROUTE)
        match scope["method"]:
            case "POST":
                await self._publish(token, scope, receive, send)
            case "OPTIONS":
                await _options(send, ALLOW_PUSH)
            case _:
                raise MethodNotAllowed("a push URL takes POST", allow=ALLOW_PUSH)

    async def _publish(self, token: str, scope: Scope, receive: Receive, send: Send) -> None:
        limit = self._publisher.rules.max_body_bytes
        _refuse_announced(scope, limit)
        body = await read_body(receive, limit)
        await respond(send, *await self.accept(token, scope["headers"], body, host_of(scope), scope["scheme"]))

    async def accept(
        self, token: str, headers: HeaderList, body: bytes, host: str, scheme: str
    ) -> tuple[int, HeaderList]:
        """Status and headers of the answer to a message that was stored, or handed on. Raises a Problem otherwise."""
        with self._publisher.follow(headers, host) as span:
            if span:
                span.set(http__request__method="POST", http__route=PUSH_ROUTE, url__scheme=scheme)
            published = await self._publisher.publish(token, headers, body, host, span)
            status = 201 if published.receipt is None else 202
            if span:
                span.set(http__response__status_code=status)
        location = f"{MESSAGE}{published.message_id}".encode()
        answer = [(b"location", location), (b"ttl", b"%d" % published.ttl_seconds)]
        if published.receipt is not None:
            answer.append((b"link", f'<{RECEIPT}{published.receipt}>; rel="{RECEIPT_RELATION}"'.encode()))
        return status, answer

    def refusing(self, error: Exception) -> ASGIApp:
        """Answers a POST to a push URL that failed with this error, elsewhere (short_push.py)."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            del receive
            name_route(scope, PUSH_ROUTE)
            if not isinstance(error, Problem):
                raise error
            await _tell(scope, send, error)

        return app

    async def _receipt(self, scope: Scope, receive: Receive, send: Send) -> None:
        receipt = _last_part(scope, RECEIPT, "/receipt/{id}")
        match scope["method"]:
            case "GET" | "HEAD":
                user, _, _ = self._inbox.open_receipt(receipt)
                await self._limits.state(host_of(scope), user)
                seconds = _wait_seconds(scope)
                state = await while_connected(receive, partial(self._receipts.state, receipt, seconds))
                await respond(send, 200, _JSON, self._encoder.encode(state))
            case "OPTIONS":
                await _options(send, ALLOW_RECEIPT)
            case _:
                raise MethodNotAllowed("a receipt takes GET", allow=ALLOW_RECEIPT)

    async def _message(self, scope: Scope, send: Send) -> None:
        message_id = _last_part(scope, MESSAGE, "/message/{id}")
        match scope["method"]:
            case "GET" | "HEAD":
                await self._limits.state(host_of(scope), self._inbox.user_of_message(message_id))
                body = self._encoder.encode(await self._inbox.message_state(message_id))
                await respond(send, 200, _JSON, body)
            case "DELETE":
                await self._limits.state(host_of(scope), self._inbox.user_of_message(message_id))
                await self._inbox.cancel(message_id)
                await send({"type": "http.response.start", "status": 204, "headers": []})
                await send({"type": "http.response.body", "body": b""})
            case "OPTIONS":
                await _options(send, ALLOW_MESSAGE)
            case _:
                raise MethodNotAllowed("a message takes GET and DELETE", allow=ALLOW_MESSAGE)


async def _tell(scope: Scope, send: Send, problem: Problem) -> None:
    name_problem(scope, problem)
    await send_problem(send, problem, errno=True)


def _last_part(scope: Scope, prefix: str, route: str) -> str:
    """The token or id in the path. What has other characters was never ours, but the path is: it is `route`."""
    part: str = scope["path"][len(prefix) :]
    if not part or "/" in part:
        raise NotFound("no such route")
    name_route(scope, route)
    return part


def _wait_seconds(scope: Scope) -> int:
    """What `Prefer: wait=` says (RFC 7240, section 4.3); a preference that is not understood is none."""
    prefer = b",".join(value for name, value in scope["headers"] if name == b"prefer")
    wait = preferences(prefer.decode("latin-1")).get("wait", "")
    return int(wait) if wait.isascii() and wait.isdigit() and len(wait) <= 9 else 0


def _refuse_announced(scope: Scope, limit: int) -> None:
    """A body that says that it is too long need not be sent (RFC 9110, section 10.1.1)."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > limit:
            raise BodyTooLarge(f"a message has at most {limit} bytes")


async def _options(send: Send, allow: tuple[str, ...]) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": [(b"allow", ", ".join(allow).encode())]})
    await send({"type": "http.response.body", "body": b""})
