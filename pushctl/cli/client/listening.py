"""The inside of `pushctl client listen`: a phone that runs, every event printed as it comes, a command per message.

Owns: when listening is over, with which exit code, and what `--read` marks.
Promises: each line is flushed before the next event is taken. Printing blocks on purpose: if whoever reads our stdout
stops, this device stops reading its socket and answering pings, and the service treats it as the slow device it is.
While a command runs, up to EVENTS_WAITING events wait for it, and then the socket does.
Must not know: how lines look (lines.py), how a phone connects (pushctl/client/phone.py), how a command is run
(execution.py).
"""

import math
import os
import signal
from collections.abc import Callable

import trio

from pushctl.cli.client.execution import Execution
from pushctl.client import events
from pushctl.client.phone import Phone
from pushctl.errors import TimedOut, Unreachable
from pushctl.protocol.frames import URGENCY_RANK, Urgency

EVENTS_WAITING = 256
"""Events between the connection and the display. When it is full the connection is not read."""


class Listening:
    """What is done with each event, and what came so far."""

    def __init__(
        self,
        phone: Phone,
        show: Callable[[events.Event], None],
        execution: Execution | None,
        *,
        read: bool,
        min_urgency: Urgency = "very-low",
    ) -> None:
        self._phone = phone
        self._show = show
        self._execution = execution
        self._read = read
        self._min_rank = URGENCY_RANK[min_urgency]
        self.received = 0
        self.connected = False
        self.last_trouble = "no answer"

    async def catch_up(self) -> None:
        """With a command and `--read`, unread means not done: what an earlier run left comes first, as far as it
        is urgent enough for this one."""
        if self._execution is None or not self._read:
            return
        for stored in self._phone.store.messages():
            if URGENCY_RANK[stored.message.urgency] < self._min_rank:
                continue
            left = events.message_event(
                stored.message, push_url_icon=stored.icon, received_at_ms=stored.received_at_ms, live=False, cursor=None
            )
            await self._do(self._execution, left)

    async def take(self, event: events.Event) -> None:
        self._show(event)
        match event:
            case events.Connected():
                self.connected = True
            case events.Retrying(reason):
                self.last_trouble = reason
            case events.MessageEvent():
                if self._execution is not None:
                    await self._do(self._execution, event)
                elif self._read:
                    self._phone.mark_read([event.id])
                self.received += 1

    async def _do(self, execution: Execution, message: events.MessageEvent) -> None:
        if self._read and not self._phone.store.is_unread(message.id):
            return  # done before, or read on another device while it waited
        if await execution.run(message) and self._read:
            self._phone.mark_read([message.id])


async def listen(
    phone: Phone,
    show: Callable[[events.Event], None],
    *,
    count: int | None,
    seconds: float | None,
    min_urgency: Urgency,
    keep_trying: bool,
    execution: Execution | None = None,
    read: bool = False,
) -> None:
    """Until `count` messages were taken or `seconds` have passed, else for ever.

    Raises TimedOut if there were fewer than `count`, Unreachable if there never was a connection, and what Phone.run
    raises.
    """
    listening = Listening(phone, show, execution, read=read, min_urgency=min_urgency)
    ended_by: list[signal.Signals] = []
    to_us, from_phone = trio.open_memory_channel[events.Event](EVENTS_WAITING)
    with to_us, from_phone:
        async with trio.open_nursery() as nursery:

            async def run() -> None:
                await phone.run(to_us, min_urgency=min_urgency, keep_trying=keep_trying)

            async def end_with_command(*, task_status: trio.TaskStatus[None]) -> None:
                with trio.open_signal_receiver(signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT) as signals:
                    task_status.started()
                    async for number in signals:
                        ended_by.append(signal.Signals(number))
                        nursery.cancel_scope.cancel()

            if execution is not None:
                # It does not end by itself when we do: it is not of our process group.
                await nursery.start(end_with_command)
            nursery.start_soon(run)
            with trio.move_on_after(math.inf if seconds is None else seconds):
                await listening.catch_up()
                async for event in from_phone:
                    await listening.take(event)
                    if listening.received == count:
                        break
            # Not before this: the phone still says its last ack and goodbye, and may tell events while it does.
            nursery.cancel_scope.cancel()
    for number in ended_by:
        os.kill(os.getpid(), number)
    _judge(listening, count, seconds)


def _judge(listening: Listening, count: int | None, seconds: float | None) -> None:
    if count is not None and listening.received < count and listening.connected:
        raise TimedOut(f"received {listening.received} of {count} messages within {seconds:g} s")
    if not listening.connected:
        raise Unreachable(f"not connected within {seconds:g} s: {listening.last_trouble}")
