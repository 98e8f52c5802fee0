"""The socket server's end of routing: listening to its channel, and knowing whether it still hears.

Owns: the listening connection, its probe. Promises: a listener that is silent for PROBE_SECONDS asks itself a question
through Redis; when that does not come back, it says so (`problem`) and builds the connection anew. After every loss its
owner is told to look at the logs, because what was published meanwhile is gone.
Must not know: what hints mean, who is connected.
"""

import random
from collections.abc import Callable

import trio

from pushctl.errors import StoreUnavailable
from pushctl.ids import ServerId, new_id
from pushctl.log import get_logger
from pushctl.protocol.jobs import Batch, JobInvalid, Probe, decode_hint, encode
from pushctl.registry import Registry
from pushctl.registry.channel import Listener

PROBE_SECONDS = 30.0
ANSWER_SECONDS = 10.0


class Receiver:
    def __init__(
        self,
        registry: Registry,
        server: ServerId,
        *,
        on_batch: Callable[[Batch], None],
        on_loss: Callable[[], None],
        probe_seconds: float = PROBE_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._registry = registry
        self._server = server
        self._on_batch = on_batch
        self._on_loss = on_loss
        self._probe_seconds = probe_seconds
        self._answer_seconds = answer_seconds
        self._log = get_logger(part="receiver", server=server)
        self.problem: str | None = "it does not listen to its channel yet"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled. Started once the first subscription stands."""
        first = True
        while True:
            try:
                async with self._registry.channels.listen(self._server) as listener:
                    self.problem = None
                    if first:
                        task_status.started()
                        first = False
                    else:
                        self._on_loss()  # only now: what is published from here on is heard
                    await self._listen(listener)
            except StoreUnavailable as error:
                self.problem = f"its channel is lost: {error.detail}"
                self._log.warning("channel_lost", detail=error.detail)
            await trio.sleep(random.uniform(0.05, 0.5))  # noqa: S311 - jitter is no secret

    async def _listen(self, listener: Listener) -> None:
        """Hear until the channel is lost, or silent in spite of a probe (StoreUnavailable)."""
        while True:
            with trio.move_on_after(self._probe_seconds) as silence:
                self._heard(await listener.hear())
            if not silence.cancelled_caught:
                continue
            await self._registry.channels.publish([(self._server, encode(Probe(new_id())))])
            with trio.move_on_after(self._answer_seconds) as deaf:
                self._heard(await listener.hear())
            if deaf.cancelled_caught:
                raise StoreUnavailable("Redis took a probe for its channel, and the channel stayed silent")

    def _heard(self, payload: bytes) -> None:
        try:
            hint = decode_hint(payload)
        except JobInvalid as error:
            self._log.error("hint_invalid", error=str(error))
            return
        if isinstance(hint, Batch):
            self._on_batch(hint)
