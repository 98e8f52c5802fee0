"""What third parties may rely on (docs/protocol.md, section 2), on a running api role: plain HTTP, nothing of ours."""

import json
from collections.abc import AsyncIterator

import pytest
import trio

from tests.scenario.bad_input import complaint
from tests.scenario.people import Person, Town

LONGEST = "259200"
TEXT = {"Content-Type": "text/plain"}
JSON = {"Content-Type": "application/json"}


async def allowed(office: Town) -> tuple[Person, str]:
    ada = await office.login("ada")
    return ada, (await ada.allow())["url"]


async def state(office: Town, location: str) -> str:
    answer = await office.http.get(office.service.api + location)
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert said.keys() == {"id", "state", "at"}
    assert said["id"] == location.removeprefix("/message/")
    return str(said["state"])


# --- what is taken ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "body", "notification"),
    [
        (JSON, b'{"title":"T","icon":"/i.png"}', {"title": "T", "icon": "/i.png"}),
        (TEXT, "grüße\n".encode(), {"body": "grüße\n"}),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"hello=world&x", {"body": "hello=world&x"}),
        ({}, b"", None),
        (JSON, b"", None),
    ],
)
async def test_a_message_arrives_as_it_was_sent(
    office: Town, headers: dict[str, str], body: bytes, notification: dict[str, str] | None
) -> None:
    ada, url = await allowed(office)
    answer = await office.http.post(url, content=body, headers=headers)
    assert (answer.status_code, answer.content) == (201, b"")
    assert answer.headers["ttl"] == LONGEST
    assert await state(office, answer.headers["location"]) == "stored"
    [message] = await ada.unread()
    assert f"/message/{message['id']}" == answer.headers["location"]
    empty = {"title": None, "body": None, "icon": None, "url": None, "tag": None}
    assert message["notification"] == (None if notification is None else empty | notification)
    assert (message["data"], message["encoding"], message["headers"]) == (None, None, None)


async def test_the_lifetime_that_is_used_comes_back(office: Town) -> None:
    ada, url = await allowed(office)
    for ttl, used in (("60", "60"), ("0", "0"), ("9" * 3000, LONGEST)):
        answer = await office.http.post(url, headers={"TTL": ttl})
        assert (answer.status_code, answer.headers["ttl"]) == (201, used)
    assert len(await ada.unread()) == 2


async def test_ttl_0_is_never_stored_and_its_location_says_expired(office: Town) -> None:
    ada, url = await allowed(office)
    answer = await office.push(url, {"body": "now or never"}, TTL="0")
    assert (answer.status_code, answer.headers["ttl"]) == (201, "0")
    assert await state(office, answer.headers["location"]) == "expired"
    assert (await office.http.delete(office.service.api + answer.headers["location"])).status_code == 404
    assert await ada.unread() == []


async def test_a_topic_replaces_the_unread_message_before(office: Town) -> None:
    ada, url = await allowed(office)
    first = await office.push(url, {"body": "rain"}, Topic="weather")
    await office.push(url, {"body": "news"}, Topic="news")
    second = await office.push(url, {"body": "sun"}, Topic="weather")
    assert [message["notification"]["body"] for message in await ada.unread()] == ["news", "sun"]
    assert await state(office, first.headers["location"]) == "replaced"
    assert await state(office, second.headers["location"]) == "stored"


