"""One device of a swarm: what phone.py is, without a database, a screen and tasks of its own.

Owns: the order of things for one device: Box Office, server, connection (visit.py), and again, as protocol/peer.py
decides.
Promises: towards servers it behaves as phone.py does. `run` ends only by cancellation or when trying again would change
nothing.
Must not know: other members, logins, what is reported.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from math import inf

import trio

from pushctl.client.api import Api
from pushctl.client.asking import ask_box_office
from pushctl.client.connection import GOODBYE_SECONDS, NO_CODE
from pushctl.client.dialing import NotConnected
from pushctl.client.http import NoRoom
from pushctl.client.ledger import DeviceLedger
from pushctl.client.report import Tally
from pushctl.client.visit import Visit
from pushctl.client.websocket import Closed, WebSocket, connect
from pushctl.protocol.frames import Urgency
from pushctl.protocol.peer import AskBoxOffice, Peer, Step, Stop, TryServer


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all members share. `asking`: how many may ask the Box Office at once. `moved`: is told of each that is up to
    date now, or not any more."""

    api: Api
    asking: trio.CapacityLimiter
    tally: Tally
    min_urgency: Urgency
    moved: "Callable[[Member], None]" = lambda member: None


class Member:
    __slots__ = ("_around", "_peer", "_set_out_at", "_visiting", "has_arrived", "is_up_to_date", "ledger", "token")

    def __init__(self, around: Surroundings, peer: Peer, ledger: DeviceLedger, token: str) -> None:
        self._around = around
        self._peer = peer
        self._set_out_at = 0.0
        self._visiting = trio.CancelScope()
        self.is_up_to_date = False
        """Connected, and nothing is missed."""
        self.ledger = ledger
        self.token = token
        self.has_arrived = False
        """Whether it ever was connected and up to date."""

    def cut(self) -> None:
        """End the connection without a word, as a network that goes away does."""
        self._visiting.cancel()

    async def run(self) -> None:
        step = self._peer.start()
        while True:
            match step:
                case AskBoxOffice(after_seconds):
                    await trio.sleep(after_seconds)
                    step = await self._ask()
                case TryServer(url):
                    step = await self._visit(url)
                case Stop(code):
                    self._around.tally.gave_up(code)
                    return

    async def _ask(self) -> Step:
        around = self._around
        async with around.asking:
            step, error = await ask_box_office(around.api, self.token, self._peer)
        if isinstance(error, NoRoom):
            around.tally.refused_by_boxoffice += 1
        elif error is not None:
            around.tally.unreachable += 1
        return step

    async def _visit(self, url: str) -> Step:
        """One server, from connecting to the end of the connection."""
        self._set_out_at = trio.current_time()
        try:
            websocket = await connect(url)
            visit = Visit(websocket, self.ledger, self._around.min_urgency, self._arrived)
            self._visiting, code = trio.CancelScope(), NO_CODE
            try:
                with self._visiting:
                    code = await visit.run(self.token)
            finally:
                self._left()
                if self._visiting.cancel_called:
                    await websocket.drop()
                else:
                    await _say_goodbye(visit, websocket)
        except NotConnected as refused:
            return self._turned_away(refused)
        self._around.tally.disconnected(code)
        now = trio.current_time()
        if visit.welcomed_at is not None:
            self._peer.welcomed(visit.welcomed_at)
        if visit.leave_at < inf:
            self._peer.reconnect_asked(visit.leave_at - now, now)
        return self._peer.closed(code, now)

    def _turned_away(self, refused: NotConnected) -> Step:
        tally = self._around.tally
        if refused.status in (429, 503):
            tally.refused_by_servers += 1
        else:
            tally.unreachable += 1
        return self._peer.server_failed(trio.current_time(), refused.retry_after_seconds)

    def _arrived(self) -> None:
        """All that was missed is here. (A later snapshot on the same connection is no new arrival.)"""
        if not self.is_up_to_date:
            tally = self._around.tally
            tally.connecting.add((trio.current_time() - self._set_out_at) * 1000)
            tally.connected += 1
            tally.ever_connected += not self.has_arrived
            self.is_up_to_date = self.has_arrived = True
            self._around.moved(self)

    def _left(self) -> None:
        if self.is_up_to_date:
            self._around.tally.connected -= 1
            self.is_up_to_date = False
            self._around.moved(self)


async def _say_goodbye(visit: Visit, websocket: WebSocket) -> None:
    """The last ack and a Close, also when we are cancelled; TCP ends in any case."""
    try:
        with trio.move_on_after(GOODBYE_SECONDS, shield=True), suppress(Closed):
            await visit.flush()
            await websocket.say_close()
    finally:
        await websocket.drop()
