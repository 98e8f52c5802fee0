"""One message by a third party: what is sent, what answers mean, and waiting for what becomes of it."""

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import trio

from pushctl.client.http import open_client
from pushctl.client.sender import Push, Sent, WaitFor, send, wait_for
from pushctl.errors import Failed, NotGood, PushctlError, Unreachable
from pushctl.protocol.frames import Notification
from tests.fake_service import FakeService

PATIENCE_SECONDS = 5
ROUTE = "POST /push/s3cret"
STORED = (201, None, {"Location": "/message/m1", "TTL": "60"})


async def push(service: FakeService, what: Push) -> Sent:
    url = f"{service.api_url}/push/s3cret"
    with trio.fail_after(PATIENCE_SECONDS):
        async with open_client(url) as client:
            return await send(client, url, what)


async def waited(service: FakeService, state: WaitFor, *states: str) -> Sent:
    left = list(states)

    async def answer() -> Any:
        return 200, {"id": "m1", "state": left.pop(0), "at": "2026-01-01T00:00:00.000Z"}, {}

    service.answers["GET /message/m1"] = answer
    with trio.fail_after(PATIENCE_SECONDS):
        async with open_client(service.api_url) as client:
            return await wait_for(client, Sent("m1", f"{service.api_url}/message/m1", 60, "stored"), state)


async def test_only_what_was_said_is_sent(service: FakeService) -> None:
    service.answers[ROUTE] = STORED
    sent = await push(service, Push(notification=Notification(body="Hello")))
    assert sent == Sent("m1", f"{service.api_url}/message/m1", 60, "stored")
    [(_, headers, body)] = service.requests
    assert (headers["content-type"], msgspec.json.decode(body)) == ("application/json", {"body": "Hello"})
    assert not {"ttl", "topic", "urgency", "idempotency-key"} & headers.keys()


async def test_all_that_was_said_is_sent(service: FakeService) -> None:
    service.answers[ROUTE] = STORED
    what = Push(
        notification=Notification("t", "b", "https://x/i.png", "https://x/", "tag"),
        ttl_seconds=60,
        topic="match-17",
        urgency="high",
        idempotency_key="k1",
    )
    await push(service, what)
    [(_, headers, body)] = service.requests
    assert msgspec.json.decode(body) == {
        "title": "t",
        "body": "b",
        "icon": "https://x/i.png",
        "url": "https://x/",
        "tag": "tag",
    }
    found = [headers[name] for name in ("ttl", "topic", "urgency", "idempotency-key")]
    assert found == ["60", "match-17", "high", "k1"]


async def test_an_empty_push_has_no_body_and_no_content_type(service: FakeService) -> None:
    service.answers[ROUTE] = STORED
    await push(service, Push())
    [(_, headers, body)] = service.requests
    assert body == b""
    assert "content-type" not in headers


async def test_ttl_0_is_not_called_stored(service: FakeService) -> None:
    service.answers[ROUTE] = (201, None, {"Location": "/message/m1", "TTL": "0"})
    assert (await push(service, Push(ttl_seconds=0))).state == "ephemeral"


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (410, Failed, "the user revoked this push URL"),
        (404, Failed, "never made this push URL"),
        (401, Failed, "no signature"),
        (413, Failed, "413: no signature"),
        (503, Unreachable, "refused for now"),
        (429, Unreachable, "refused for now"),
    ],
)
async def test_a_refusal_says_what_it_means_and_not_the_push_url(
    status: int, error: type[PushctlError], words: str, service: FakeService
) -> None:
    service.answers[ROUTE] = (status, {"code": "x", "detail": "no signature"}, {})
    with pytest.raises(error, match=words) as caught:
        await push(service, Push())
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("headers", [{"TTL": "60"}, {"Location": "/message/m1"}, {"Location": "/m", "TTL": "soon"}])
async def test_an_answer_of_something_else_is_no_success(headers: dict[str, str], service: FakeService) -> None:
    service.answers[ROUTE] = (200, None, headers)
    with pytest.raises(Failed, match="like a push service"):
        await push(service, Push())


async def test_a_receipt_is_asked_for_only_when_somebody_waits(service: FakeService) -> None:
    link = {"Link": '</receipt/r1>; rel="urn:ietf:params:push:receipt"'}
    service.answers[ROUTE] = (202, None, STORED[2] | link)
    assert (await push(service, Push(receipt=True))).receipt == f"{service.api_url}/receipt/r1"
    await push(service, Push())
    assert [headers.get("prefer") for _, headers, _ in service.requests] == ["respond-async", None]


async def test_with_a_receipt_nothing_is_polled_until_it_is_delivered(service: FakeService) -> None:
    async def delivered() -> Any:
        await trio.sleep(0.3)
        return 200, {"state": "delivered"}, {}

    service.answers["GET /receipt/r1"] = delivered
    service.answers["GET /message/m1"] = (200, {"state": "read"}, {})
    url = service.api_url
    sent = Sent("m1", f"{url}/message/m1", 60, "stored", f"{url}/receipt/r1")
    with trio.fail_after(PATIENCE_SECONDS):
        async with open_client(url) as client:
            assert (await wait_for(client, sent, "delivered")).state == "delivered"
            assert [(route, headers.get("prefer")) for route, headers, _ in service.requests] == [
                ("GET /receipt/r1", "wait=30")
            ]
            assert (await wait_for(client, sent, "read")).state == "read"
    assert [route for route, _, _ in service.requests] == [*["GET /receipt/r1"] * 2, "GET /message/m1"]


async def test_waiting_ends_when_the_state_is_reached_or_passed(service: FakeService) -> None:
    assert (await waited(service, "delivered", "stored", "stored", "delivered")).state == "delivered"
    assert (await waited(service, "delivered", "stored", "read")).state == "read"
    assert (await waited(service, "read", "delivered", "read")).state == "read"


@pytest.mark.parametrize("state", ["expired", "replaced", "cancelled", "evicted"])
async def test_a_message_that_died_is_not_waited_for(state: str, service: FakeService) -> None:
    with pytest.raises(NotGood, match=f"is {state}, so it will not be read") as error:
        await waited(service, "read", "delivered", state)
    assert error.value.exit_code == 3


async def test_the_pause_grows_and_a_busy_service_is_obeyed(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    answers: list[Any] = [(200, {"state": "stored"}, {})] * 3
    answers += [(503, {"code": "store_unavailable"}, {"Retry-After": "9"})]
    answers += [(200, {"state": "stored"}, {})] * 2 + [(200, {"state": "read"}, {})]

    async def answer() -> Any:
        return answers.pop(0)

    async def note(seconds: float) -> None:
        pauses.append(seconds)

    service.answers["GET /message/m1"] = answer
    with trio.fail_after(PATIENCE_SECONDS):
        async with open_client(service.api_url) as client:
            # Its own pauses, not those of the service, which is in this process.
            monkeypatch.setattr("pushctl.client.sender.trio", SimpleNamespace(sleep=note))
            await wait_for(client, Sent("m1", f"{service.api_url}/message/m1", 60, "stored"), "read")
            monkeypatch.undo()
    assert pauses == pytest.approx([0.05, 0.075, 0.1125, 9, 2, 2])
