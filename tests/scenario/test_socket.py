"""The socket protocol of docs/protocol.md, section 4, frame by frame, on a real service."""

from dataclasses import replace

import httpx
import pytest
import trio
import trio_websocket

from pushctl.config.model import Config
from pushctl.testing.service import running
from tests.conftest import ON_BOTH
from tests.scenario.people import Closed, Frame, Town, eventually, raw_socket

pytestmark = ON_BOTH


def body_of(event: Frame) -> str:
    return str(event["message"]["notification"]["body"])


async def test_a_message_reaches_every_device_of_its_user_on_every_server_and_nobody_else(town: Town) -> None:
    laptop, phone, stranger = await town.login("ada"), await town.login("ada"), await town.login("bob")
    push_url = await laptop.allow(icon="https://news.example/i.png")
    async with (
        laptop.connected("s1") as on_laptop,
        phone.connected("s2") as on_phone,
        stranger.connected("s1") as on_stranger,
    ):
        welcome = await on_laptop.receive()
        assert welcome == {
            "type": "welcome",
            "server": "s1",
            "ping_ms": 30000,
            "user": laptop.user,
            "device": laptop.device,
        }
        for socket in (on_laptop, on_phone, on_stranger):
            await socket.synced()
        answer = await town.push(push_url["url"], {"title": "T", "body": "B"}, Urgency="high", Topic="weather")
        assert answer.status_code == 201
        assert answer.headers["TTL"] == "259200"
        for socket in (on_laptop, on_phone):
            event = await socket.receive()
            message = event["message"]
            assert event["type"] == "message"
            assert set(message) == {
                *("id", "push_url", "site", "sent_at", "expires_at", "urgency", "topic"),
                *("notification", "data", "encoding", "headers"),
            }
            assert f"/message/{message['id']}" == answer.headers["Location"]
            assert (message["push_url"], message["site"]) == (push_url["id"], "https://news.example")
            assert (message["urgency"], message["topic"]) == ("high", "weather")
            assert message["notification"] == {"title": "T", "body": "B", "icon": None, "url": None, "tag": None}
        assert await on_stranger.silent()


async def test_a_read_mark_is_confirmed_to_the_reader_and_told_to_the_other(town: Town) -> None:
    laptop, phone = await town.login("ada"), await town.login("ada")
    push_url = await laptop.allow()
    async with laptop.connected("s1") as on_laptop, phone.connected("s2") as on_phone:
        await on_laptop.synced()
        await on_phone.synced()
        await town.push(push_url["url"], {"body": "one"})
        event = await on_laptop.until("message")
        await on_laptop.send({"type": "read", "ids": [event["message"]["id"], "not-an-id"]})
        for socket in (on_laptop, on_phone):
            assert (await socket.until("read"))["ids"] == [event["message"]["id"]]
        await town.push(push_url["url"], {"body": "two"})
        await town.push(push_url["url"], {"body": "three"})
        second, third = await on_phone.until("message"), await on_phone.until("message")
        await on_phone.send({"type": "read", "upto": second["cursor"]})
        assert (await on_laptop.until("read"))["ids"] == [second["message"]["id"]]
        assert [message["id"] for message in await laptop.unread()] == [third["message"]["id"]]


async def test_a_device_that_comes_back_gets_the_delta_of_what_is_due(town: Town) -> None:
    phone, laptop = await town.login("ada"), await town.login("ada")
    push_url = await phone.allow()
    async with phone.connected() as socket:
        cursor = (await socket.synced())[-1]["cursor"]
    one = await town.push(push_url["url"], {"body": "one"})
    await town.push(push_url["url"], {"body": "two"}, Topic="t")
    await town.push(push_url["url"], {"body": "three"}, Topic="t")
    await laptop.ask("POST", "/v1/messages/read", {"ids": [one.headers["Location"].rpartition("/")[2]]})
    await laptop.ask("DELETE", f"/v1/push-urls/{push_url['id']}")
    async with phone.connected("s2", cursor=cursor) as socket:
        (sync,) = await socket.synced()
        assert sync["mode"] == "delta"
        kinds = [(event["type"], event.get("reason")) for event in sync["events"]]
        assert kinds == [("dropped", "replaced"), ("message", None), ("read", None), ("revoked", None)]
        assert sync["events"][1]["message"]["notification"]["body"] == "three"
        cursors = [event["cursor"] for event in sync["events"]]
        assert sync["cursor"] == cursors[-1]
        assert len(set(cursors)) == 4
    over_http = (await phone.ask("GET", "/v1/sync", params={"cursor": cursor})).json()
    assert over_http == {key: value for key, value in sync.items() if key != "type"} | {"next": None}


