"""A third party's message: from its headers and body to "stored" (docs/protocol.md, section 2), without HTTP.

Owns: the use case, its stages in metrics and log. Promises: returns only after the message is stored (TTL > 0) or
handed on (TTL 0); raises a Problem otherwise.
Must not know: sockets, how an answer is written. Never logs a token, a push URL, a message id (which is the
right to cancel it) or what the message says.
"""

from typing import Final

import msgspec
import trio

from pushctl import log
from pushctl.errors import RateLimited
from pushctl.http.addresses import Networks
from pushctl.inbox import Inbox, Published
from pushctl.metrics import ApiMetrics
from pushctl.stages import Stage
from pushctl.traces import OFF, Span, Traces
from pushctl.webpush import request
from pushctl.webpush.request import Headers, Push, Rules
from roles.api.limits import Limits

NO_NETWORKS: Final = Networks((), "traces.trusted_networks")

PUSH_ROUTE: Final = "/push/{token}"

_log = log.get_logger(role="api")


class Publisher(msgspec.Struct, frozen=True):
    inbox: Inbox
    rules: Rules
    metrics: ApiMetrics
    limits: Limits
    traces: Traces = OFF
    traced_networks: Networks = NO_NETWORKS
    """Senders whose own traces ours may be part of."""

    def follow(self, headers: Headers, host: str) -> Span:
        """The step that a request begins, if it is followed. `host`: the sender's address."""
        return self.traces.begin(f"POST {PUSH_ROUTE}", headers, trusted=host in self.traced_networks)

    async def publish(self, token: str, headers: Headers, body: bytes, host: str, span: Span) -> Published:
        """`token`: the last part of the push URL; `host`: the sender's address; `span`: of the request.

        `accept_seconds` runs from here: the request's last byte is in.
        """
        began = trio.current_time()
        push = request.parse(headers, body, self.rules)
        self.metrics.stage(Stage.RECEIVED)
        if span:
            span.set(messaging__message__body__size=len(body), pushctl__urgency=push.urgency)
        published = await self._accept(token, push, host, span)
        if published.seq:
            self.metrics.stage(Stage.STORED)
        seconds = trio.current_time() - began
        self.metrics.accept_seconds.add(seconds)
        _log.info(
            (Stage.STORED if published.seq else Stage.RECEIVED).value,
            user=published.user,
            seq=published.seq,
            octets=len(body),
            ttl_seconds=published.ttl_seconds,
            urgency=push.urgency,
            ms=round(seconds * 1000, 1),
        )
        return published

    async def _accept(self, token: str, push: Push, host: str, span: Span) -> Published:
        """Within the limits. A repeat costs nothing and is never refused; what one limit refuses costs nothing in the
        others. Any other answer has used up its turn."""
        taken = await self.limits.message(host, push.signed_by)
        if push.idempotency_key is None:
            self.limits.refuse(taken)
        try:
            published = await self.inbox.publish(token, push, only_again=taken.refusal is not None, span=span)
        except RateLimited as refusal:
            taken.give_back()
            self.limits.refuse(taken)
            self.limits.refused(refusal)
            raise
        if published.again:
            taken.give_back()
        return published
