"""The client API of docs/protocol.md, section 1, on a running api role."""

import os
import random
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
import trio

from pushctl.config.model import Config
from pushctl.testing.service import running
from tests.conftest import RedisProcess
from tests.scenario.bad_input import WRONG_VALUES, Route, complaint, spoiled
from tests.scenario.people import Person, Town


@pytest.fixture
async def office(config: Config) -> AsyncIterator[Town]:
    """Only api and boxoffice: nobody is connected here."""
    async with running(config, sockets=0, without=("router", "gc")) as service, httpx.AsyncClient() as http:
        yield Town(service, http)


def but(*good: Any) -> tuple[Any, ...]:
    return tuple(value for value in WRONG_VALUES if not any(value is each or value == each for each in good))


LOGIN = Route(
    "POST",
    "/v1/login",
    {"device": {"name": "laptop", "id": None}, "provider": None},
    {
        "device": but({}, {"x": {}}),
        "device.name": (*but(), "a\nb", "x" * 65),
        "device.id": but(None, "", "x" * 20_000),
        "provider": but(None, ""),
    },
    text=b"laptop",
    required=("device", "device.name"),
)
PUSH_URLS = Route(
    "POST",
    "/v1/push-urls",
    {"site": "https://news.example", "icon": None, "vapid_key": None},
    {
        "site": (*but(), "news.example", "https://news.example/path", "https://news.example?", "ftp://x.example"),
        "icon": (*but(None), "javascript:alert(1)", "data:text/html,x", "https://x.example/" + "y" * 2048),
        "vapid_key": (*but(None), "AAAA", "ü"),
    },
    text=b"https://news.example",
    required=("site",),
)
READ = Route(
    "POST",
    "/v1/messages/read",
    {"upto": "0123456789abcdef-0-0000000000000000"},
    {"upto": but(None), "ids": but(None, [], [["x"]])},
    text=b"0123456789abcdef",
)
WITH_BODY = (LOGIN, PUSH_URLS, READ)

METHODS = {
    "/v1/login": {"POST", "DELETE"},
    "/v1/devices": {"GET"},
    "/v1/devices/abc": {"DELETE"},
    "/v1/push-urls": {"GET", "POST"},
    "/v1/push-urls/abc": {"DELETE"},
    "/v1/messages": {"GET"},
    "/v1/messages/read": {"POST"},
    "/v1/sync": {"GET"},
    "/v1/account": {"DELETE"},
}
ALL_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", WITH_BODY, ids=lambda route: route.path)
async def test_every_bad_body_is_refused_with_its_field(office: Town, route: Route) -> None:
    ada = await office.login("ada")
    complaints = {}
    for bad in spoiled(route):
        headers = {"Authorization": f"Bearer {ada.token}"}
        if bad.content_type is not None:
            headers["Content-Type"] = bad.content_type
        with trio.fail_after(5):
            answer = await office.http.request(
                route.method, office.service.api + route.path, content=bad.content, headers=headers
            )
        wrong = complaint(answer, bad.status, bad.code, bad.field)
        if wrong is not None:
            complaints[bad.what] = wrong
    assert not complaints, "\n".join(f"{k} -> {v}" for k, v in complaints.items())


