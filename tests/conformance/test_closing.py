"""How a connection ends, and how long that takes: RFC 6455, section 7, and docs/protocol.md, section 4. Nothing here
waits: the clock jumps."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from roles.socket.line import Interrupted
from roles.socket.pulse import Pulse
from roles.socket.wire import Disconnected, Stalled, Wire
from tests.conformance.cases import MAX_BYTES, close, frame, part, text
from tests.conformance.seam import REQUEST, STALL_SECONDS, Peer, Said, Server, listening
from tests.conformance.server_frames import parse
from tests.scenario.raw_frames import PING, PONG, TEXT, raw_frame

CLOSE_SECONDS = 2
MUCH_BYTES = 1_000_000


class Ending:
    """A peer that was let in, and a server that does as `talk` says. The clock is at 0 then."""

    def __init__(self, stream: trio.abc.Stream, server: Server, pieces: int | None) -> None:
        self.server = server
        self._stream = stream
        self._pieces = pieces
        self._started = trio.current_time()
        self._heard = b""

    @property
    def seconds(self) -> float:
        return trio.current_time() - self._started

    async def send(self, octets: bytes) -> None:
        """Whether or not somebody is still there."""
        with suppress(trio.BrokenResourceError):
            await self._stream.send_all(octets)

    async def read(self, size: int) -> bytes:
        """At least so much of what comes."""
        while len(self._heard) < size:
            data = await self._stream.receive_some(self._pieces)
            if not data:
                break
            self._heard += data
        return self._heard

    async def rest(self) -> Said:
        """All that comes until TCP is dropped, behind the head of the answer."""
        with suppress(trio.BrokenResourceError):
            await self.read(MUCH_BYTES * 100)
        return Said(b"HTTP/1.1 101 \r\n\r\n", self._heard)

    async def hang_up(self) -> None:
        await self._stream.aclose()


Talk = Callable[[Wire], Awaitable[None]]


@asynccontextmanager
async def opened(talk: Talk | None = None, *, slow: bool = False) -> AsyncIterator[Ending]:
    """`talk`: what the server does, if not to listen. `slow`: whoever sends waits until all of it was received, and a
    little of it is at a time."""
    await trio.sleep(60)  # on a clock that begins at 0 nobody has saved up any frames yet (intake.py)
    ours, theirs = lockstep_stream_pair() if slow else memory_stream_pair()
    server = Server()
    if talk is not None:
        server.talk = talk
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve, ours)
        await theirs.send_all(REQUEST)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await theirs.receive_some(1)
        yield Ending(theirs, server, 1000 if slow else None)
        nursery.cancel_scope.cancel()
    if server.crashed is not None:
        raise server.crashed


async def leave(wire: Wire) -> None:
    await wire.close(4001, "draining")


# --- before that -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "octets",
    [text("x"), frame(PING, b"p"), frame(PONG, b"unasked"), text("half of it")[:3]],
    ids=["text", "ping", "pong", "half a frame"],
)
async def test_a_peer_that_says_anything_is_asked_later_whether_it_is_there(
    octets: bytes, autojump_clock: MockClock
) -> None:
    pulses: list[Pulse] = []

    async def listen(wire: Wire) -> None:
        wire.pulse = Pulse(trio.current_time(), ping_seconds=30, pong_seconds=20)
        pulses.append(wire.pulse)
        while True:
            await wire.receive()

    async with opened(listen) as peer:
        await trio.sleep(25)
        (pulse,) = pulses
        await peer.send(octets)
        await trio.sleep(25)
        assert not pulse.is_lost(trio.current_time(), excused=False)
        assert not pulse.ping_due
        await trio.sleep(30 * 1.1 - 25)
        assert not pulse.is_lost(trio.current_time(), excused=False)
        assert pulse.ping_due


# --- the server closes -----------------------------------------------------------------------------------------------


async def test_the_server_closes_and_a_peer_that_answers_is_let_go_at_once(autojump_clock: MockClock) -> None:
    async with opened(leave) as peer:
        await peer.read(4)
        await peer.send(close(4001))
        said = await peer.rest()
        assert [(each.code, each.payload[2:]) for each in said.frames] == [(4001, b"draining")]
        assert peer.seconds == 0


async def test_the_server_closes_and_a_peer_that_hangs_up_is_let_go_at_once(autojump_clock: MockClock) -> None:
    async with opened(leave) as peer:
        await peer.read(4)
        await peer.hang_up()
        await wait_all_tasks_blocked()
        assert peer.seconds == 0


async def test_the_server_closes_and_a_peer_that_is_silent_is_dropped(autojump_clock: MockClock) -> None:
    async with opened(leave) as peer:
        assert (await peer.rest()).close_code == 4001
        assert peer.seconds == pytest.approx(CLOSE_SECONDS)


@pytest.mark.parametrize(
    "octets",
    [text("x"), frame(PING, b"p"), b"\xff" * 8, close(1000)[:3]],
    ids=["text", "pings", "nonsense", "half a Close"],
)
async def test_the_server_closes_and_a_peer_that_answers_anything_else_is_dropped_as_soon(
    octets: bytes, autojump_clock: MockClock
) -> None:
    """And it is answered nothing more."""

    async def chatter() -> None:
        while True:
            await peer.send(octets)
            await trio.sleep(0.3)

    async with opened(leave) as peer, trio.open_nursery() as nursery:
        await peer.read(4)
        nursery.start_soon(chatter)
        said = await peer.rest()
        assert [each.code for each in said.frames] == [4001]
        assert peer.seconds <= CLOSE_SECONDS * 1.001
        nursery.cancel_scope.cancel()


async def test_the_server_closes_and_a_peer_that_goes_on_sending_much_is_dropped_for_it(
    autojump_clock: MockClock,
) -> None:
    async with opened(leave) as peer:
        await peer.read(4)
        await peer.send(frame(TEXT, b"x" * MUCH_BYTES))
        assert (await peer.rest()).close_code == 4001
        assert peer.seconds == 0


async def test_the_server_closes_and_what_was_under_way_to_it_is_let_pass(autojump_clock: MockClock) -> None:
    async with opened(leave) as peer:
        await peer.read(4)
        await peer.send(text("under way") + part(b"half a message", first=True))
        await wait_all_tasks_blocked()
        await peer.send(frame(PING) + close(4001))
        assert [each.code for each in (await peer.rest()).frames] == [4001]
        assert peer.seconds == 0
        assert peer.server.heard == []


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 4001, 4503, 4999])
async def test_the_server_closes_with_the_code_and_the_reason_it_means(code: int, autojump_clock: MockClock) -> None:
    async with opened(lambda wire: wire.close(code, "würde")) as peer:
        await peer.send(close(code))
        [last] = (await peer.rest()).frames
        assert (last.code, last.payload[2:].decode()) == (code, "würde")


@pytest.mark.parametrize(
    ("reason", "said"), [("", ""), ("x" * 200, "x" * 123), ("ü" * 100, "ü" * 61)], ids=["empty", "long", "long umlauts"]
)
async def test_a_reason_is_cut_to_what_a_close_holds_and_never_within_a_character(
    reason: str, said: str, autojump_clock: MockClock
) -> None:
    async with opened(lambda wire: wire.close(4000, reason)) as peer:
        await peer.send(close(4000))
        [last] = (await peer.rest()).frames
        assert last.payload[2:].decode() == said


async def test_an_earlier_moment_may_be_set(autojump_clock: MockClock) -> None:
    async def leave_soon(wire: Wire) -> None:
        await wire.close(4001, "draining", by=trio.current_time() + 0.5)

    async with opened(leave_soon) as peer:
        assert (await peer.rest()).close_code == 4001
        assert peer.seconds == pytest.approx(0.5)


async def test_a_close_that_is_cancelled_still_says_it(autojump_clock: MockClock) -> None:
    async def leave_cancelled(wire: Wire) -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await wire.close(4001, "draining")

    async with opened(leave_cancelled) as peer:
        await peer.send(close(4001))
        assert (await peer.rest()).close_code == 4001


# --- the peer closes -------------------------------------------------------------------------------------------------


async def test_the_peer_closes_and_is_answered_and_dropped_at_once(autojump_clock: MockClock) -> None:
    """By us: it is the server that hangs up first (section 7.1.1)."""
    async with opened() as peer:
        await peer.send(close(4000, b"bye"))
        assert (await peer.rest()).close_code == 4000
        assert peer.seconds == 0


async def test_the_peer_closes_and_hangs_up_without_waiting(autojump_clock: MockClock) -> None:
    async with opened() as peer:
        await peer.send(close(1001))
        await peer.hang_up()
        await wait_all_tasks_blocked()
        assert peer.server.gone is not None
        assert peer.server.gone.code == 1001
        assert peer.seconds == 0


async def test_the_peer_hangs_up_without_a_word(autojump_clock: MockClock) -> None:
    for octets in (b"", text("x")[:3], part(b"x", first=True)):
        async with opened() as peer:
            await peer.send(octets)
            await peer.hang_up()
            await wait_all_tasks_blocked()
            assert peer.server.gone is not None
            assert peer.server.gone.code == 1006
            assert peer.seconds == 0


async def test_what_is_wrong_is_told_and_a_peer_that_does_not_go_is_dropped(autojump_clock: MockClock) -> None:
    async with opened() as peer:
        await peer.send(frame(3))
        assert (await peer.rest()).close_code == 1002
        assert peer.seconds <= CLOSE_SECONDS * 1.001


async def test_what_is_wrong_is_told_and_a_peer_that_sends_much_more_is_dropped_for_it(
    autojump_clock: MockClock,
) -> None:
    async with opened() as peer:
        await peer.send(frame(3) + b"x" * MUCH_BYTES)
        assert (await peer.rest()).close_code == 1002
        assert peer.seconds == 0


async def test_both_close_at_once(autojump_clock: MockClock) -> None:
    """Each takes the other's for the answer."""
    closing = trio.Event()

    async def leave_then(wire: Wire) -> None:
        await closing.wait()
        await wire.close(4001, "draining")

    async with opened(leave_then) as peer:
        await peer.send(close(4000))
        closing.set()
        assert [each.code for each in (await peer.rest()).frames] == [4001]
        assert peer.seconds == 0