async def test_a_cursor_that_proves_nothing_gets_a_snapshot(town: Town) -> None:
    phone = await town.login("ada")
    push_url = await phone.allow()
    await town.push(push_url["url"], {"body": "one"})
    for cursor in (None, "nonsense", "0123456789abcdef-1-0123456789abcdef"):
        async with phone.connected(cursor=cursor) as socket:
            (sync,) = await socket.synced()
            assert sync["mode"] == "snapshot"
            assert sync["push_urls"] == [push_url]
            assert [message["notification"]["body"] for message in sync["messages"]] == ["one"]
            assert "min_urgency" not in sync


async def test_min_urgency_filters_one_connection_and_lowering_it_brings_a_snapshot(town: Town) -> None:
    phone = await town.login("ada")
    push_url = await phone.allow()
    async with phone.connected(hello={"min_urgency": "high"}) as socket:
        (sync,) = await socket.synced()
        assert sync["min_urgency"] == "high"
        low = await town.push(push_url["url"], {"body": "low"}, Urgency="low")
        await town.push(push_url["url"], {"body": "high"}, Urgency="high")
        event = await socket.until("message")
        assert event["message"]["notification"]["body"] == "high"
        await socket.send({"type": "ack", "cursor": event["cursor"]})
    assert len(await phone.unread()) == 2
    state = (await town.http.get(town.service.api + low.headers["Location"])).json()["state"]
    assert state == "stored"  # acknowledged past it, but never sent it
    async with phone.connected(cursor=event["cursor"]) as socket:
        (sync,) = await socket.synced()
        assert sync["mode"] == "snapshot"
        assert len(sync["messages"]) == 2


async def test_an_acknowledgement_makes_a_message_delivered(town: Town) -> None:
    phone = await town.login("ada")
    push_url = await phone.allow()
    async with phone.connected() as socket:
        await socket.synced()
        answer = await town.push(push_url["url"], {"body": "one"})
        event = await socket.until("message")

        async def state() -> str:
            return str((await town.http.get(town.service.api + answer.headers["Location"])).json()["state"])

        assert await state() == "stored"
        await socket.send({"type": "ack", "cursor": event["cursor"]})

        async def delivered() -> bool:
            return await state() == "delivered"

        await eventually(delivered)


async def test_ttl_0_goes_to_those_connected_and_is_stored_nowhere(town: Town) -> None:
    phone, away = await town.login("ada"), await town.login("ada")
    push_url = await phone.allow()
    async with phone.connected() as socket:
        await socket.synced()
        answer = await town.push(push_url["url"], {"body": "now"}, TTL="0")
        assert (answer.status_code, answer.headers["TTL"]) == (201, "0")
        event = await socket.until("message")
        assert event["cursor"] is None
        assert event["message"]["notification"]["body"] == "now"
        await socket.send({"type": "read", "ids": [event["message"]["id"]]})
        assert await socket.silent()
    state = (await town.http.get(town.service.api + answer.headers["Location"])).json()
    assert state["state"] == "expired"
    assert await away.unread() == []
    again = await town.push(push_url["url"], {"body": "nobody"}, TTL="0")
    assert again.status_code == 201