async def test_ids_and_upto_exclude_each_other(office: Town) -> None:
    ada = await office.login("ada")
    cursor = "0123456789abcdef-0-0000000000000000"
    for body, field in (
        ({}, "$.ids"),
        ({"ids": [], "upto": cursor}, "$.ids"),
        ({"ids": None, "upto": None}, "$.ids"),
        ({"ids": [1]}, "$.ids[0]"),
        ({"ids": ["x"] * 501}, "$.ids"),
        ({"ids": ["x" * 257]}, "$.ids[0]"),
    ):
        answer = await ada.ask("POST", "/v1/messages/read", body)
        assert complaint(answer, 400, "body_invalid", field) is None, (body, answer.text)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/messages?limit=0", "limit"),
        ("/v1/messages?limit=501", "limit"),
        ("/v1/messages?limit=-1", "limit"),
        ("/v1/messages?limit=1.0", "limit"),
        ("/v1/messages?limit=", "limit"),
        ("/v1/messages?limit=%D9%A3", "limit"),
        ("/v1/messages?limit=" + "9" * 3000, "limit"),
        ("/v1/messages?limit=1&limit=2", "limit"),
        ("/v1/messages?since=x", "since"),
        ("/v1/messages?since=-1", "since"),
        ("/v1/messages?since=%ff", "since"),
        ("/v1/messages?next=1", "next"),
        ("/v1/sync?next=x", "next"),
        ("/v1/sync?next=", "next"),
        ("/v1/sync?next=gqE", "next"),
        ("/v1/sync?cursor=a&next=b", "next"),
        ("/v1/sync?cursors=a", "cursors"),
        ("/v1/devices?x=1", "x"),
    ],
)
async def test_a_bad_query_is_refused_with_its_parameter(office: Town, path: str, field: str) -> None:
    ada = await office.login("ada")
    answer = await ada.ask("GET", path)
    assert complaint(answer, 400, "query_invalid", field) is None, answer.text


async def test_a_session_is_needed_everywhere_but_at_login(office: Town) -> None:
    ada = await office.login("ada")
    credentials = [
        [],
        [("Authorization", "")],
        [("Authorization", "Bearer")],
        [("Authorization", "Bearer nonsense")],
        [("Authorization", f"Basic {ada.token}")],
        [("Authorization", ada.token)],
        [("Authorization", f"Bearer {ada.token}x")],
        [("Authorization", "Bearer " + "x" * 8000)],
        [("Authorization", "Bearer \xfc")],
        [("Authorization", f"Bearer {ada.token}"), ("Authorization", f"Bearer {ada.token}")],
    ]
    for path, methods in METHODS.items():
        for method in methods - ({"POST"} if path == "/v1/login" else set()):
            for headers in credentials:
                raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
                answer = await office.http.request(method, office.service.api + path, headers=raw, content=b"{")
                assert complaint(answer, 401, "unauthenticated", "Authorization") is None, (method, path, headers)
                assert answer.headers["www-authenticate"] == "BrowserID, Bearer"
    assert (await ada.ask("GET", "/v1/devices")).status_code == 200


async def test_login_says_what_is_wrong_with_a_credential(office: Town) -> None:
    bundle = await office.bundle("ada")
    for credential, status, code in (
        (None, 401, "unauthenticated"),
        ("Bearer abc", 401, "unauthenticated"),
        ("BrowserID", 400, "malformed_bundle"),
        ("BrowserID abc", 400, "malformed_bundle"),
        ("BrowserID a~b", 400, "malformed_jws"),
        (f"BrowserID {bundle[:-4]}AAAA", 400, "invalid_assertion_signature"),
    ):
        headers = {} if credential is None else {"Authorization": credential}
        answer = await office.http.post(
            f"{office.service.api}/v1/login", json={"device": {"name": "laptop"}}, headers=headers
        )
        said = answer.json()
        assert (answer.status_code, said["code"], said["field"]) == (status, code, "Authorization"), answer.text
        assert ("www-authenticate" in answer.headers) == (status == 401)


async def test_other_methods_are_405_and_say_what_is_allowed(office: Town) -> None:
    ada = await office.login("ada")
    for path, methods in METHODS.items():
        allowed = methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
        for method in ALL_METHODS:
            if method in allowed:
                continue
            answer = await office.http.request(
                method, office.service.api + path, headers={"Authorization": f"Bearer {ada.token}"}
            )
            if method != "HEAD":
                assert complaint(answer, 405, "method_not_allowed", None) is None, (method, path)
            assert answer.status_code == 405
            assert set(answer.headers["allow"].split(", ")) == allowed, (method, path)
        for method in ("TRACE", "PROPFIND"):
            assert (await office.http.request(method, office.service.api + path)).status_code == 405


