"""The socket server's end of channels: listening, and knowing whether it still hears.

Owns: the listening connections, one per partition of users, and their probes.
Promises: a listener that is silent for `probe_seconds` asks itself a question through Redis; without an answer
it says so (`problem`) and builds the connection anew. After every loss its owner is told to look at the logs, because
what was published meanwhile is gone.
Must not know: what hints mean, who is connected.
"""

import random
from collections.abc import Callable

import trio

from pushctl.errors import StoreUnavailable
from pushctl.ids import ServerId, new_id
from pushctl.liveness import Loop
from pushctl.log import get_logger
from pushctl.protocol.jobs import Batch, BatchInPart, JobInvalid, News, Probe, decode_hint, encode
from pushctl.registry import Registry
from pushctl.registry.channel import Listener

PROBE_SECONDS = 30.0
"""A channel that was silent for so long is probed."""

ANSWER_SECONDS = 10.0
"""A probe comes back within this time, or the channel is deaf."""


class Receiver:
    def __init__(
        self,
        registry: Registry,
        server: ServerId,
        *,
        on_batch: Callable[[Batch], None],
        on_news: Callable[[], None],
        on_loss: Callable[[], None],
        probe_seconds: float,
        answer_seconds: float,
    ) -> None:
        self._registry = registry
        self._server = server
        self._on_batch = on_batch
        self._on_news = on_news
        self._on_loss = on_loss
        self._probe_seconds = probe_seconds
        self._answer_seconds = answer_seconds
        self._log = get_logger(part="receiver", server=server)
        self._problems: dict[int, str] = {}
        """Why it does not hear of a partition, by partition."""
        self._something = trio.Event()
        self.loops = [Loop(f"the ear for partition {number}") for number in range(registry.channels.partitions)]
        self._heard_at: dict[int, float] = {}
        """When each partition's channel was last heard: a hint, a probe, or the confirmation that it is listened to."""
        self.losses = 0
        """Channels that were lost so far."""

    @property
    def silent_seconds(self) -> float:
        """For how long the channel that was silent for longest was not heard."""
        return max((trio.current_time() - at for at in self._heard_at.values()), default=0.0)

    @property
    def deaf(self) -> int:
        """Partitions that it does not hear of."""
        return len(self._problems)

    @property
    def problem(self) -> str | None:
        """Why it does not hear what it could. A master that is away is none, unless nothing is heard at all: whatever
        this server might be told of its users, their log could not be read."""
        channels = self._registry.channels
        deaf = [p for p in self._problems if len(self._problems) == channels.partitions or channels.can_be_heard(p)]
        return self._problems[deaf[0]] if deaf else None

    @property
    def is_deaf(self) -> bool:
        """It does not hear of users whose master answers: reason enough to send clients elsewhere."""
        return any(self._registry.channels.can_be_heard(partition) for partition in self._problems)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled. Started once it hears of every partition that can be heard."""
        partitions = range(self._registry.channels.partitions)
        for partition in partitions:
            self._heard_at[partition] = trio.current_time()
            self._note(partition, "it does not listen to its channel yet")
        async with trio.open_nursery() as nursery:
            for partition in partitions:
                nursery.start_soon(self._hear, partition)
            while self.problem is not None:
                await self._something.wait()
            task_status.started()

    def _note(self, partition: int, problem: str | None) -> None:
        if problem is None:
            self._problems.pop(partition, None)
        else:
            self._problems[partition] = problem
        self._something.set()
        self._something = trio.Event()

    async def _hear(self, partition: int) -> None:
        first = True
        while True:
            with self.loops[partition].idle():
                await self._registry.channels.wait_connected(partition)
            try:
                async with self._registry.channels.listen(self._server, partition) as listener:
                    self._note(partition, None)
                    self._heard_at[partition] = trio.current_time()
                    if not first:
                        self._on_loss()  # only now: what is published from here on is heard
                    first = False
                    await self._listen(listener, partition)
            except StoreUnavailable as error:
                self.losses += 1
                self._note(partition, f"its channel is lost: {error.detail}")
                self._log.warning("channel_lost", partition=partition, detail=error.detail)
            await trio.sleep(random.uniform(0.05, 0.5))  # noqa: S311 - jitter is no secret

    async def _listen(self, listener: Listener, partition: int) -> None:
        """Hear until the channel is lost, or silent in spite of a probe (StoreUnavailable)."""
        loop = self.loops[partition]
        while True:
            with trio.move_on_after(self._probe_seconds) as silence:
                with loop.idle():
                    payload = await listener.hear()
                self._heard(payload, partition)
            if not silence.cancelled_caught:
                continue
            await self._registry.channels.publish(partition, [(self._server, encode(Probe(new_id())))])
            with trio.move_on_after(self._answer_seconds) as deaf:
                self._heard(await listener.hear(), partition)
            if deaf.cancelled_caught:
                raise StoreUnavailable("Redis took a probe for its channel, and the channel stayed silent")

    def _heard(self, payload: bytes, partition: int) -> None:
        self._heard_at[partition] = trio.current_time()
        try:
            hint = decode_hint(payload)
        except BatchInPart as error:
            self._log.warning("hint_of_another_release", error=str(error))
            hint = error.known
        except JobInvalid as error:
            self._log.error("hint_invalid", error=str(error))
            return
        if isinstance(hint, Batch):
            self._on_batch(hint)
        elif isinstance(hint, News):
            self._on_news()