async def test_nothing_is_sent_behind_a_close(autojump_clock: MockClock) -> None:
    failed = []

    async def go_on(wire: Wire) -> None:
        await wire.close(4001, "")
        for late in (wire.send(b"{}"), wire.ping()):
            with pytest.raises(Disconnected):
                await late
            failed.append(late)

    async with opened(go_on) as peer:
        await peer.send(close(4001))
        assert [each.code for each in (await peer.rest()).frames] == [4001]
        await wait_all_tasks_blocked()
        assert len(failed) == 2


async def test_nothing_is_sent_while_the_answer_to_a_close_is_waited_for(autojump_clock: MockClock) -> None:
    late: list[type[BaseException]] = []

    async def close_and_send(wire: Wire) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.close, 4001, "")
            await wait_all_tasks_blocked()
            with pytest.raises(Disconnected) as refused:
                await wire.send(b"{}")
            late.append(refused.type)

    async with opened(close_and_send) as peer:
        assert [each.code for each in (await peer.rest()).frames] == [4001]
        assert len(late) == 1


# --- while something is being sent -----------------------------------------------------------------------------------


async def test_a_close_waits_for_the_frame_that_is_on_its_way(autojump_clock: MockClock) -> None:
    async def send_and_close(wire: Wire) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.send, b"x" * 50_000)
            await wait_all_tasks_blocked()
            await wire.close(4001, "")

    async with opened(send_and_close, slow=True) as peer:
        await peer.read(4 + 50_000 + 4)
        await peer.send(close(4001))
        said = await peer.rest()
        assert [len(each.payload) for each in said.frames] == [50_000, 2]
        assert peer.seconds == 0