@pytest.mark.parametrize("path", ["/", "/v1", "/v2/login", "/v1/nothing", "/v1/login/x", "/%00", "/v1/%2e%2e"])
async def test_other_paths_are_404(office: Town, path: str) -> None:
    answer = await office.http.get(httpx.URL(office.service.api).copy_with(raw_path=path.encode()))
    assert complaint(answer, 404, "not_found", None) is None, answer.text


async def test_no_noise_is_ever_answered_with_500(office: Town) -> None:
    ada = await office.login("ada")
    push_url = await ada.allow()
    dice = random.Random(20260101)
    paths = [*METHODS, push_url["url"].removeprefix(office.service.api), "/message/x", "/openapi.json", "/docs"]
    scraps = ["%00", "%ff", "/", "//", "..", "?", "&", "=", "a", "next", "cursor", "%C3%BC", "{}", "'", '"', "\\"]
    bodies = [b"", b"{}", b'{"ids":["x"]}', b'{"device":{"name":"x"}}', b"\x00" * 50, b"\xf0\x28\x8c\x28", b"[1e999]"]
    values = [
        "",
        "x",
        "application/json",
        "text/plain",
        "\x7f",
        "0",
        "-1",
        "*",
        "bytes=0-",
        "\xff",
        "gzip",
        "vapid t=a",
    ]
    names = ["Content-Type", "TTL", "Topic", "Origin", "Accept", "Content-Encoding", "Range", "Idempotency-Key"]
    for _ in range(400):
        path = dice.choice(paths) + "".join(dice.choices(scraps, k=dice.randrange(4)))
        headers = [(b"Authorization", f"Bearer {ada.token}".encode())] if dice.random() < 0.5 else []
        headers += [
            (dice.choice(names).encode(), dice.choice(values).encode("latin-1")) for _ in range(dice.randrange(4))
        ]
        method = dice.choice(["GET", "POST", "PUT", "OPTIONS", "HEAD"])
        with trio.fail_after(5):
            answer = await office.http.request(
                method,
                httpx.URL(office.service.api).copy_with(raw_path=path.encode()),
                headers=headers,
                content=dice.choice(bodies),
            )
        assert answer.status_code < 500, (method, path, headers, answer.text)
    assert (await ada.ask("GET", "/v1/devices")).status_code == 200


# --- sessions and devices --------------------------------------------------------------------------------------------


async def test_a_login_registers_a_device_and_the_same_principal_is_the_same_user(office: Town) -> None:
    answer = await office.http.post(
        f"{office.service.api}/v1/login",
        json={"device": {"name": "laptop"}},
        headers={"Authorization": f"BrowserID {await office.bundle('ada')}"},
    )
    assert answer.status_code == 201
    said = answer.json()
    assert said.keys() == {"token", "user", "device", "expires_at"}
    assert said["device"] == {"id": said["device"]["id"], "name": "laptop"}
    assert answer.headers["cache-control"] == "no-store"
    phone, bob = await office.login("ada"), await office.login("bob")
    assert phone.user == said["user"] != bob.user
    devices = (await phone.ask("GET", "/v1/devices")).json()["devices"]
    assert [set(device) for device in devices] == [
        {"id", "name", "created_at", "last_seen_at", "connected", "current"} for _ in range(2)
    ]
    assert {(device["id"], device["current"]) for device in devices} == {
        (said["device"]["id"], False),
        (phone.device, True),
    }


async def test_an_assertion_opens_one_session(office: Town) -> None:
    bundle = await office.bundle("ada")
    for status in (201, 401):
        answer = await office.http.post(
            f"{office.service.api}/v1/login",
            json={"device": {"name": "laptop"}},
            headers={"Authorization": f"BrowserID {bundle}"},
        )
        assert answer.status_code == status
    assert answer.json()["code"] == "replayed_assertion"


async def test_a_device_logs_in_again_and_another_users_device_is_404(office: Town) -> None:
    ada, bob = await office.login("ada"), await office.login("bob")
    again = await office.login("ada", ada.device)
    assert (again.device, again.user) == (ada.device, ada.user)
    for device in (bob.device, "unknown", "no id at all", "\x00"):
        answer = await office.http.post(
            f"{office.service.api}/v1/login",
            json={"device": {"name": "laptop", "id": device}},
            headers={"Authorization": f"BrowserID {await office.bundle('ada')}"},
        )
        assert complaint(answer, 404, "not_found", "$.device.id") is None, answer.text


