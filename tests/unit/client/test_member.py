"""One device of a swarm: where it goes, what it counts, and how it leaves."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from pushctl.client.api import Api
from pushctl.client.http import open_client
from pushctl.client.ledger import DeviceLedger, UserLedger
from pushctl.client.member import Member, Surroundings
from pushctl.client.report import Tally
from pushctl.protocol import frames
from pushctl.protocol.peer import Peer
from tests.fake_service import FakeService, FakeSocket, until_closed
from tests.unit.client.builders import SetClock, cursor

PATIENCE_SECONDS = 5

UP_TO_DATE = frames.DeltaFrame([], cursor(1), True)


@asynccontextmanager
async def living(service: FakeService, clock: SetClock) -> AsyncIterator[Member]:
    """A member that is never patient: its jitter is nothing. Cancelled at the end."""
    async with open_client(service.api_url) as client:
        tally = Tally()
        around = Surroundings(Api(client, service.api_url, service.api_url), trio.CapacityLimiter(1), tally, "very-low")
        ledger = DeviceLedger(UserLedger(), 0, tally, clock=clock, wants_to_read=lambda: False)
        member = Member(around, Peer(lambda: 0.0), ledger, "secret-1")
        with trio.fail_after(PATIENCE_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(member.run)
                yield member
                nursery.cancel_scope.cancel()


def tally_of(member: Member) -> Tally:
    return member._around.tally


async def until(truth: Callable[[], object]) -> None:
    while not truth():  # noqa: ASYNC110 - counts tell nobody
        await trio.sleep(0.005)


async def staying(socket: FakeSocket) -> None:
    await socket.greet(UP_TO_DATE)
    await until_closed(socket)


async def test_it_comes_back_after_a_close_and_counts_how_it_was_closed(service: FakeService, clock: SetClock) -> None:
    here = trio.Event()

    async def sent_away(socket: FakeSocket) -> None:
        await socket.greet(UP_TO_DATE)
        await socket.receive()
        await socket.close(4001)

    async def last(socket: FakeSocket) -> None:
        hello = await socket.greet(UP_TO_DATE)
        assert hello.cursor == cursor(1)
        await socket.receive()
        here.set()
        await until_closed(socket)

    service.scripts = [sent_away, sent_away, last]
    async with living(service, clock) as member:
        await here.wait()
        tally = tally_of(member)
        assert (tally.disconnects, tally.connected, tally.ever_connected) == ({"4001": 2}, 1, 1)
        assert tally.connecting.count == 3
    assert tally.connected == 0


async def test_a_full_server_is_counted_and_left_alone(service: FakeService, clock: SetClock) -> None:
    async with living(service, clock) as member:
        await until(lambda: tally_of(member).refused_by_servers)
        await trio.sleep(0.2)
        assert service.connections == 1  # it asks for seven seconds


async def test_a_box_office_without_room_is_counted_and_nothing_is_connected_to(
    service: FakeService, clock: SetClock
) -> None:
    service.answers["GET /v1/servers"] = (503, {"code": "no_capacity", "detail": "full"}, {"Retry-After": "60"})
    async with living(service, clock) as member:
        await until(lambda: tally_of(member).refused_by_boxoffice)
        await trio.sleep(0.2)
        assert (service.connections, tally_of(member).refused_by_boxoffice) == (0, 1)


@pytest.mark.parametrize("code", [4501, 4502, 4505])
async def test_a_final_code_is_the_end(code: int, service: FakeService, clock: SetClock) -> None:
    async def final(socket: FakeSocket) -> None:
        await socket.receive()
        await socket.close(code)

    service.scripts = [final, staying]
    async with living(service, clock) as member:
        await until(lambda: tally_of(member).given_up)
        assert tally_of(member).given_up == {str(code): 1}
        assert service.connections == 1


async def test_leaving_says_the_last_ack_and_close(service: FakeService, clock: SetClock) -> None:
    said: list[frames.ClientFrame] = []
    synced, left = trio.Event(), trio.Event()

    async def script(socket: FakeSocket) -> None:
        await socket.greet(UP_TO_DATE)
        synced.set()
        said.append(await socket.receive())
        await until_closed(socket)
        reason = socket.websocket.closed
        assert reason is not None
        assert reason.code == 1000
        left.set()

    service.scripts = [script]
    async with living(service, clock) as member:
        await synced.wait()
        await until(lambda: member.has_arrived)
    with trio.fail_after(PATIENCE_SECONDS):
        await left.wait()
    assert said == [frames.Ack(cursor(1))]
