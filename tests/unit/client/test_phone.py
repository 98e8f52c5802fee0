"""One device and a service that says what a test wants: what the device asks, keeps, tells and does next."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
import trio_websocket

from pushctl.client import events
from pushctl.client.http import LoginNeeded
from pushctl.client.phone import Phone, open_phone
from pushctl.client.store import Store
from pushctl.errors import Failed, Unreachable
from pushctl.protocol import frames
from tests.fake_service import FakeService, FakeSocket, until_closed
from tests.unit.client.builders import cursor, message, push_url, session

PATIENCE_SECONDS = 5

UP_TO_DATE = frames.DeltaFrame([], cursor(1), True)


@asynccontextmanager
async def running(phone: Phone, **options: Any) -> AsyncIterator[trio.MemoryReceiveChannel[events.Event]]:
    """What the phone tells while it runs."""
    to_us, told = trio.open_memory_channel[events.Event](math.inf)
    with to_us, told, trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(phone.run, to_us, **options))
            yield told
            nursery.cancel_scope.cancel()


async def until(told: trio.MemoryReceiveChannel[events.Event], kind: type[Any]) -> Any:
    """The next event of this type."""
    async for event in told:
        if isinstance(event, kind):
            return event
    raise AssertionError


async def end_of_run(phone: Phone, **options: Any) -> None:
    to_us, told = trio.open_memory_channel[events.Event](math.inf)
    with to_us, told, trio.fail_after(PATIENCE_SECONDS):
        await phone.run(to_us, **options)


# --- login -----------------------------------------------------------------------------------------------------------


async def test_a_login_is_a_real_assertion_that_the_verifier_believes(store: Store, service: FakeService) -> None:
    async with open_phone(store, api_url=service.api_url, boxoffice_url=service.api_url) as phone:
        made = await phone.login("alice", "laptop")
    assert (made.user, made.device, made.device_name, made.token) == ("alice", "device-of-alice", "laptop", "token-1")
    assert store.session() == made
    assert service.bodies("POST /v1/login") == [{"device": {"name": "laptop", "id": None}, "provider": None}]


async def test_logging_in_again_is_the_same_device_unless_the_service_forgot_it(
    store: Store, service: FakeService
) -> None:
    async with open_phone(store, api_url=service.api_url, boxoffice_url=service.api_url) as phone:
        await phone.login("alice", "laptop")
        await phone.login("alice@dev-idp.localhost", "laptop")
        await phone.login("bob", "laptop")
        await phone.login("alice", "laptop")
    asked = [body["device"]["id"] for body in service.bodies("POST /v1/login")]
    assert asked == [None, "device-of-alice", None, None]


async def test_a_device_that_was_removed_becomes_a_new_one(store: Store, service: FakeService) -> None:
    async with open_phone(store, api_url=service.api_url, boxoffice_url=service.api_url) as phone:
        await phone.login("alice", "laptop")

        async def no_such_device() -> Any:
            del service.answers["POST /v1/login"]
            return 404, {"code": "not_found", "detail": "no such device"}, {}

        service.answers["POST /v1/login"] = no_such_device
        await phone.login("alice", "laptop")
    logins = [headers["authorization"] for route, headers, _ in service.requests if route == "POST /v1/login"]
    assert len(set(logins)) == 3, "an assertion opens one session only"
    assert [body["device"]["id"] for body in service.bodies("POST /v1/login")] == [None, "device-of-alice", None]


async def test_a_service_without_the_development_provider_says_what_to_do(phone: Phone, service: FakeService) -> None:
    service.answers["POST /dev/browserid/certificate"] = (404, {"code": "not_found"}, {})
    with pytest.raises(Failed, match="no development identity provider: log in with --provider or --assertion"):
        await phone.login("alice", "laptop")


@pytest.mark.parametrize("name", ["", "a b", "alice@example.com", "a" * 65])
async def test_a_name_the_provider_would_not_certify_is_not_sent(name: str, phone: Phone, service: FakeService) -> None:
    with pytest.raises(Failed, match="knows names such as alice"):
        await phone.login(name, "laptop")
    assert service.requests == []


async def test_what_is_no_assertion_is_not_sent(phone: Phone, service: FakeService) -> None:
    for text in ("", "x", "a.b.c~d.e.f", "e30.W10.x~e30.e30.x"):
        with pytest.raises(Failed, match="no backed BrowserID assertion"):
            await phone.login_with(text, "laptop")
    assert service.requests == []


async def test_a_logout_forgets_even_a_session_that_was_over(phone: Phone, service: FakeService) -> None:
    service.answers["DELETE /v1/login"] = (401, {"code": "unauthenticated"}, {})
    await phone.logout()
    assert phone.store.session() is None
    with pytest.raises(LoginNeeded):
        await phone.logout()


# --- requests --------------------------------------------------------------------------------------------------------


async def test_an_allowed_site_is_kept_with_its_push_url(phone: Phone, service: FakeService) -> None:
    made = push_url(icon="https://news.example/i.png")
    service.answers["POST /v1/push-urls"] = (201, made, {})
    assert await phone.allow("https://news.example", made.icon) == (made, True)
    assert phone.store.push_urls() == [made]
    service.answers["POST /v1/push-urls"] = (200, made, {})
    assert await phone.allow("https://news.example", made.icon) == (made, False)


async def test_revoking_a_site_revokes_all_its_push_urls_and_no_others(phone: Phone, service: FakeService) -> None:
    found = [push_url("p1"), push_url("p2"), push_url("p3", site="https://other.example")]
    for each in found:
        phone.store.put_push_url(each)
    service.answers["GET /v1/push-urls"] = (200, {"push_urls": found}, {})
    for name in ("p1", "p2"):
        service.answers[f"DELETE /v1/push-urls/{name}"] = (204, None, {})
    assert await phone.revoke("https://news.example") == found[:2]
    assert phone.store.push_urls() == found[2:]
    with pytest.raises(Failed, match=r"no push URL for https://nowhere\.example"):
        await phone.revoke("https://nowhere.example")


async def test_what_is_read_while_the_service_is_away_is_said_at_the_next_sync(
    phone: Phone, service: FakeService
) -> None:
    phone.store.apply_event(frames.MessageEvent(cursor(1), message("m1")), "very-low")
    service.answers["POST /v1/messages/read"] = (503, {"code": "store_unavailable"}, {"Retry-After": "1"})
    with pytest.raises(Unreachable):
        await phone.read(["m1"])
    assert phone.store.messages() == []
    service.answers["POST /v1/messages/read"] = (200, {"read": 1}, {})
    service.answers["GET /v1/sync"] = (200, {"mode": "delta", "events": [], "cursor": cursor(2), "done": True}, {})
    await phone.sync()
    assert service.bodies("POST /v1/messages/read") == [{"ids": ["m1"]}] * 2
    assert phone.store.pending_reads() == []


async def test_many_reads_are_said_in_bodies_a_server_takes(phone: Phone, service: FakeService) -> None:
    service.answers["POST /v1/messages/read"] = (200, {"read": 7}, {})
    assert await phone.read([f"{'m' * 250}{number:06}" for number in range(450)]) == 21
    said = [body for route, _, body in service.requests if route == "POST /v1/messages/read"]
    assert max(len(body) for body in said) < 65_536
    assert sum(len(body["ids"]) for body in service.bodies("POST /v1/messages/read")) == 450


async def test_a_sync_follows_all_pages(phone: Phone, service: FakeService) -> None:
    phone.store.apply_delta(frames.DeltaFrame([], cursor(1), True), "very-low")
    pages = iter(
        [
            frames.DeltaFrame([frames.MessageEvent(cursor(2), message("m1"))], cursor(2), False),
            frames.DeltaFrame([frames.MessageEvent(cursor(3), message("m2"))], cursor(3), True),
        ]
    )

    async def page() -> Any:
        found = next(pages)
        more = {"events": found.events, "next": None if found.done else "n=1&x"}
        return 200, {"mode": "delta", "cursor": found.cursor, "done": found.done, **more}, {}

    service.answers["GET /v1/sync"] = page
    told = await phone.sync()
    assert told[-1] == events.SyncEvent("delta", 2, None, None, cursor(3))
    assert [route for route, _, _ in service.requests] == [
        f"GET /v1/sync?cursor={cursor(1)}",
        "GET /v1/sync?next=n%3D1%26x",
    ]


async def test_a_sync_that_would_never_end_is_refused(phone: Phone, service: FakeService) -> None:
    service.answers["GET /v1/sync"] = (200, {"mode": "delta", "events": [], "cursor": cursor(2), "done": False}, {})
    with pytest.raises(Failed, match="a page is missing"):
        await phone.sync()


# --- staying connected -----------------------------------------------------------------------------------------------


async def test_a_new_device_says_hello_and_tells_its_snapshot(phone: Phone, service: FakeService) -> None:
    hellos = []

    async def script(socket: FakeSocket) -> None:
        page = frames.SnapshotFrame([push_url()], [], None, False)
        hellos.append(await socket.greet(page, frames.SnapshotFrame([], [message("m1")], cursor(4), True)))
        assert await socket.receive() == frames.Ack(cursor(4))
        await until_closed(socket)

    service.scripts = [script]
    async with running(phone, min_urgency="low") as told:
        assert await told.receive() == events.Connected(service.socket_url, "s1", "u1", "d1")
        assert [type(await told.receive()) for _ in range(2)] == [events.PushUrlEvent, events.MessageEvent]
        assert await told.receive() == events.SyncEvent("snapshot", None, 1, 1, cursor(4))
    assert hellos == [frames.Hello("secret-1", None, "low")]


async def test_a_device_that_comes_back_says_its_cursor_and_asks_the_box_office_first(
    phone: Phone, service: FakeService
) -> None:
    hellos = []

    async def first(socket: FakeSocket) -> None:
        hellos.append(await socket.greet(frames.DeltaFrame([], cursor(3), True)))
        await socket.send(frames.MessageEvent(cursor(4), message("m1")))
        assert await socket.receive() == frames.Ack(cursor(4))
        await socket.close(4001, "draining")

    async def second(socket: FakeSocket) -> None:
        hellos.append(await socket.greet(UP_TO_DATE))
        await until_closed(socket)

    service.scripts = [first, second]
    async with running(phone) as told:
        ended = await until(told, events.Disconnected)
        assert (ended.code, ended.reason, ended.next) == (4001, "draining", "box_office")
        await until(told, events.Connected)
        await until(told, events.SyncEvent)
    assert [hello.cursor for hello in hellos] == [None, cursor(4)]
    assert [route for route, _, _ in service.requests] == ["GET /v1/servers"] * 2


async def test_the_next_server_of_the_list_is_tried_when_the_first_does_not_take_us(
    phone: Phone, service: FakeService
) -> None:
    async def good(socket: FakeSocket) -> None:
        await socket.greet(UP_TO_DATE)
        await until_closed(socket)

    async def busy(socket: FakeSocket) -> None:
        await socket.receive()
        await socket.close(4005, "too busy")

    service.scripts = [busy, good]
    nowhere = "ws://127.0.0.1:1/"
    other = service.socket_url.replace("127.0.0.1", "localhost")
    offer = [nowhere, "nonsense", service.socket_url, other]
    service.answers["GET /v1/servers"] = (200, {"servers": offer, "expires_in_seconds": 30}, {})
    async with running(phone, keep_trying=False) as told:
        assert "connection refused" in (await until(told, events.Retrying)).reason
        assert "not a WebSocket URL" in (await until(told, events.Retrying)).reason
        assert (await until(told, events.Disconnected)).next == "server"
        assert (await until(told, events.Connected)).server == other


async def test_full_servers_end_a_first_try_as_unreachable(phone: Phone, service: FakeService) -> None:
    with pytest.raises(Unreachable, match="answered 503"):
        await end_of_run(phone, keep_trying=False)
    assert service.connections == 1


async def test_no_capacity_is_unreachable_and_nothing_is_connected_to(phone: Phone, service: FakeService) -> None:
    body = {"code": "no_capacity", "detail": "no room", "servers": [], "retry_after_seconds": 9}
    service.answers["GET /v1/servers"] = (503, body, {"Retry-After": "9"})
    with pytest.raises(Unreachable, match="try again in 9 s"):
        await end_of_run(phone, keep_trying=False)
    async with running(phone) as told:
        assert (await told.receive()).after_ms == 9000  # type: ignore[union-attr]  # Retrying, as the next line says
    assert service.connections == 0


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        (4501, LoginNeeded, "pushctl client login"),
        (4502, Failed, "could not understand"),
        (4504, LoginNeeded, "pushctl client login"),
        (4505, Unreachable, "too many connections"),
        (4999, Failed, "4999"),
    ],
)
async def test_a_final_close_ends_the_run(
    code: int, error: type[Exception], words: str, phone: Phone, service: FakeService
) -> None:
    async def script(socket: FakeSocket) -> None:
        await socket.greet(UP_TO_DATE)
        await socket.close(code)

    service.scripts = [script]
    with pytest.raises(error, match=words):
        await end_of_run(phone)


async def test_a_session_renewed_by_another_command_is_used_when_the_old_one_ends(
    phone: Phone, service: FakeService
) -> None:
    tokens = []

    async def first(socket: FakeSocket) -> None:
        tokens.append((await socket.greet(UP_TO_DATE)).token)
        phone.store.begin_session(session(login=2))
        await socket.close(4504, "the session ended")

    async def second(socket: FakeSocket) -> None:
        tokens.append((await socket.greet(UP_TO_DATE)).token)
        await until_closed(socket)

    service.scripts = [first, second]
    async with running(phone) as told:
        for _ in range(2):
            await until(told, events.Connected)
            await until(told, events.SyncEvent)
    assert tokens == ["secret-1", "secret-2"]


async def test_a_login_while_connected_tells_the_server_the_new_token(phone: Phone, service: FakeService) -> None:
    heard = trio.Event()

    async def script(socket: FakeSocket) -> None:
        await socket.greet(UP_TO_DATE)
        frame = await socket.receive()
        while isinstance(frame, frames.Ack):
            frame = await socket.receive()
        assert frame == frames.Token("token-1")
        heard.set()
        await until_closed(socket)

    service.scripts = [script]
    async with running(phone) as told:
        await until(told, events.SyncEvent)
        await phone.login("alice", "laptop")
        await heard.wait()


async def test_a_box_office_that_does_not_know_the_session_means_a_login(phone: Phone, service: FakeService) -> None:
    service.answers["GET /v1/servers"] = (401, {"code": "unauthenticated", "detail": "unknown"}, {})
    with pytest.raises(LoginNeeded):
        await end_of_run(phone)


async def test_a_box_office_that_is_none_is_not_asked_again(phone: Phone, service: FakeService) -> None:
    service.answers["GET /v1/servers"] = (404, "<html>", {"Content-Type": "text/html"})
    with pytest.raises(Failed, match="is its URL right"):
        await end_of_run(phone)


async def test_a_box_office_that_talks_nonsense_is_asked_again_later(phone: Phone, service: FakeService) -> None:
    service.answers["GET /v1/servers"] = (200, {"servers": "none"}, {})
    async with running(phone) as told:
        retrying = await told.receive()
    assert isinstance(retrying, events.Retrying)
    assert "does not answer like this service" in retrying.reason


async def test_what_is_read_just_before_leaving_is_still_said(phone: Phone, service: FakeService) -> None:
    said: list[frames.ClientFrame] = []
    left = trio.Event()

    async def script(socket: FakeSocket) -> None:
        await socket.greet(frames.DeltaFrame([frames.MessageEvent(cursor(2), message("m1"))], cursor(2), True))
        with suppress(trio_websocket.ConnectionClosed):
            while True:
                said.append(frames.decode_client_frame(await socket.websocket.get_message()))
        left.set()

    service.scripts = [script]
    async with running(phone) as told:
        await until(told, events.SyncEvent)
        phone.mark_read(["m1"])
    await left.wait()
    assert said[-1] == frames.Read(ids=["m1"])


# --- reconnecting because somebody asks -----------------------------------------------------------------------------


async def test_asked_to_reconnect_it_says_goodbye_and_begins_at_the_box_office(
    phone: Phone, service: FakeService
) -> None:
    said: list[frames.ClientFrame] = []

    async def left(socket: FakeSocket) -> None:
        await socket.greet(UP_TO_DATE)
        said.append(await socket.receive())
        await until_closed(socket)

    async def again(socket: FakeSocket) -> None:
        await socket.greet(UP_TO_DATE)
        await until_closed(socket)

    service.scripts = [left, again]
    async with running(phone) as told:
        await until(told, events.SyncEvent)
        assert phone.reconnect() == 0
        ended = await until(told, events.Disconnected)
        assert (ended.code, ended.next, ended.after_ms) == (None, "box_office", 0)
        await until(told, events.Connected)
    assert said == [frames.Ack(cursor(1))]
    assert [route for route, _, _ in service.requests].count("GET /v1/servers") == 2
    assert phone.box_office is not None
    assert phone.box_office.servers == 1


async def test_asked_to_reconnect_it_does_not_wait_for_its_own_backoff(store: Store, service: FakeService) -> None:
    async def welcome(socket: FakeSocket) -> None:
        await socket.greet(UP_TO_DATE)
        await until_closed(socket)

    store.begin_session(session())
    service.answers["GET /v1/servers"] = (500, {"detail": "broken"}, {})
    where = service.api_url
    async with (
        open_phone(store, api_url=where, boxoffice_url=where, random=lambda: 100.0) as impatient,
        running(impatient) as told,
    ):
        assert (await until(told, events.Retrying)).after_ms == 100_000
        del service.answers["GET /v1/servers"]
        service.scripts = [welcome]
        assert impatient.reconnect() == 0
        assert (await until(told, events.Retrying)).after_ms == 0
        await until(told, events.Connected)


async def test_asked_to_reconnect_it_still_waits_as_long_as_the_service_asked(
    phone: Phone, service: FakeService
) -> None:
    service.answers["GET /v1/servers"] = (503, {"code": "no_capacity", "detail": "full"}, {"Retry-After": "40"})
    async with running(phone) as told:
        await until(told, events.Retrying)
        asked = len(service.requests)
        assert 39 < phone.reconnect() <= 40
        assert 39_000 < (await until(told, events.Retrying)).after_ms <= 40_000
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert len(service.requests) == asked