async def test_a_close_does_not_wait_for_ever_for_a_peer_that_takes_nothing(autojump_clock: MockClock) -> None:
    async def send_and_close(wire: Wire) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(unless_over, wire.send, b"x" * 50_000)
            await wait_all_tasks_blocked()
            started = trio.current_time()
            await wire.close(4001, "")
            assert trio.current_time() - started == pytest.approx(CLOSE_SECONDS)

    async with opened(send_and_close, slow=True) as peer:
        await trio.sleep(CLOSE_SECONDS + 1)
        said = await peer.rest()
        assert b"\x88" not in said.rest


async def unless_over(do: Callable[..., Awaitable[object]], *given: bytes) -> None:
    with suppress(Disconnected):
        await do(*given)


async def test_half_a_frame_is_the_last_that_is_written(autojump_clock: MockClock) -> None:
    """A frame that was cut off when its sender was cancelled."""
    late: list[type[BaseException]] = []

    async def cut_off(wire: Wire) -> None:
        with trio.move_on_after(1):
            await wire.send(b"x" * 50_000)
        for attempt in (wire.send(b"{}"), wire.ping(), wire.pong()):
            with pytest.raises(Disconnected) as refused:
                await attempt
            late.append(refused.type)
        await wire.close(4001, "")

    async with opened(cut_off, slow=True) as peer:
        await peer.read(1000)
        await trio.sleep(1.5)
        said = await peer.rest()
        assert said.rest == (b"\x81\x7e\xc3\x50" + b"x" * 50_000)[: len(said.rest)]
        assert len(said.rest) < 50_000
        assert len(late) == 3