async def test_a_repeated_ttl_0_is_delivered_once(town: Town) -> None:
    phone = await town.login("ada")
    push_url = await phone.allow()
    async with phone.connected() as socket:
        await socket.synced()
        answers = [await town.push(push_url["url"], {"body": "now"}, TTL="0", Idempotency_Key="k") for _ in range(3)]
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.headers["Location"] for answer in answers}) == 1
        await socket.until("message")
        assert await socket.silent()
        # A stored message is another request: TTL 0 must not answer for it.
        stored = await town.push(push_url["url"], {"body": "now"}, TTL="60", Idempotency_Key="k")
        assert stored.status_code == 422


async def test_the_newest_connection_of_a_device_wins_wherever_the_older_is(town: Town) -> None:
    phone = await town.login("ada")
    for first, second in (("s1", "s2"), ("s1", "s1")):
        async with phone.connected(first) as old:
            await old.synced()
            async with phone.connected(second) as new:
                await new.synced()
                assert await old.close_code() == 4503
                assert await new.silent()


async def test_signing_out_ends_open_connections_at_once(town: Town) -> None:
    phone, laptop = await town.login("ada"), await town.login("ada")
    async with phone.connected("s1") as on_phone, laptop.connected("s2") as on_laptop:
        await on_phone.synced()
        await on_laptop.synced()
        assert (await phone.ask("DELETE", "/v1/login")).status_code == 204
        assert await on_phone.close_code() == 4504
        assert await on_laptop.silent()
        assert (await laptop.ask("DELETE", "/v1/account")).status_code == 204
        assert await on_laptop.close_code() == 4504
    assert (await laptop.ask("GET", "/v1/devices")).status_code == 401


async def test_removing_a_device_ends_its_connection(town: Town) -> None:
    phone, laptop = await town.login("ada"), await town.login("ada")
    async with phone.connected() as on_phone:
        await on_phone.synced()
        assert (await laptop.ask("DELETE", f"/v1/devices/{phone.device}")).status_code == 204
        assert await on_phone.close_code() == 4504
    assert (await phone.ask("GET", "/v1/devices")).status_code == 401


async def test_a_token_frame_renews_the_session_of_an_open_connection(town: Town) -> None:
    phone = await town.login("ada")
    async with phone.connected() as socket:
        await socket.synced()
        renewed = await town.login("ada", device=phone.device)
        assert renewed.device == phone.device
        assert (await phone.ask("GET", "/v1/devices")).status_code == 200  # for 60 s, or until the token frame
        await socket.send({"type": "token", "token": renewed.token})
        await socket.send({"type": "ping"})
        await socket.until("pong")
        assert (await phone.ask("GET", "/v1/devices")).status_code == 401
        stranger = await town.login("bob")
        await socket.send({"type": "token", "token": stranger.token})
        assert await socket.close_code() == 4501


BAD_FIRST_FRAMES: list[tuple[str | bytes, int]] = [
    ("not json", 4502),
    ("[]", 4502),
    (b"\x00\x01", 4502),
    ('{"type":"hello"}', 4502),
    ('{"type":"hello","token":5}', 4502),
    ('{"type":"hello","token":"x","cursor":7}', 4502),
    ('{"type":"hello","token":"x","min_urgency":"urgent"}', 4502),
    ('{"type":"ping"}', 4502),
    ('{"type":"unheard-of"}', 4502),
    ('{"type":"hello","token":"x"}', 4501),
    ('{"type":"hello","token":"' + "x" * 300 + '"}', 4502),
]


async def test_a_bad_first_frame_is_answered_with_an_error_and_a_close_code(town: Town) -> None:
    for first, code in BAD_FIRST_FRAMES:
        async with raw_socket(town.service.sockets["s1"]) as socket:
            await socket.send(first)
            error = await socket.receive()
            assert (error["type"], error["retry"]) == ("error", False), first
            assert error["detail"], first
            assert await socket.close_code() == code, first


BAD_LATER_FRAMES = [
    '{"type":"ack"}',
    '{"type":"ack","cursor":"garbage"}',
    '{"type":"read"}',
    '{"type":"read","ids":"x"}',
    '{"type":"read","ids":[],"upto":"x"}',
    '{"type":"read","ids":[1]}',
    '{"type":"read","upto":"garbage"}',
    '{"type":"hello","token":"again"}',
    "{",
]