async def test_logging_out_ends_this_session_or_all(office: Town) -> None:
    laptop, phone, tablet = [await office.login("ada") for _ in range(3)]
    assert (await laptop.ask("DELETE", "/v1/login?everywhere=yes")).status_code == 400
    assert (await laptop.ask("DELETE", "/v1/login?everywhere=false")).status_code == 204
    assert (await laptop.ask("GET", "/v1/devices")).status_code == 401
    assert (await phone.ask("GET", "/v1/devices")).status_code == 200
    assert (await phone.ask("DELETE", "/v1/login?everywhere=true")).status_code == 204
    for each in (phone, tablet):
        assert (await each.ask("GET", "/v1/devices")).status_code == 401


async def test_removing_a_device_ends_its_session(office: Town) -> None:
    laptop, phone, bob = await office.login("ada"), await office.login("ada"), await office.login("bob")
    assert (await bob.ask("DELETE", f"/v1/devices/{phone.device}")).status_code == 404
    assert (await laptop.ask("DELETE", f"/v1/devices/{phone.device}")).status_code == 204
    assert (await phone.ask("GET", "/v1/devices")).status_code == 401
    for path in (phone.device, "unknown", "%20", "a.b", "%00"):
        answer = await laptop.ask("DELETE", f"/v1/devices/{path}")
        assert complaint(answer, 404, "not_found", None) is None, answer.text


async def test_limits_of_a_user_are_409(config: Config) -> None:
    tight = replace(config, limits=replace(config.limits, devices_per_user=2, push_urls_per_user=1))
    async with running(tight, sockets=0, without=("router", "gc")) as service, httpx.AsyncClient() as http:
        town = Town(service, http)
        ada = await town.login("ada")
        await town.login("ada")
        answer = await http.post(
            f"{service.api}/v1/login",
            json={"device": {"name": "third"}},
            headers={"Authorization": f"BrowserID {await town.bundle('ada')}"},
        )
        assert complaint(answer, 409, "limit_reached", None) is None, answer.text
        await ada.allow("https://one.example")
        answer = await ada.ask("POST", "/v1/push-urls", {"site": "https://two.example"})
        assert complaint(answer, 409, "limit_reached", None) is None, answer.text


async def test_a_deleted_account_leaves_nothing(office: Town) -> None:
    ada, phone = await office.login("ada"), await office.login("ada")
    push_url = await ada.allow()
    assert (await ada.ask("DELETE", "/v1/account")).status_code == 204
    for each in (ada, phone):
        assert (await each.ask("GET", "/v1/messages")).status_code == 401
    assert (await office.push(push_url["url"], {"body": "x"})).status_code == 410


# --- push URLs -------------------------------------------------------------------------------------------------------


async def test_a_site_has_one_push_url_whatever_its_spelling(office: Town) -> None:
    ada = await office.login("ada")
    first = await ada.ask("POST", "/v1/push-urls", {"site": "HTTPS://Bücher.Example:443"})
    assert first.status_code == 201
    push_url = first.json()
    assert push_url.keys() == {"id", "site", "url", "icon", "vapid_key", "created_at"}
    assert push_url["site"] == "https://xn--bcher-kva.example"
    assert push_url["url"].startswith(f"{office.service.api}/push/")
    second = await ada.ask("POST", "/v1/push-urls", {"site": "https://xn--bcher-kva.example", "icon": None})
    assert (second.status_code, second.json()) == (200, push_url)
    icon = "https://news.example/i.png"
    third = await ada.ask("POST", "/v1/push-urls", {"site": "https://xn--bcher-kva.example", "icon": icon})
    assert (third.status_code, third.json()) == (200, push_url | {"icon": icon})
    assert (await ada.ask("GET", "/v1/push-urls")).json() == {"push_urls": [push_url | {"icon": icon}]}


