"""Which pages of other origins may read an answer (the CORS protocol of the Fetch standard).

Owns: preflight answers and the headers on every other answer, by a policy per path.
Promises: no policy allows credentials: clients here prove who they are by a header, never by a cookie. An origin that
is not allowed gets the answer without any CORS header; its browser then keeps it from the page.
Must not know: routes, what an answer means.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from pushctl.http.asgi import ASGIApp, Message, Receive, Scope, Send

Pairs = list[tuple[bytes, bytes]]

MAX_AGE_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Cors:
    """One policy. `origins` None: any. `methods`, `headers` and `expose` are comma-separated lists."""

    origins: frozenset[str] | None
    methods: str
    headers: str
    expose: str = "Location, Retry-After, TTL, WWW-Authenticate"
    vary: Pairs = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "vary", [] if self.origins is None else [(b"vary", b"Origin")])

    def allowed(self, origin: bytes | None) -> Pairs:
        """The headers that let `origin` in; none if it may not."""
        if self.origins is None:
            return [(b"access-control-allow-origin", b"*")]
        if origin is None or origin.decode("latin-1") not in self.origins:
            return []
        return [(b"access-control-allow-origin", origin)]

    def on_answer(self, origin: bytes | None) -> Pairs:
        allowed = self.allowed(origin)
        if allowed:
            allowed.append((b"access-control-expose-headers", self.expose.encode()))
        return allowed + self.vary

    def on_preflight(self, origin: bytes) -> Pairs:
        allowed = self.allowed(origin)
        if allowed:
            allowed += [
                (b"access-control-allow-methods", self.methods.encode()),
                (b"access-control-allow-headers", self.headers.encode()),
                (b"access-control-max-age", str(MAX_AGE_SECONDS).encode()),
            ]
        return allowed + self.vary


class CorsLayer:
    """An ASGI app around another. `policy_of` says which policy a path has; None: no page of another origin."""

    def __init__(self, app: ASGIApp, policy_of: Callable[[str], Cors | None]) -> None:
        self._app = app
        self._policy_of = policy_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        policy = self._policy_of(scope["path"])
        if policy is None:
            await self._app(scope, receive, send)
            return
        origin = requested = None
        for name, value in scope["headers"]:
            if name == b"origin":
                origin = value
            elif name == b"access-control-request-method":
                requested = value
        if scope["method"] == "OPTIONS" and origin is not None and requested is not None:
            await send({"type": "http.response.start", "status": 204, "headers": policy.on_preflight(origin)})
            await send({"type": "http.response.body", "body": b""})
            return
        extra = policy.on_answer(origin)

        async def send_with_cors(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        await self._app(scope, receive, send_with_cors)