@asynccontextmanager
async def opened_over_tcp(talk: Talk) -> AsyncIterator[Peer]:
    """As `opened`, with a kernel between, which takes little for a peer that does not read."""
    server = Server()
    server.talk = talk
    async with listening(server.serve) as connect:
        stream = await connect()
        stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 65_536)
        async with Peer(stream) as peer:
            await peer.ask()
            yield peer
    assert server.crashed is None


async def test_frames_that_the_kernel_takes_in_pieces_come_whole() -> None:
    async def send_much(wire: Wire) -> None:
        async with trio.open_nursery() as nursery:
            for letter in (b"a", b"b", b"c"):
                nursery.start_soon(wire.send, letter * MUCH_BYTES)
        await wire.close(4001, "")

    async with opened_over_tcp(send_much) as peer:
        await wait_all_tasks_blocked()
        *frames, last = (await peer.rest()).frames
    assert sorted(each.payload[:1] * MUCH_BYTES == each.payload for each in frames) == [True] * 3
    assert last.code == 4001


async def test_half_a_frame_is_the_last_that_is_written_over_tcp() -> None:
    over = trio.Event()

    async def cut_off(wire: Wire) -> None:
        with trio.move_on_after(0.01):
            await wire.send(b"x" * MUCH_BYTES * 10)
        await wire.close(4001, "", by=trio.current_time() + 0.1)
        over.set()

    async with opened_over_tcp(cut_off) as peer:
        await over.wait()
        said = await peer.rest()
    assert said.rest.strip(b"x")[:2] == b"\x81\x7f"
    assert len(said.rest.strip(b"x")) < 11
    assert len(said.rest) < MUCH_BYTES * 10


async def test_a_peer_that_takes_nothing_has_stalled_and_one_that_is_slow_has_not(autojump_clock: MockClock) -> None:
    found: list[float] = []

    async def send_much(wire: Wire) -> None:
        await wire.send(b"x" * 100_000)
        found.append(trio.current_time())
        try:
            await wire.send(b"x" * 100_000)
        except Stalled:
            found.append(trio.current_time())

    async with opened(send_much, slow=True) as peer:
        read = 0
        while len(found) == 0:
            await trio.sleep(STALL_SECONDS / 20)
            read += 1000
            await peer.read(read)
        assert found[0] - peer._started > 2 * STALL_SECONDS
        await trio.sleep(STALL_SECONDS * 3)
        assert len(found) == 2
        assert found[1] - found[0] == pytest.approx(STALL_SECONDS, abs=STALL_SECONDS / 10)


async def test_whoever_is_wanted_elsewhere_does_not_wait_for_a_peer_that_does_not_take_its_pong(
    autojump_clock: MockClock,
) -> None:
    interrupted: list[float] = []

    async def hear(wire: Wire) -> None:
        try:
            await wire.receive()
        except Interrupted:
            interrupted.append(trio.current_time())

    async def listen_until_told(wire: Wire) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hear, wire)
            await trio.sleep(1)
            assert wire.busy
            wire.interrupt()

    async with opened(listen_until_told, slow=True) as peer:
        await peer.send(raw_frame(PING, b"p"))
        await trio.sleep(2)
        assert [at - peer._started for at in interrupted] == [1]


# --- what the server sends -------------------------------------------------------------------------------------------

