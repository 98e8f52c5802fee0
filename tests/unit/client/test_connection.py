"""One open connection: acknowledgements, repeated reads, a server that goes away in every way."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
import trio
import trio.testing
import trio_websocket

from pushctl.client import connection as connection_module
from pushctl.client import dialing, events
from pushctl.client.connection import NO_CODE, Connection, Ended
from pushctl.client.dialing import NotConnected, dial
from pushctl.client.store import Store
from pushctl.protocol import frames
from tests.fake_service import FakeService, FakeSocket, Script, silent_server, until_closed
from tests.unit.client.builders import cursor, message

PATIENCE_SECONDS = 5

UP_TO_DATE = frames.DeltaFrame([], cursor(1), True)


class Visit:
    """A connection while it is live, and what it tells."""

    def __init__(self, connection: Connection, told: trio.MemoryReceiveChannel[events.Event]) -> None:
        self.connection = connection
        self.told = told
        self.ended: Ended | None = None
        self.over = trio.Event()

    async def next(self, kind: type[events.Event]) -> events.Event:
        """The next event of this type."""
        async for event in self.told:
            if isinstance(event, kind):
                return event
        raise AssertionError

    def rest(self) -> list[events.Event]:
        """What was told and not looked at yet."""
        return [self.told.receive_nowait() for _ in range(self.told.statistics().current_buffer_used)]


@asynccontextmanager
async def visiting(service: FakeService, store: Store, script: Script) -> AsyncIterator[Visit]:
    """Greeted and live; left at the end, or before if the script ends it."""
    service.scripts = [script]
    to_us, told = trio.open_memory_channel[events.Event](math.inf)
    with to_us, told, trio.fail_after(PATIENCE_SECONDS):
        async with dial(service.socket_url) as socket, trio.open_nursery() as nursery:
            visit = Visit(Connection(socket, store, to_us, "very-low"), told)
            assert isinstance(await visit.connection.greet("secret-1"), frames.Welcome)

            async def live() -> None:
                visit.ended = await visit.connection.live(60)
                visit.over.set()

            nursery.start_soon(live)
            yield visit
            nursery.cancel_scope.cancel()


def event(seq: int) -> frames.MessageEvent:
    return frames.MessageEvent(cursor(seq), message(f"m{seq}"))


async def test_twenty_frames_are_acknowledged_at_once(
    service: FakeService, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "ACK_SECONDS", 3600)
    acks: list[frames.ClientFrame] = []
    done = trio.Event()

    async def script(socket: FakeSocket) -> None:
        await socket.greet()
        for batch in (range(1, 21), range(21, 41)):
            await socket.send(*(event(seq) for seq in batch))
            acks.append(await socket.receive())
        done.set()
        await until_closed(socket)

    async with visiting(service, store, script):
        await done.wait()
    assert acks == [frames.Ack(cursor(20)), frames.Ack(cursor(40))]


async def test_a_few_frames_are_acknowledged_together_after_a_moment(
    service: FakeService, store: Store, socket_clock: trio.testing.MockClock
) -> None:
    acks: list[frames.ClientFrame] = []
    done = trio.Event()

    async def script(socket: FakeSocket) -> None:
        await socket.greet()
        await socket.send(*(event(seq) for seq in range(1, 4)))
        acks.append(await socket.receive())
        with trio.move_on_after(0.3):
            acks.append(await socket.receive())
        done.set()
        await until_closed(socket)

    async with visiting(service, store, script):
        await done.wait()
    assert acks == [frames.Ack(cursor(3))]


async def test_acknowledgements_are_at_least_a_fifth_of_a_second_apart(service: FakeService, store: Store) -> None:
    moments: list[float] = []
    done = trio.Event()

    async def script(socket: FakeSocket) -> None:
        await socket.greet()

        async def note_acks() -> None:
            while True:
                await socket.receive()
                moments.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(note_acks)
            for seq in range(1, 30):
                await socket.send(event(seq))
                await trio.sleep(0.03)
            nursery.cancel_scope.cancel()
        done.set()
        await until_closed(socket)

    async with visiting(service, store, script):
        await done.wait()
    assert len(moments) >= 3
    assert min(later - earlier for earlier, later in pairwise(moments)) > 0.15


async def test_what_is_in_the_store_is_acknowledged_before_leaving(
    service: FakeService, store: Store, socket_clock: trio.testing.MockClock
) -> None:
    received: list[frames.ClientFrame] = []
    closed: list[int] = []

    async def script(socket: FakeSocket) -> None:
        await socket.greet(UP_TO_DATE, event(2))
        received.append(await socket.receive())
        with pytest.raises(trio_websocket.ConnectionClosed) as ended:
            await socket.receive()
        closed.append(ended.value.reason.code if ended.value.reason else 0)

    async with visiting(service, store, script) as visit:
        assert isinstance(await visit.next(events.MessageEvent), events.MessageEvent)
    await trio.testing.wait_all_tasks_blocked()
    assert (received, closed) == ([frames.Ack(cursor(2))], [1000])


async def test_reads_made_offline_are_said_after_the_sync_and_new_ones_at_once(
    service: FakeService, store: Store
) -> None:
    for seq in (1, 2, 3):
        store.apply_event(event(seq), "very-low")
    store.mark_read(["m1", "m2"])
    said: list[frames.ClientFrame] = []
    heard = [trio.Event(), trio.Event()]

    async def script(socket: FakeSocket) -> None:
        # The read of m1 was heard before the connection broke: its confirmation is among what was missed.
        await socket.greet(frames.DeltaFrame([frames.ReadEvent(cursor(4), ["m1"])], cursor(4), True))
        for event_heard in heard:
            frame = await socket.receive()
            while isinstance(frame, frames.Ack):
                frame = await socket.receive()
            said.append(frame)
            event_heard.set()
        await until_closed(socket)

    async with visiting(service, store, script) as visit:
        await heard[0].wait()
        store.mark_read(["m3"])
        visit.connection.reads_are_waiting()
        await heard[1].wait()
    assert said == [frames.Read(ids=["m2"]), frames.Read(ids=["m3"])]
    assert store.pending_reads() == ["m2", "m3"], "not confirmed, so said again next time"


async def test_many_reads_are_said_in_frames_a_server_takes(service: FakeService, store: Store) -> None:
    names = [f"{'m' * 250}{number:06}" for number in range(450)]
    store.apply_delta(
        frames.DeltaFrame([frames.MessageEvent(cursor(1), message(name)) for name in names], cursor(1), True),
        "very-low",
    )
    store.mark_read(names)
    sizes: list[int] = []
    done = trio.Event()

    async def script(socket: FakeSocket) -> None:
        await socket.greet(UP_TO_DATE)
        said: list[str] = []
        while len(said) < len(names):
            frame = await socket.receive()
            if isinstance(frame, frames.Read):
                sizes.append(len(frames.encode(frame)))
                said += frame.ids or []
        assert said == names
        done.set()
        await until_closed(socket)

    async with visiting(service, store, script):
        await done.wait()
    assert max(sizes) < 65_536


async def test_unconfirmed_reads_are_said_again_after_a_new_snapshot(service: FakeService, store: Store) -> None:
    said: list[frames.ClientFrame] = []
    done = trio.Event()

    async def script(socket: FakeSocket) -> None:
        await socket.greet(frames.SnapshotFrame([], [message("m1")], cursor(1), True))
        for _ in range(2):
            frame = await socket.receive()
            while not isinstance(frame, frames.Read):
                frame = await socket.receive()
            said.append(frame)
            await socket.send(frames.SnapshotFrame([], [message("m1")], cursor(1, "b" * 16), True))
        done.set()
        await until_closed(socket)

    async with visiting(service, store, script) as visit:
        await visit.next(events.MessageEvent)
        store.mark_read(["m1"])
        visit.connection.reads_are_waiting()
        await done.wait()
    assert said == [frames.Read(ids=["m1"])] * 2


async def test_pings_are_answered_and_unknown_frames_ignored(service: FakeService, store: Store) -> None:
    done = trio.Event()

    async def script(socket: FakeSocket) -> None:
        await socket.greet()
        await socket.websocket.send_message('{"type":"a frame of the future"}')
        await socket.send(frames.Ping())
        assert await socket.receive() == frames.Pong()
        done.set()
        await until_closed(socket)

    async with visiting(service, store, script):
        await done.wait()


async def test_the_error_frame_says_why_the_server_closes(service: FakeService, store: Store) -> None:
    async def script(socket: FakeSocket) -> None:
        await socket.greet()
        await socket.send(frames.ErrorFrame("slow_consumer", "you read too slowly", True))
        await socket.close(4002, "slow")

    async with visiting(service, store, script) as visit:
        await visit.over.wait()
    assert visit.ended == Ended(4002, "you read too slowly")


@pytest.mark.parametrize("text", ["not json", "[]", '{"type":"message","cursor":1}', '{"type":"sync","mode":"delta"}'])
async def test_a_server_that_breaks_the_protocol_is_left(text: str, service: FakeService, store: Store) -> None:
    async def script(socket: FakeSocket) -> None:
        await socket.greet()
        await socket.websocket.send_message(text)
        await until_closed(socket)

    async with visiting(service, store, script) as visit:
        await visit.over.wait()
    assert visit.ended is not None
    assert visit.ended.code == NO_CODE
    assert "does not understand" in visit.ended.reason


async def test_a_reconnect_frame_is_obeyed_at_its_moment_and_messages_still_come_until_then(
    service: FakeService, store: Store, socket_clock: trio.testing.MockClock
) -> None:

    async def script(socket: FakeSocket) -> None:
        await socket.greet(UP_TO_DATE, frames.Reconnect(200, "draining"), event(2))
        await until_closed(socket)

    async with visiting(service, store, script) as visit:
        began = trio.current_time()
        await visit.over.wait()
        assert trio.current_time() - began > 0.1
        told = [type(event) for event in visit.rest()]
    assert visit.ended == Ended(1000, "the server asked to reconnect")
    assert told == [events.SyncEvent, events.MessageEvent]


async def test_a_reconnect_frame_before_the_welcome_is_understood(service: FakeService, store: Store) -> None:
    async def script(socket: FakeSocket) -> None:
        await socket.receive()
        await socket.send(frames.Reconnect(60_000, "draining"))
        await socket.close(4001)

    service.scripts = [script]
    to_us, told = trio.open_memory_channel[events.Event](1)
    with to_us, told, trio.fail_after(PATIENCE_SECONDS):
        async with dial(service.socket_url) as socket:
            connection = Connection(socket, store, to_us, "very-low")
            ended = await connection.greet("secret-1")
    assert isinstance(ended, Ended)
    assert ended.code == 4001
    assert connection.leave_at is not None
    assert connection.leave_at > trio.current_time() + 50


async def test_a_server_that_says_no_welcome_is_given_up(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    monkeypatch.setattr(connection_module, "WELCOME_SECONDS", 0.05)
    monkeypatch.setattr(dialing, "GOODBYE_SECONDS", 0.05)
    to_us, told = trio.open_memory_channel[events.Event](1)
    with to_us, told, trio.fail_after(PATIENCE_SECONDS):
        async with silent_server() as url:
            with pytest.raises(NotConnected, match="no welcome"):
                async with dial(url) as socket:
                    await Connection(socket, store, to_us, "very-low").greet("secret-1")


async def test_a_server_that_answers_no_ping_is_gone(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    for module, name in ((connection_module, "PONG_SECONDS"), (dialing, "GOODBYE_SECONDS")):
        monkeypatch.setattr(module, name, 0.05)
    to_us, told = trio.open_memory_channel[events.Event](1)
    with to_us, told, trio.fail_after(PATIENCE_SECONDS):
        async with silent_server() as url, dial(url) as socket:
            ended = await Connection(socket, store, to_us, "very-low").live(0.05)
    assert ended == Ended(NO_CODE, "the server does not answer any more")


async def test_a_display_that_does_not_keep_up_stops_the_reading(service: FakeService, store: Store) -> None:
    """Nothing piles up in this process: the store has one event more than were displayed, not all."""
    sent = trio.Event()

    async def script(socket: FakeSocket) -> None:
        await socket.greet()
        await socket.send(*(event(seq) for seq in range(1, 11)))
        sent.set()
        await until_closed(socket)

    service.scripts = [script]
    to_us, told = trio.open_memory_channel[events.Event](2)
    with to_us, told, trio.fail_after(PATIENCE_SECONDS):
        async with dial(service.socket_url) as socket, trio.open_nursery() as nursery:
            connection = Connection(socket, store, to_us, "very-low")
            await connection.greet("secret-1")
            nursery.start_soon(connection.live, 60)
            await sent.wait()
            await trio.testing.wait_all_tasks_blocked(0.02)
            assert len(store.messages()) == 3
            for _ in range(5):
                await told.receive()
            await trio.testing.wait_all_tasks_blocked(0.02)
            assert len(store.messages()) == 8
            nursery.cancel_scope.cancel()
