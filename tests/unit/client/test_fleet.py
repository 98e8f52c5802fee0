"""A whole swarm before a service at the edge of the world: its phases, its verdicts, its end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import trio
import trio.testing

from pushctl.client import fleet as fleet_module
from pushctl.client.fleet import Fleet, Plan, need_open_files
from pushctl.client.http import open_client
from pushctl.client.member import Member
from pushctl.client.report import Report
from pushctl.clock import rfc3339, system_clock
from pushctl.errors import Failed, Unreachable
from pushctl.protocol import frames
from tests.fake_service import FakeService, FakeSocket, until_closed
from tests.unit.client.builders import cursor, message
from tests.unit.client.test_member import until

PATIENCE_SECONDS = 10
LONG = "2099-01-01T00:00:00.000Z"

NOTHING = frames.SnapshotFrame([], [], cursor(1), True)


def plan(service: FakeService, **changed: Any) -> Plan:
    least = Plan(
        api_url=service.api_url, boxoffice_url=service.api_url, users=1, devices=2, seconds=0.3, arrivals=100.0
    )
    return replace(least, **changed)


@asynccontextmanager
async def prepared(made: Plan, **options: Any) -> AsyncIterator[Fleet]:
    """A fleet that is not patient."""
    async with open_client(made.api_url) as client:
        with trio.fail_after(PATIENCE_SECONDS):
            yield Fleet(made, client, random=lambda: 0.0, **options)


async def run(made: Plan, **options: Any) -> Report:
    """Until all are here, and have what was said to them."""

    async def all_here() -> None:
        await fleet.all_up_to_date()
        await trio.testing.wait_all_tasks_blocked(0.01)

    async with prepared(made, meanwhile=all_here, **options) as fleet:
        return await fleet.run()


async def staying(socket: FakeSocket, *events: frames.Event) -> None:
    await socket.greet(NOTHING, *events)
    await until_closed(socket)


def unread(*names: str) -> Any:
    return 200, {"messages": [message(name, expires_at=LONG) for name in names], "next": None}, {}


def page(*names: str, upto: int = 9) -> Any:
    """What GET /v1/sync brings after the cursor."""
    events = [frames.MessageEvent(cursor(upto), message(name, expires_at=LONG)) for name in names]
    return 200, {"mode": "delta", "events": events, "cursor": cursor(upto), "done": True, "next": None}, {}


@pytest.fixture
def service(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> FakeService:
    """One where two devices stay connected, with nothing unread."""
    monkeypatch.setattr(fleet_module, "SETTLE_SECONDS", 0.01)
    service.scripts = [staying, staying]
    service.answers["GET /v1/messages"] = unread()
    service.answers["GET /v1/sync"] = page()
    service.answers["DELETE /v1/account"] = (204, None, {})
    return service


async def test_all_log_in_connect_stay_and_are_cleared_up(service: FakeService) -> None:
    found = await run(plan(service))
    assert found.is_good
    assert (found.logged_in, found.connected, found.snapshots, found.wrong) == (2, 2, 2, 0)
    routes = [name for name, _, _ in service.requests]
    assert routes.count("POST /dev/browserid/certificate") == 1
    assert routes.count("POST /v1/login") == 2
    assert routes[-1] == "DELETE /v1/account"


async def test_devices_leave_as_their_accounts_go_not_all_at_once(service: FakeService) -> None:
    """Ten thousand that leave in one moment would be a storm of their own."""
    left: list[str] = []

    async def delete() -> Any:
        left.append("account")
        return 204, None, {}

    async def stays(socket: FakeSocket) -> None:
        await staying(socket)
        left.append("device")

    service.scripts = [stays, stays]
    service.answers["DELETE /v1/account"] = delete
    await run(plan(service))
    await until(lambda: len(left) == 3)
    assert left[0] == "account"


async def test_accounts_may_be_kept(service: FakeService) -> None:
    await run(plan(service, keep=True))
    assert not [name for name, _, _ in service.requests if name.startswith("DELETE")]


async def test_each_user_allows_the_site_once_and_the_push_urls_are_handed_over(service: FakeService) -> None:
    given: list[list[str]] = []
    made = {"id": "p", "site": "https://s.example", "icon": None, "vapid_key": None, "created_at": LONG}
    service.answers["POST /v1/push-urls"] = (201, {**made, "url": "http://x/push/secret"}, {})
    await run(plan(service, site="https://s.example"), ready=given.append)
    assert given == [["http://x/push/secret"]]


async def test_what_a_device_never_got_and_a_sync_would_not_bring_is_lost(service: FakeService) -> None:
    service.answers["GET /v1/messages"] = unread("m")
    found = await run(plan(service))
    assert (found.lost, found.behind, found.unchecked, found.is_good) == (2, 0, 0, False)


async def test_what_only_one_device_lacks_is_lost_once(service: FakeService) -> None:
    event = frames.MessageEvent(cursor(2), message("m", expires_at=LONG))
    service.scripts = [staying, lambda socket: staying(socket, event)]
    service.answers["GET /v1/messages"] = unread("m")
    found = await run(plan(service))
    assert (found.lost, found.received) == (1, 1)


async def test_what_a_sync_would_bring_is_only_behind(service: FakeService) -> None:
    service.answers["GET /v1/messages"] = unread("m")
    service.answers["GET /v1/sync"] = page("m")
    found = await run(plan(service))
    assert (found.lost, found.behind, found.is_good) == (0, 2, True)


async def test_what_is_read_before_the_second_look_is_neither(service: FakeService) -> None:
    looks = iter([unread("m"), unread()])

    async def look() -> Any:
        return next(looks)

    service.answers["GET /v1/messages"] = look
    found = await run(plan(service))
    assert (found.lost, found.behind) == (0, 0)


async def test_what_expires_just_now_is_neither(service: FakeService) -> None:
    dying = message("m", expires_at=rfc3339(system_clock() + 1000))
    service.answers["GET /v1/messages"] = (200, {"messages": [dying], "next": None}, {})
    assert (await run(plan(service))).lost == 0


async def test_what_the_filter_leaves_out_is_not_missed(service: FakeService) -> None:
    service.answers["GET /v1/messages"] = unread("m")
    assert (await run(plan(service, min_urgency="high"))).lost == 0


async def test_users_of_whom_nothing_can_be_found_out_are_unchecked(service: FakeService) -> None:
    service.answers["GET /v1/messages"] = (400, {"code": "query_invalid", "detail": "no"}, {})
    found = await run(plan(service))
    assert (found.unchecked, found.lost, found.is_good) == (1, 0, False)


async def test_a_login_that_is_refused_for_now_is_repeated(service: FakeService) -> None:
    async def busy() -> Any:
        del service.answers["POST /v1/login"]
        return 503, {"code": "overloaded", "detail": "later"}, {"Retry-After": "0"}

    service.answers["POST /v1/login"] = busy
    found = await run(plan(service))
    assert (found.logged_in, found.refused_by_api) == (2, 1)


async def test_without_a_service_it_says_so_once() -> None:
    nowhere = Plan(
        api_url="http://127.0.0.1:1", boxoffice_url="http://127.0.0.1:1", users=9, devices=1, seconds=1, arrivals=1
    )
    with pytest.RaisesGroup(Unreachable):
        await run(nowhere)


async def test_without_a_development_identity_provider_it_says_so(service: FakeService) -> None:
    service.answers["POST /dev/browserid/certificate"] = (404, {"code": "not_found", "detail": "no"}, {})
    with pytest.RaisesGroup(pytest.RaisesExc(Failed, match="no development identity provider")):
        await run(plan(service))


async def test_an_interrupt_ends_the_run_and_still_checks(service: FakeService) -> None:
    service.answers["GET /v1/messages"] = unread("m")
    async with prepared(plan(service, seconds=3600)) as fleet, trio.open_nursery() as nursery:

        async def interrupt() -> None:
            await until(lambda: fleet.tally.connected == 2)
            fleet.interrupt()

        nursery.start_soon(interrupt)
        found = await fleet.run()
    assert fleet.was_interrupted
    assert (found.connected, found.lost, found.unchecked) == (2, 2, 0)


async def test_a_second_interrupt_skips_checks_and_clearing_up(service: FakeService) -> None:
    service.answers["GET /v1/messages"] = trio.sleep_forever  # never an answer
    async with prepared(plan(service, seconds=3600)) as fleet, trio.open_nursery() as nursery:

        async def interrupt() -> None:
            await until(lambda: fleet.tally.connected == 2)
            fleet.interrupt()
            await until(lambda: fleet.phase.name == "checking")
            fleet.interrupt()

        nursery.start_soon(interrupt)
        found = await fleet.run()
    assert (found.connected, found.unchecked) == (2, 1)
    assert not [name for name, _, _ in service.requests if name.startswith("DELETE")]


async def test_devices_arrive_at_the_rate_that_was_asked_for(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However those before it fare: here nobody is let in."""
    arrived: list[float] = []

    async def set_out(member: object) -> None:
        arrived.append(trio.current_time())
        await trio.sleep_forever()

    monkeypatch.setattr(Member, "run", set_out)
    async with prepared(plan(service, users=2, devices=5, arrivals=50.0, seconds=0)) as fleet:
        await fleet.run()
    assert len(arrived) == 10
    assert all(at >= fleet._set_out_at + number / 50 for number, at in enumerate(arrived))


def test_more_connections_than_files_is_said_before_anything_is_done() -> None:
    with pytest.raises(Failed, match=r"1,000,000,000 connections need 1,000,000,100 open files.*ulimit -Hn"):
        need_open_files(1_000_000_000)
