"""One open connection: acknowledgements, repeated reads, a server that goes away in every way."""

import base64
import hashlib
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise

import pytest
import trio
import trio_websocket

from pushctl.client import connection as connection_module
from pushctl.client import events
from pushctl.client.connection import NO_CODE, Connection, Ended
from pushctl.client.dialing import NotConnected, dial
from pushctl.client.store import Store
from pushctl.protocol import frames
from tests.fake_service import FakeService, FakeSocket, Script, until_closed
from tests.unit.client.builders import cursor, message, session

PATIENCE_SECONDS = 5

UP_TO_DATE = frames.DeltaFrame([], cursor(1), True)


class Visit:
    """A connection and what it told, while it is live."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.told: list[events.Event] = []
        self.ended: Ended | None = None
        self.over = trio.Event()


@asynccontextmanager
async def visiting(
    service: FakeService, store: Store, script: Script, ping_seconds: float = 60
) -> AsyncIterator[Visit]:
    """Greeted and live; left at the end, or before if the script ends it."""
    service.scripts = [script]
    store.begin_session(session())
    to_us, told = trio.open_memory_channel[events.Event](math.inf)
    with to_us, told, trio.fail_after(PATIENCE_SECONDS):
        async with dial(service.socket_url) as socket, trio.open_nursery() as nursery:
            visit = Visit(Connection(socket, store, to_us, "very-low"))
            assert isinstance(await visit.connection.greet("secret-1"), frames.Welcome)

            async def live() -> None:
                visit.ended = await visit.connection.live(ping_seconds)
                visit.over.set()

            nursery.start_soon(live)
            yield visit
            nursery.cancel_scope.cancel()
        with to_us.clone():
            while True:
                try:
                    visit.told.append(told.receive_nowait())
                except trio.WouldBlock:
                    break


def event(seq: int) -> frames.MessageEvent:
    return frames.MessageEvent(cursor(seq), message(f"m{seq}"))


async def test_twenty_frames_are_acknowledged_at_once_and_the_last_few_after_a_fifth_of_a_second(
    service: FakeService, store: Store
) -> None:
    acks: list[tuple[float, frames.ClientFrame]] = []
    done = trio.Event()

    async def script(socket: FakeSocket) -> None:
        await socket.greet()
        began = trio.current_time()
        for batch in (range(1, 21), range(21, 24)):
            await socket.send(*(event(seq) for seq in batch))
            acks.append((trio.current_time() - began, await socket.receive()))
        with trio.move_on_after(0.3):
            acks.append((0, await socket.receive()))
        done.set()
        await until_closed(socket)

    async with visiting(service, store, script):
        await done.wait()
    assert [ack for _, ack in acks] == [frames.Ack(cursor(20)), frames.Ack(cursor(23))]


async def test_acknowledgements_are_at_least_a_fifth_of_a_second_apart(service: FakeService, store: Store) -> None:
    moments: list[float] = []
    done = trio.Event()

    async def script(socket: FakeSocket) -> None:
        await socket.greet()
        async with trio.open_nursery() as nursery:

            async def trickle() -> None:
                for seq in range(1, 30):
                    await socket.send(event(seq))
                    await trio.sleep(0.03)
                nursery.cancel_scope.cancel()

            nursery.start_soon(trickle)
            while True:
                await socket.receive()
                moments.append(trio.current_time())
        done.set()

    async with visiting(service, store, script):
        await done.wait()
    assert len(moments) >= 3
    assert min(later - earlier for earlier, later in pairwise(moments)) > 0.15


async def test_what_is_in_the_store_is_acknowledged_before_leaving(service: FakeService, store: Store) -> None:
    received: list[frames.ClientFrame] = []

    async def script(socket: FakeSocket) -> None:
        await socket.greet(UP_TO_DATE, event(2))
        try:
            while True:
                received.append(await socket.receive())
        except trio_websocket.ConnectionClosed as closed:
            assert closed.reason.code == 1000

    async with visiting(service, store, script):
        while store.resume_cursor("very-low") != cursor(2):
            await trio.sleep(0.001)
    assert received == [frames.Ack(cursor(2))]


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
        while not store.mark_read(["m1"]):
            await trio.sleep(0.001)
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
    service: FakeService, store: Store
) -> None:
    async def script(socket: FakeSocket) -> None:
        await socket.greet(UP_TO_DATE, frames.Reconnect(200, "draining"), event(2))
        await until_closed(socket)

    async with visiting(service, store, script) as visit:
        began = trio.current_time()
        await visit.over.wait()
        assert trio.current_time() - began > 0.1
    assert visit.ended == Ended(1000, "the server asked to reconnect")
    assert [type(told) for told in visit.told] == [events.SyncEvent, events.MessageEvent]


async def test_a_server_that_is_full_says_when_to_come_back(service: FakeService) -> None:
    with pytest.raises(NotConnected) as refused:
        async with dial(service.socket_url):
            raise AssertionError
    assert (refused.value.reason, refused.value.retry_after_seconds) == ("answered 503", 7.0)


async def test_nobody_there_is_said_in_the_systems_words() -> None:
    with pytest.raises(NotConnected, match=r"^connection refused$"):
        async with dial("ws://127.0.0.1:1/"):
            raise AssertionError


async def test_an_error_inside_is_not_hidden_by_a_peer_that_does_not_answer_our_close(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection_module, "GOODBYE_SECONDS", 0.05)
    async with silent_server() as url:
        with trio.fail_after(PATIENCE_SECONDS), pytest.raises(LookupError):
            async with dial(url):
                raise LookupError


async def test_a_server_that_says_no_welcome_is_given_up(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    monkeypatch.setattr(connection_module, "WELCOME_SECONDS", 0.05)
    monkeypatch.setattr(connection_module, "GOODBYE_SECONDS", 0.05)
    to_us, told = trio.open_memory_channel[events.Event](1)
    with to_us, told, trio.fail_after(PATIENCE_SECONDS):
        async with silent_server() as url:
            with pytest.raises(NotConnected, match="no welcome"):
                async with dial(url) as socket:
                    await Connection(socket, store, to_us, "very-low").greet("secret-1")


async def test_a_server_that_answers_no_ping_is_gone(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    for name in ("PONG_SECONDS", "GOODBYE_SECONDS"):
        monkeypatch.setattr(connection_module, name, 0.05)
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
    store.begin_session(session())
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


@asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    """Takes the upgrade and then neither reads nor writes: a frozen process, as TCP sees it."""

    async def freeze(stream: trio.SocketStream) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += await stream.receive_some()
        fields = dict(line.split(b": ", 1) for line in request.split(b"\r\n")[1:] if b": " in line)
        key = {name.lower(): value for name, value in fields.items()}[b"sec-websocket-key"]
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())  # noqa: S324
        answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        await stream.send_all(answer + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, freeze, 0, host="127.0.0.1"))
        listener: trio.SocketListener = listeners[0]
        yield f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/"
        nursery.cancel_scope.cancel()