async def test_a_bad_later_frame_closes_with_4502(town: Town) -> None:
    phone = await town.login("ada")
    for frame in BAD_LATER_FRAMES:
        async with phone.connected() as socket:
            await socket.synced()
            await socket.send(frame)
            assert (await socket.until("error"))["code"] == "body_invalid", frame
            assert await socket.close_code() == 4502, frame


async def test_an_acknowledgement_of_what_was_never_sent_is_refused_of_another_epoch_ignored(town: Town) -> None:
    phone = await town.login("ada")
    async with phone.connected() as socket:
        cursor = (await socket.synced())[-1]["cursor"]
        epoch, seq, tag = cursor.split("-")
        await socket.send({"type": "ack", "cursor": f"{'0' * 16}-{seq}-{tag}"})
        await socket.send({"type": "ping"})
        await socket.until("pong")
        await socket.send({"type": "ack", "cursor": f"{epoch}-{int(seq) + 1}-{tag}"})
        assert await socket.close_code() == 4502


async def test_unknown_members_of_frames_are_ignored(town: Town) -> None:
    phone = await town.login("ada")
    async with phone.connected(hello={"from_the_future": [1, 2]}) as socket:
        await socket.synced()


async def test_a_connection_that_asks_for_other_subprotocols_is_refused_before_the_upgrade(town: Town) -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        async with raw_socket(town.service.sockets["s1"], ["chat"]):
            pass
    assert caught.group_contains(trio_websocket.ConnectionRejected)


async def test_a_connection_that_asks_for_no_subprotocol_must_be_a_browser(town: Town) -> None:
    phone = await town.login("ada")
    async with raw_socket(town.service.sockets["s1"], []) as socket:
        await socket.send({"type": "hello", "token": phone.token, "cursor": None})
        assert await socket.close_code() == 1011


async def test_a_full_server_refuses_the_upgrade_with_503_and_retry_after(config: Config) -> None:
    small = replace(config, socket=replace(config.socket, max_connections=1))
    async with running(small, sockets=1) as service, httpx.AsyncClient() as http:
        town = Town(service, http)
        phone, laptop = await town.login("ada"), await town.login("ada")
        async with phone.connected() as socket:
            await socket.synced()
            with pytest.raises(BaseExceptionGroup) as caught:
                async with laptop.connected():
                    pass
            assert caught.group_contains(trio_websocket.ConnectionRejected)
            host = service.sockets["s1"].removeprefix("ws://").rstrip("/")
            upgrade = {
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
                "Sec-WebSocket-Protocol": "pushctl.v1",
            }
            answer = await http.get(f"http://{host}/", headers=upgrade)
            assert answer.status_code == 503
            assert int(answer.headers["Retry-After"]) >= 1
            assert answer.json()["code"] == "overloaded"


async def test_a_peer_without_a_hello_is_closed(config: Config) -> None:
    quick = replace(config, socket=replace(config.socket, hello_seconds=0.1))
    async with running(quick, sockets=1) as service, raw_socket(service.sockets["s1"]) as socket:
        assert (await socket.receive())["code"] == "too_slow"
        assert await socket.close_code() == 4502


async def test_a_stopping_server_sends_its_devices_back_to_the_box_office(town: Town) -> None:
    phone = await town.login("ada")
    role = town.service.roles["s1"]
    async with phone.connected("s1") as socket:
        await socket.synced()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(role.drain)
            frame = await socket.until("reconnect")
            assert frame["reason"] == "draining"
            assert frame["after_ms"] >= 0
            with pytest.raises(Closed) as closed:
                await socket.receive()
            assert closed.value.code == 4001
        answer = await phone.ask("GET", "/v1/devices")
        assert answer.status_code == 200

        async def left_out() -> bool:
            answer = await town.http.get(
                f"{town.service.boxoffice}/v1/servers", headers={"Authorization": f"Bearer {phone.token}"}
            )
            return bool(answer.json()["servers"] == [town.service.sockets["s2"]])

        await eventually(left_out)
