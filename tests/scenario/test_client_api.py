"""The client API of docs/protocol.md, section 1, on a running api role."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import httpx
import trio

from pushctl.config.model import Config
from pushctl.testing.service import running
from tests.conftest import RedisProcess
from tests.scenario.bad_input import complaint
from tests.scenario.people import Person, Town

METHODS = {
    "/v1/login": {"POST", "DELETE"},
    "/v1/identities": {"GET", "POST"},
    "/v1/identities/abc": {"DELETE"},
    "/v1/devices": {"GET"},
    "/v1/devices/abc": {"DELETE"},
    "/v1/push-urls": {"GET", "POST"},
    "/v1/push-urls/abc": {"DELETE"},
    "/v1/messages": {"GET"},
    "/v1/messages/read": {"POST"},
    "/v1/sync": {"GET"},
    "/v1/account": {"DELETE"},
}

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
        both = await ada.ask("GET", f"/v1/sync?cursor={start}&next={pages[0]['next']}")
        assert complaint(both, 400, "query_invalid", "next") is None
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
    named = {
        "/v1/identities/abc": "/v1/identities/{identity_id}",
        "/v1/devices/abc": "/v1/devices/{device_id}",
        "/v1/push-urls/abc": "/v1/push-urls/{push_url_id}",
    }
    clients = {(method, named.get(path, path)) for path, methods in METHODS.items() for method in methods}
    assert clients <= said
    assert said - clients == {
        ("POST", "/push/{token}"),
        ("GET", "/message/{id}"),
        ("DELETE", "/message/{id}"),
        ("GET", "/receipt/{id}"),
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
    redis = replace(Config().redis, url=own_redis.url, timeout_seconds=1)
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
