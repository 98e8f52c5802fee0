"""The socket as a stream: what happens when somebody looks at the clock, and at the end."""

import socket
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from pushctl.plain_stream import Overdue, PlainStream


@pytest.fixture
def pair() -> Iterator[tuple[PlainStream, socket.socket]]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with theirs:
        wire = PlainStream(ours, write_seconds=5)
        yield wire, theirs
        ours.close()


Pair = tuple[PlainStream, socket.socket]


async def test_reading_is_overdue_once_the_watch_has_seen_it(pair: Pair) -> None:
    wire, theirs = pair
    now = trio.current_time()
    wire.read_by(now + 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect_overdue, wire)
        await trio.testing.wait_all_tasks_blocked()
        wire.check(now + 0.9)
        await trio.testing.wait_all_tasks_blocked()
        assert nursery.child_tasks
        wire.check(now + 1)
    theirs.send(b"late")
    await expect_overdue(wire)
    wire.read_by(now + 10)
    with trio.fail_after(5):
        assert await wire.receive_some() == b"late"


async def expect_overdue(wire: PlainStream) -> None:
    with trio.fail_after(5), pytest.raises(Overdue):
        await wire.receive_some()


async def test_what_came_in_time_is_given_out_before_overdue(pair: Pair) -> None:
    wire, theirs = pair
    taken = []

    async def take() -> None:
        taken.append(await wire.receive_some())

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            await trio.testing.wait_all_tasks_blocked()
            theirs.send(b"just in time")
            wire.stop_reading()
    assert taken == [b"just in time"]
    await expect_overdue(wire)


async def test_a_slow_reader_at_the_other_end_does_not_disturb_our_own_reading(pair: Pair) -> None:
    wire, theirs = pair
    taken = []

    async def take() -> None:
        taken.append(await wire.receive_some())

    async def give() -> None:
        with pytest.raises(Overdue):
            await wire.send_all(b"x" * 10_000_000)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            nursery.start_soon(give)
            await trio.testing.wait_all_tasks_blocked()
            wire.check(trio.current_time() + 100)
            await trio.testing.wait_all_tasks_blocked()
            assert taken == []
            theirs.send(b"hello")
    assert taken == [b"hello"]


async def test_closing_wakes_whoever_waits(pair: Pair) -> None:
    wire, _ = pair

    async def expect_closed() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await wire.receive_some()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_closed)
            await trio.testing.wait_all_tasks_blocked()
            await wire.aclose()
    await expect_closed()
    with pytest.raises(trio.ClosedResourceError):
        await wire.send_all(b"x")
    wire.check(trio.current_time())
    wire.close()


async def test_it_is_a_trio_stream_like_any_other() -> None:
    async def make() -> tuple[PlainStream, trio.SocketStream]:
        ours, theirs = socket.socketpair()
        return PlainStream(ours, write_seconds=5), trio.SocketStream(trio.socket.from_stdlib_socket(theirs))

    wire, other = await make()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.send_all, b"x" * 1_000_000)
            taken = 0
            while taken < 1_000_000:
                taken += len(await other.receive_some())
        await wire.wait_send_all_might_not_block()
        await wire.send_eof()
        assert await other.receive_some() == b""
        await other.aclose()
        assert await wire.receive_some() == b""
        await wire.aclose()