async def test_a_revoked_push_url_is_gone_and_another_users_is_not_found(office: Town) -> None:
    ada, bob = await office.login("ada"), await office.login("bob")
    push_url = await ada.allow()
    await office.push(push_url["url"], {"body": "unread"})
    assert (await bob.ask("DELETE", f"/v1/push-urls/{push_url['id']}")).status_code == 404
    assert (await ada.ask("DELETE", f"/v1/push-urls/{push_url['id']}")).status_code == 204
    answer = await ada.ask("DELETE", f"/v1/push-urls/{push_url['id']}")
    assert complaint(answer, 404, "not_found", None) is None
    answer = await office.push(push_url["url"], {"body": "late"})
    assert (answer.status_code, answer.json()["code"]) == (410, "push_url_gone")
    assert [message["notification"]["body"] for message in await ada.unread()] == ["unread"]


# --- messages --------------------------------------------------------------------------------------------------------


async def pushed(town: Town, person: Person, count: int) -> list[str]:
    push_url = await person.allow()
    answers = [await town.push(push_url["url"], {"body": str(n)}) for n in range(count)]
    return [answer.headers["location"].removeprefix("/message/") for answer in answers]


async def test_unread_messages_come_in_pages_oldest_first(office: Town) -> None:
    ada = await office.login("ada")
    ids = await pushed(office, ada, 5)
    seen: list[str] = []
    query = "?limit=2"
    pages = 0
    while True:
        page = (await ada.ask("GET", f"/v1/messages{query}")).json()
        seen += [message["id"] for message in page["messages"]]
        pages += 1
        if page["next"] is None:
            break
        query = f"?since={page['next']}&limit=2"
    assert (seen, pages) == (ids, 3)


async def test_reading_is_idempotent_and_passes_over_what_is_not_the_users(office: Town) -> None:
    ada, bob = await office.login("ada"), await office.login("bob")
    ids = await pushed(office, ada, 3)
    theirs = await pushed(office, bob, 1)
    body = {"ids": [ids[0], ids[0], *theirs, "nonsense"]}
    assert (await ada.ask("POST", "/v1/messages/read", body)).json() == {"read": 1}
    assert (await ada.ask("POST", "/v1/messages/read", body)).json() == {"read": 0}
    assert len(await bob.unread()) == 1
    cursor = (await ada.ask("GET", "/v1/sync")).json()["cursor"]
    late = await pushed(office, ada, 1)
    assert (await ada.ask("POST", "/v1/messages/read", {"upto": cursor})).json() == {"read": 2}
    assert [message["id"] for message in await ada.unread()] == late


async def test_sync_gives_a_snapshot_then_deltas_in_pages(office: Town) -> None:
    ada = await office.login("ada")
    ids = await pushed(office, ada, 2)
    page = (await ada.ask("GET", "/v1/sync")).json()
    assert page.keys() == {"mode", "push_urls", "messages", "cursor", "done", "next"}
    assert (page["mode"], page["done"], page["next"]) == ("snapshot", True, None)
    assert [message["id"] for message in page["messages"]] == ids
    cursor = page["cursor"]
    await ada.ask("POST", "/v1/messages/read", {"ids": ids})
    page = (await ada.ask("GET", f"/v1/sync?cursor={cursor}")).json()
    assert page.keys() == {"mode", "events", "cursor", "done", "next"}
    assert page["mode"] == "delta"
    assert [(event["type"], event["ids"]) for event in page["events"]] == [("read", ids)]
    for nonsense in ("x", "", "%ff", "0123456789abcdef-0-0000000000000000"):
        page = (await ada.ask("GET", f"/v1/sync?cursor={nonsense}")).json()
        assert page["mode"] == "snapshot"