async def test_an_idempotency_key_stores_once_and_another_body_under_it_is_422(office: Town) -> None:
    ada, url = await allowed(office)
    first = await office.push(url, {"body": "once"}, Idempotency_Key="k1")
    again = await office.push(url, {"body": "once"}, Idempotency_Key="k1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.headers["location"] == again.headers["location"]
    assert len(await ada.unread()) == 1
    other = await office.push(url, {"body": "twice"}, Idempotency_Key="k1")
    assert complaint(other, 422, "idempotency_mismatch", other.json()["field"], errno=True) is None
    now = await office.push(url, {"body": "once"}, Idempotency_Key="k1", TTL="0")
    assert now.json()["code"] == "idempotency_mismatch", "now or never is another message"


async def test_an_unread_message_can_be_taken_back_once(office: Town) -> None:
    ada, url = await allowed(office)
    location = (await office.push(url, {"body": "oops"})).headers["location"]
    answer = await office.http.delete(office.service.api + location)
    assert (answer.status_code, answer.content) == (204, b"")
    assert await ada.unread() == []
    assert await state(office, location) == "cancelled"
    answer = await office.http.delete(office.service.api + location)
    assert complaint(answer, 404, "not_found", None, errno=True) is None


async def test_a_read_message_says_so_and_cannot_be_taken_back(office: Town) -> None:
    ada, url = await allowed(office)
    location = (await office.push(url, {"body": "x"})).headers["location"]
    await ada.ask("POST", "/v1/messages/read", {"ids": [location.removeprefix("/message/")]})
    assert await state(office, location) == "read"
    assert (await office.http.delete(office.service.api + location)).status_code == 404


async def test_head_is_get_without_a_body(office: Town) -> None:
    _, url = await allowed(office)
    location = (await office.push(url, {"body": "x"})).headers["location"]
    got, head = [await office.http.request(method, office.service.api + location) for method in ("GET", "HEAD")]
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == got.headers["content-length"]


# --- what is refused -------------------------------------------------------------------------------------------------

REFUSED: tuple[tuple[dict[str, str], bytes, int, str, str | None, int | None], ...] = (
    # headers, body, status, code, field, errno
    ({"TTL": "-1"}, b"", 400, "ttl_invalid", "TTL", 114),
    ({"TTL": "soon"}, b"", 400, "ttl_invalid", "TTL", 111),
    ({"TTL": ""}, b"", 400, "ttl_invalid", "TTL", 111),
    ({"Topic": "x" * 33}, b"", 400, "topic_invalid", "Topic", 113),
    ({"Topic": "a b"}, b"", 400, "topic_invalid", "Topic", 113),
    ({"Urgency": "very"}, b"", 400, "urgency_invalid", "Urgency", None),
    ({"Idempotency-Key": "x" * 256}, b"", 400, "body_invalid", "Idempotency-Key", None),
    ({"Content-Encoding": "aes128gcm"}, b"x", 400, "ttl_missing", "TTL", 111),
    ({"Content-Encoding": "aesgcm", "TTL": "5"}, b"x", 400, "encoding_invalid", "Encryption", 110),
    (
        {"Content-Encoding": "aes128gcm", "TTL": "5", "Encryption": "salt=x"},
        b"x",
        400,
        "encoding_invalid",
        "Encryption",
        110,
    ),
    ({"Content-Encoding": "gzip", "TTL": "5"}, b"x", 400, "encoding_invalid", "Content-Encoding", 110),
    ({"Authorization": "Basic abc"}, b"", 401, "vapid_invalid", "Authorization", 109),
    ({"Authorization": "vapid t=a,k=b"}, b"", 401, "vapid_invalid", "Authorization", 109),
    ({}, b"x", 415, "content_type_unsupported", "Content-Type", None),
    ({"Content-Type": "application/octet-stream"}, b"x", 415, "content_type_unsupported", "Content-Type", None),
    ({"Content-Type": "text/plain; charset=latin-1"}, b"x", 415, "content_type_unsupported", "Content-Type", None),
    (TEXT, b"\xff", 400, "body_invalid", "$", None),
    (TEXT, b"x" * 4097, 413, "body_too_large", None, 104),
    (TEXT, b"x" * 200_000, 413, "body_too_large", None, 104),
    (JSON, b"{", 400, "body_invalid", "$", None),
    (JSON, b'{"title":"\xff"}', 400, "body_invalid", "$", None),
    (JSON, b"{}", 400, "notification_invalid", "$.title", None),
    (JSON, b'{"title":1}', 400, "notification_invalid", "$.title", None),
    (JSON, b'{"title":"t","colour":"red"}', 400, "notification_invalid", "$.colour", None),
    (JSON, b"[" * 4000, 400, "notification_invalid", "$", None),
    (JSON, b"null", 400, "notification_invalid", "$", None),
)


async def test_every_bad_message_is_refused_with_its_field_and_mozillas_number(office: Town) -> None:
    ada, url = await allowed(office)
    complaints = []
    for headers, body, status, code, field, errno in REFUSED:
        with trio.fail_after(5):
            answer = await office.http.post(url, content=body, headers=headers)
        wrong = complaint(answer, status, code, field, errno=True)
        if wrong is not None or answer.json()["errno"] != errno:
            complaints.append(f"{headers} {body[:20]!r}: {wrong or answer.json()['errno']}")
        assert (answer.headers.get("www-authenticate") == "vapid") == (status == 401)
    assert not complaints, "\n".join(complaints)
    assert await ada.unread() == []


async def test_the_openapi_document_knows_every_status_of_a_push(office: Town) -> None:
    document = (await office.http.get(f"{office.service.api}/openapi.json")).json()
    documented = set(document["paths"]["/push/{token}"]["post"]["responses"])
    assert {str(row[2]) for row in REFUSED} | {"201", "202", "403", "404", "410", "422", "429", "503"} == documented


async def test_a_header_given_twice_is_refused(office: Town) -> None:
    _, url = await allowed(office)
    for name, value in (("TTL", "5"), ("Topic", "a"), ("Urgency", "low"), ("Idempotency-Key", "k")):
        answer = await office.http.post(url, headers=[(name, value), (name, value)])
        assert (answer.status_code, answer.json()["field"]) == (400, name)


async def test_a_session_token_has_no_business_on_a_push_url(office: Town) -> None:
    ada, url = await allowed(office)
    answer = await office.http.post(url, content=b"x", headers=TEXT | {"Authorization": f"Bearer {ada.token}"})
    assert complaint(answer, 401, "vapid_invalid", "Authorization", errno=True) is None
    assert ada.token not in answer.text


async def test_a_chunked_body_over_the_limit_is_413(office: Town) -> None:
    _, url = await allowed(office)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(50):
            yield b"x" * 100

    answer = await office.http.post(url, content=pieces(), headers=TEXT)
    assert (answer.status_code, answer.json()["errno"]) == (413, 104)


async def test_a_token_that_does_not_open_is_404(office: Town) -> None:
    _, url = await allowed(office)
    base, _, token = url.rpartition("/")
    for spoiled in (token[:-1], f"{token}A", "x", "%00", "a.b", token[:-4] + token[:4]):
        answer = await office.http.post(f"{base}/{spoiled}", content=b"x", headers=TEXT)
        assert complaint(answer, 404, "push_url_unknown", None, errno=True) is None, answer.text
        assert answer.json()["errno"] == 102


async def test_a_token_of_a_key_that_is_not_known_here_proves_nothing(office: Town) -> None:
    _, url = await allowed(office)
    base, _, token = url.rpartition("/")
    answer = await office.http.post(f"{base}/{'A' * len(token)}", content=b"x", headers=TEXT)
    assert complaint(answer, 503, "store_unavailable", None, errno=True) is None, answer.text
    assert answer.headers["retry-after"] == "1"


async def test_a_revoked_push_url_is_410_for_a_day(office: Town) -> None:
    ada = await office.login("ada")
    push_url = await ada.allow()
    await ada.ask("DELETE", f"/v1/push-urls/{push_url['id']}")
    answer = await office.push(push_url["url"], {"body": "late"})
    assert complaint(answer, 410, "push_url_gone", None, errno=True) is None
    assert answer.json()["errno"] == 106
    assert answer.headers["cache-control"] == "max-age=86400"


async def test_unknown_messages_and_paths_are_404_with_errno_null(office: Town) -> None:
    _, url = await allowed(office)
    location = (await office.push(url, {"body": "x"})).headers["location"]
    for path in ("/message/x", location[:-1], f"{location}x", "/message/", "/push/", "/message/a/b", "/push/a/b"):
        for method in ("GET", "DELETE") if path.startswith("/message/") else ("POST",):
            answer = await office.http.request(method, office.service.api + path)
            assert complaint(answer, 404, "not_found", None, errno=True) is None, (path, answer.text)
            assert answer.json()["errno"] is None


async def test_other_methods_are_405_with_allow(office: Town) -> None:
    _, url = await allowed(office)
    location = office.service.api + (await office.push(url, {"body": "x"})).headers["location"]
    for target, methods, allow in (
        (url, ("GET", "PUT", "DELETE", "PATCH"), "OPTIONS, POST"),
        (location, ("POST", "PUT", "PATCH"), "DELETE, GET, HEAD, OPTIONS"),
    ):
        for method in methods:
            answer = await office.http.request(method, target)
            assert complaint(answer, 405, "method_not_allowed", None, errno=True) is None
            assert answer.headers["allow"] == allow
        options = await office.http.options(target)
        assert (options.status_code, options.headers["allow"]) == (204, allow)


# --- around it -------------------------------------------------------------------------------------------------------


async def test_any_page_may_send_and_read_the_answer_without_credentials(office: Town) -> None:
    _, url = await allowed(office)
    page = {"Origin": "https://news.example"}
    preflight = await office.http.options(
        url, headers=page | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "ttl,topic"}
    )
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (204, "*")
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert {"TTL", "Topic", "Urgency"} <= set(preflight.headers["access-control-allow-headers"].split(", "))
    for answer in (
        await office.http.post(url, json={"body": "x"}, headers=page),
        await office.http.post(url, content=b"x", headers=page),
        await office.http.get(f"{office.service.api}/message/x", headers=page),
    ):
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "Location" in answer.headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in answer.headers


async def test_what_happened_is_logged_and_counted_without_secrets(
    office: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    ada, url = await allowed(office)
    answer = await office.push(url, {"title": "a secret title"})
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    [stored] = [line for line in lines if line["event"] == "stored"]
    assert (stored["user"], stored["seq"]) == (ada.user, 2)
    said = json.dumps(lines)
    message_id = answer.headers["location"].removeprefix("/message/")
    for secret in (url.rpartition("/")[2], message_id, ada.token, "a secret title"):
        assert secret not in said
    metrics = (await office.http.get(f"{office.service.admin['api']}/metrics")).text
    assert 'pushctl_messages_total{stage="stored"} 1.0' in metrics
    assert 'pushctl_messages_total{stage="received"} 1.0' in metrics
    assert 'pushctl_http_requests_total{route="/push/{token}",status="201"} 1.0' in metrics
    assert "pushctl_accept_seconds_count 1.0" in metrics