SIZES = (0, 1, 125, 126, 127, 65_535, 65_536, 200_000)


async def test_each_message_is_one_frame_of_text_without_mask_and_with_its_shortest_length(
    autojump_clock: MockClock,
) -> None:
    async def send_all(wire: Wire) -> None:
        for size in SIZES:
            await wire.send(b"x" * size)
        await wire.send("grüße 🦊".encode())
        await wire.ping()
        await wire.close(1000, "")

    async with opened(send_all) as peer:
        await peer.send(close(1000))
        frames = parse((await peer.rest()).rest)
        assert [each.opcode for each in frames] == [TEXT] * (len(SIZES) + 1) + [PING, 8]
        assert [len(each.payload) for each in frames[: len(SIZES)]] == list(SIZES)
        assert frames[len(SIZES)].payload.decode() == "grüße 🦊"


async def test_frames_of_two_tasks_do_not_mix(autojump_clock: MockClock) -> None:
    async def send_both(wire: Wire) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.send, b"a" * 40_000)
            nursery.start_soon(wire.send, b"b" * 40_000)
            nursery.start_soon(wire.ping)
        await wire.close(1000, "")

    async with opened(send_both, slow=True) as peer:
        await peer.read(2 * (4 + 40_000) + 2 + 4)
        await peer.send(close(1000))
        frames = (await peer.rest()).frames
        assert sorted(each.payload[:1] for each in frames[:-1]) == [b"", b"a", b"b"]


async def test_a_pong_does_not_interrupt_a_frame_and_comes_when_the_writer_looks(autojump_clock: MockClock) -> None:
    async def write_slowly(wire: Wire) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(unless_over, wire.receive)
            await wire.send(b"x" * 40_000)
            if wire.owes_pong:
                await wire.pong()
            await wire.close(1000, "")

    async with opened(write_slowly, slow=True) as peer:
        await peer.read(1000)
        await peer.send(frame(PING, b"1") + frame(PING, b"2"))
        await wait_all_tasks_blocked()
        await peer.read(4 + 40_000 + 3)
        await peer.send(close(1000))
        frames = (await peer.rest()).frames
        assert [(each.opcode, each.payload[:1]) for each in frames[:2]] == [(TEXT, b"x"), (PONG, b"2")]


async def test_a_peer_that_takes_nothing_is_heard_all_the_same(autojump_clock: MockClock) -> None:
    heard: list[str | bytes] = []

    async def listen(wire: Wire) -> None:
        while True:
            heard.append(await wire.receive())

    async def write_and_listen(wire: Wire) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen, wire)
            await wire.send(b"x" * 40_000)

    async with opened(write_and_listen, slow=True) as peer:
        await peer.read(1000)
        for number in range(3):
            await peer.send(frame(PING) + text(str(number)))
            await wait_all_tasks_blocked()
        assert heard == ["0", "1", "2"]


# --- how much a peer may send ----------------------------------------------------------------------------------------


async def test_many_messages_at_once_are_all_heard_and_in_time(autojump_clock: MockClock) -> None:
    many = [str(number) for number in range(1000)]
    async with opened() as peer:
        await peer.send(b"".join(map(text, many)) + close(1000))
        assert (await peer.rest()).close_code == 1000
        assert peer.server.heard == many
        assert 2 < peer.seconds < 20


FLOODS = {
    "empty fragments": part(b""),
    "pings": frame(PING),
    "small messages": text("{}"),
    "the largest messages": text("x" * MAX_BYTES),
}


@pytest.mark.parametrize("octets", FLOODS.values(), ids=FLOODS)
async def test_a_flood_is_read_slowly_and_ends_the_connection(octets: bytes, autojump_clock: MockClock) -> None:
    """Fragments without end among them: they are no message, and cost no memory."""
    beginning = part(b"", first=True) if not octets[0] & 0x0F else b""
    async with opened() as peer, trio.open_nursery() as nursery:

        async def flood() -> None:
            await peer.send(beginning)
            while True:
                await peer.send(octets * max(1, 1000 // len(octets)))
                await trio.sleep(0.5)

        nursery.start_soon(flood)
        said = await peer.rest()
        nursery.cancel_scope.cancel()
        assert said.frames[-1].code in (1008, 4005)
        assert peer.seconds < 30