async def test_a_long_sync_goes_on_with_next_until_it_is_done(office: Town) -> None:
    ada = await office.login("ada")
    start = (await ada.ask("GET", "/v1/sync")).json()["cursor"]
    push_url = await ada.allow()
    big = "x" * 3900
    for n in range(150):  # more than a page of 256 KiB
        assert (await office.push(push_url["url"], {"title": str(n), "body": big})).status_code == 201
    for query in (f"?cursor={start}", ""):
        titles: list[str] = []
        pages = [(await ada.ask("GET", f"/v1/sync{query}")).json()]
        while not pages[-1]["done"]:
            assert pages[-1]["next"]
            pages.append((await ada.ask("GET", f"/v1/sync?next={pages[-1]['next']}")).json())
        assert len(pages) > 1
        assert pages[-1]["next"] is None
        for page in pages:
            events = page.get("events", [])
            messages = [event["message"] for event in events if event["type"] == "message"] + page.get("messages", [])
            titles += [message["notification"]["title"] for message in messages]
        assert titles == [str(n) for n in range(150)]


# --- around the routes -----------------------------------------------------------------------------------------------


async def test_pages_of_configured_origins_and_our_own_may_use_the_client_api(config: Config) -> None:
    open_to = replace(config, api=replace(config.api, origins=("https://app.example",)))
    async with running(open_to, sockets=0, without=("router", "gc")) as service, httpx.AsyncClient() as http:
        for origin, allowed in (("https://app.example", True), (service.api, True), ("https://evil.example", False)):
            answer = await http.get(f"{service.api}/v1/devices", headers={"Origin": origin})
            assert (answer.headers.get("access-control-allow-origin") == origin) == allowed
            preflight = await http.options(
                f"{service.api}/v1/push-urls", headers={"Origin": origin, "Access-Control-Request-Method": "POST"}
            )
            assert preflight.status_code == 204
            assert ("access-control-allow-methods" in preflight.headers) == allowed


async def test_the_openapi_document_names_every_route_of_the_role(office: Town) -> None:
    document = (await office.http.get(f"{office.service.api}/openapi.json")).json()
    said = {
        (method.upper(), path)
        for path, item in document["paths"].items()
        for method in item
        if method in ("get", "post", "delete")
    }
    named = {"/v1/devices/abc": "/v1/devices/{device_id}", "/v1/push-urls/abc": "/v1/push-urls/{push_url_id}"}
    clients = {(method, named.get(path, path)) for path, methods in METHODS.items() for method in methods}
    assert clients <= said
    assert said - clients == {
        ("POST", "/push/{token}"),
        ("GET", "/message/{id}"),
        ("DELETE", "/message/{id}"),
        ("GET", "/__heartbeat__"),
        ("GET", "/__lbheartbeat__"),
        ("GET", "/__version__"),
        ("GET", "/.well-known/browserid"),
        ("POST", "/dev/browserid/certificate"),
    }
    assert (await office.http.get(f"{office.service.api}/docs")).status_code == 200


@contextmanager
def frozen(redis: RedisProcess) -> Iterator[None]:
    os.kill(redis.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(redis.pid, signal.SIGCONT)


async def test_while_redis_is_frozen_answers_are_503_and_the_heartbeat_fails_then_all_recovers(
    own_redis: RedisProcess,
) -> None:
    redis = replace(Config().redis, url=own_redis.url, timeout_seconds=0.3)
    async with (
        running(replace(Config(), redis=redis), sockets=0, without=("router", "gc")) as service,
        httpx.AsyncClient() as http,
    ):
        town = Town(service, http)
        ada = await town.login("ada")
        push_url = await ada.allow()
        with frozen(own_redis):
            for answer in (
                await ada.ask("GET", "/v1/messages"),
                await town.push(push_url["url"], {"body": "x"}),
            ):
                assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
                assert int(answer.headers["retry-after"]) >= 1
            assert (await http.get(f"{service.api}/__heartbeat__")).status_code == 503
            assert (await http.get(f"{service.api}/__lbheartbeat__")).status_code == 200
        with trio.fail_after(10):
            while (await http.get(f"{service.api}/__heartbeat__")).status_code != 200:  # noqa: ASYNC110
                await trio.sleep(0.05)
        assert (await ada.ask("GET", "/v1/messages")).status_code == 200
