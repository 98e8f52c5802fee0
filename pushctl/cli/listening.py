"""The inside of `pushctl client listen`: a phone that runs, and every event printed as it comes.

Owns: when listening is over, and with which exit code.
Promises: each line is flushed before the next event is taken. Printing blocks on purpose: if whoever reads our stdout
stops, this device stops reading its socket and answering pings, and the service treats it as the slow device it is.
Must not know: how lines look (lines.py), how a phone connects (client/phone.py).
"""

import math
from collections.abc import Callable

import trio

from pushctl.client import events
from pushctl.client.phone import Phone
from pushctl.errors import TimedOut, Unreachable
from pushctl.protocol.frames import Urgency

EVENTS_WAITING = 256
"""Events between the connection and the display. When it is full the connection is not read."""


async def listen(
    phone: Phone,
    show: Callable[[events.Event], None],
    *,
    count: int | None,
    seconds: float | None,
    min_urgency: Urgency,
    keep_trying: bool,
) -> None:
    """Until `count` messages were shown or `seconds` have passed, else for ever.

    Raises TimedOut if there were fewer than `count`, Unreachable if there never was a connection, and what Phone.run
    raises.
    """
    received, connected, last_trouble = 0, False, "no answer"
    to_us, from_phone = trio.open_memory_channel[events.Event](EVENTS_WAITING)
    with to_us, from_phone:
        async with trio.open_nursery() as nursery:

            async def run() -> None:
                await phone.run(to_us, min_urgency=min_urgency, keep_trying=keep_trying)

            nursery.start_soon(run)
            with trio.move_on_after(math.inf if seconds is None else seconds):
                async for event in from_phone:
                    show(event)
                    match event:
                        case events.Connected():
                            connected = True
                        case events.Retrying(reason):
                            last_trouble = reason
                        case events.MessageEvent():
                            received += 1
                    if received == count:
                        break
            # Not before this: the phone still says its last ack and goodbye, and may tell events while it does.
            nursery.cancel_scope.cancel()
    if count is not None and received < count and connected:
        raise TimedOut(f"received {received} of {count} messages within {seconds:g} s")
    if not connected:
        raise Unreachable(f"not connected within {seconds:g} s: {last_trouble}")
