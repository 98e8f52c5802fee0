"""One connection of a swarm's device: towards a server it is a phone, with one task and one deadline."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from pushctl.client import visit as visit_module
from pushctl.client.dialing import NotConnected
from pushctl.client.ledger import DeviceLedger, UserLedger
from pushctl.client.report import Tally
from pushctl.client.visit import Visit
from pushctl.client.websocket import NO_CODE, connect
from pushctl.protocol import frames
from tests.fake_service import FakeService, FakeSocket, Script, until_closed
from tests.unit.client.builders import SetClock, cursor, message

PATIENCE_SECONDS = 5

UP_TO_DATE = frames.DeltaFrame([], cursor(1), True)


class Here:
    """A visit, what it is told, and how it ends."""

    def __init__(self, visit: Visit, ledger: DeviceLedger, tally: Tally, syncs: list[int]) -> None:
        self.visit = visit
        self.ledger = ledger
        self.tally = tally
        self.syncs = syncs
        self.code: int | None = None
        self.over = trio.Event()


@asynccontextmanager
async def visiting(
    service: FakeService, script: Script, clock: SetClock, *, reads: bool = False, ledger: DeviceLedger | None = None
) -> AsyncIterator[Here]:
    service.scripts = [script]
    tally, syncs = Tally(), list[int]()
    ledger = ledger or DeviceLedger(UserLedger(), 0, tally, clock=clock, wants_to_read=lambda: reads)
    with trio.fail_after(PATIENCE_SECONDS):
        websocket = await connect(service.socket_url)
        visit = Visit(websocket, ledger, "very-low", lambda: syncs.append(1))
        here = Here(visit, ledger, tally, syncs)

        async def run() -> None:
            here.code = await visit.run("secret-1")
            here.over.set()

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run)
                yield here
                nursery.cancel_scope.cancel()
        finally:
            await websocket.drop()


def event(seq: int) -> frames.MessageEvent:
    return frames.MessageEvent(cursor(seq), message(f"m{seq}"))


async def test_it_says_hello_with_its_cursor_and_knows_when_it_is_up_to_date(
    service: FakeService, clock: SetClock
) -> None:
    hellos: list[frames.Hello] = []

    async def script(socket: FakeSocket) -> None:
        hellos.append(await socket.greet(frames.DeltaFrame([event(2)], cursor(2), False), UP_TO_DATE))
        await socket.receive()
        await socket.close(4001)

    async with visiting(service, script, clock) as here:
        await here.over.wait()
    assert hellos == [frames.Hello(token="secret-1", cursor=None, min_urgency="very-low")]
    assert (here.syncs, here.code, here.tally.received_later) == ([1], 4001, 1)


async def test_twenty_frames_are_acknowledged_at_once(
    service: FakeService, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visit_module, "ACK_SECONDS", 3600)
    acks: list[frames.ClientFrame] = []

    async def script(socket: FakeSocket) -> None:
        await socket.greet()
        for batch in (range(1, 21), range(21, 41)):
            await socket.send(*(event(seq) for seq in batch))
            acks.append(await socket.receive())
        await socket.close(4000)

    async with visiting(service, script, clock) as here:
        await here.over.wait()
    assert [type(ack) for ack in acks] == [frames.Ack, frames.Ack]
    assert acks[-1] == frames.Ack(cursor(40))


async def test_a_few_frames_are_acknowledged_together_after_a_moment(
    service: FakeService, clock: SetClock, socket_clock: trio.testing.MockClock
) -> None:
    acks: list[frames.ClientFrame] = []

    async def script(socket: FakeSocket) -> None:
        await socket.greet()
        await socket.send(*(event(seq) for seq in range(1, 4)))
        acks.append(await socket.receive())
        with trio.move_on_after(0.3):
            acks.append(await socket.receive())
        await socket.close(4000)

    async with visiting(service, script, clock) as here:
        await here.over.wait()
    assert acks == [frames.Ack(cursor(3))]


async def test_what_is_marked_read_is_said_until_it_is_confirmed(
    service: FakeService, clock: SetClock, socket_clock: trio.testing.MockClock
) -> None:
    said: list[frames.ClientFrame] = []

    async def first(socket: FakeSocket) -> None:
        await socket.greet(UP_TO_DATE)
        await socket.send(event(2), event(3))
        said.extend([await socket.receive(), await socket.receive()])
        await socket.send(frames.ReadEvent(cursor(4), ["m2"]))
        await socket.receive()
        await socket.close(4001)

    async def second(socket: FakeSocket) -> None:
        await socket.greet(frames.DeltaFrame([], cursor(4), True))
        said.extend([await socket.receive(), await socket.receive()])
        await socket.close(4001)

    async with visiting(service, first, clock, reads=True) as here:
        await here.over.wait()
    async with visiting(service, second, clock, ledger=here.ledger) as again:
        await again.over.wait()
    assert said == [
        frames.Ack(cursor(3)),
        frames.Read(ids=["m2", "m3"]),
        frames.Ack(cursor(4)),
        frames.Read(ids=["m3"]),
    ]
    assert here.tally.reads_confirmed == 1


async def test_pings_are_answered_and_what_it_does_not_know_is_passed_over(
    service: FakeService, clock: SetClock
) -> None:
    async def script(socket: FakeSocket) -> None:
        await socket.greet(UP_TO_DATE)
        await socket.websocket.send_message('{"type":"news"}')
        await socket.send(frames.Ping(), frames.ErrorFrame("x", "y", True))
        assert await socket.receive() == frames.Pong()
        await socket.websocket.ping()
        await socket.close(4003)

    async with visiting(service, script, clock) as here:
        await here.over.wait()
    assert here.code == 4003


async def test_a_reconnect_frame_is_obeyed_at_its_moment_and_messages_still_come_until_then(
    service: FakeService, clock: SetClock, socket_clock: trio.testing.MockClock
) -> None:

    async def script(socket: FakeSocket) -> None:
        await socket.greet(UP_TO_DATE)
        await socket.send(frames.Reconnect(300, "draining"), event(2))
        await until_closed(socket)

    began = trio.current_time()
    async with visiting(service, script, clock) as here:
        await here.over.wait()
    assert (here.code, here.tally.received_live) == (1000, 1)
    assert trio.current_time() - began >= 0.3


async def test_a_server_that_asks_to_come_back_later_before_its_welcome_is_understood(
    service: FakeService, clock: SetClock
) -> None:
    async def script(socket: FakeSocket) -> None:
        await socket.receive()
        await socket.send(frames.Reconnect(60_000, "draining"))
        await socket.close(4001)

    async with visiting(service, script, clock) as here:
        await here.over.wait()
    assert (here.code, here.visit.welcomed_at) == (4001, None)
    assert here.visit.leave_at > trio.current_time() + 50


async def test_a_silent_server_is_asked_whether_it_lives_and_then_left(
    service: FakeService, clock: SetClock, monkeypatch: pytest.MonkeyPatch, socket_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setattr(visit_module, "LEAST_PING_SECONDS", 0.05)
    monkeypatch.setattr(visit_module, "PONG_SECONDS", 0.2)
    frozen = trio.Event()

    async def script(socket: FakeSocket) -> None:
        await socket.greet(UP_TO_DATE, ping_ms=1)
        await trio.sleep(0.5)  # the library's pongs keep us there
        stream = socket.websocket._stream

        async def swallow(data: bytes) -> None:
            await trio.sleep_forever()

        monkeypatch.setattr(stream, "send_all", swallow)
        frozen.set()
        await until_closed(socket)

    async with visiting(service, script, clock) as here:
        await frozen.wait()
        assert not here.over.is_set()
        await here.over.wait()
    assert here.code == NO_CODE


async def test_a_server_that_says_no_welcome_is_given_up(
    service: FakeService, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visit_module, "WELCOME_SECONDS", 0.05)
    with pytest.RaisesGroup(NotConnected, flatten_subgroups=True):
        async with visiting(service, until_closed, clock) as here:
            await here.over.wait()


@pytest.mark.parametrize("text", ["hello", '{"type":"sync","mode":"delta"}', "[]"])
async def test_a_server_that_does_not_speak_our_protocol_is_left(
    text: str, service: FakeService, clock: SetClock
) -> None:
    async def script(socket: FakeSocket) -> None:
        await socket.greet(UP_TO_DATE)
        await socket.websocket.send_message(text)
        await until_closed(socket)

    async with visiting(service, script, clock) as here:
        await here.over.wait()
    assert here.code == NO_CODE
