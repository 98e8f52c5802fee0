"""A third party's message: from its headers and body to "stored" (docs/protocol.md, section 2), without HTTP.

Owns: the use case, its stages in metrics and log. Promises: returns only after the message is stored (TTL > 0) or
handed on (TTL 0); raises a Problem otherwise.
Must not know: sockets, how an answer is written. Never logs a token, a push URL, a message id (which is the
right to cancel it) or what the message says.
"""

from dataclasses import dataclass

import trio

from pushctl import log
from pushctl.inbox import Inbox, Published
from pushctl.metrics import Metrics
from pushctl.stages import Stage
from pushctl.webpush import request
from pushctl.webpush.request import Headers, Rules

_log = log.get_logger(role="api")


@dataclass(frozen=True, slots=True)
class Publisher:
    inbox: Inbox
    rules: Rules
    metrics: Metrics

    async def publish(self, token: str, headers: Headers, body: bytes) -> Published:
        """`token`: the last part of the push URL. `accept_seconds` runs from here: the request's last byte is in."""
        began = trio.current_time()
        push = request.parse(headers, body, self.rules)
        self.metrics.stage(Stage.RECEIVED)
        published = await self.inbox.publish(token, push)
        if published.seq:
            self.metrics.stage(Stage.STORED)
        seconds = trio.current_time() - began
        self.metrics.accept_seconds.observe(seconds)
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
