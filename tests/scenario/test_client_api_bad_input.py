"""Everything a client can get wrong on the client API: always a problem that names the field, never a 500."""

import random
from typing import Any

import httpx
import pytest
import trio

from tests.scenario.bad_input import WRONG_VALUES, Route, complaint, spoiled
from tests.scenario.people import Town
from tests.scenario.test_client_api import METHODS


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
        "site": (
            *but(),
            "news.example",
            "https://news.example/path",
            "https://news.example?",
            "ftp://x.example",
            f"https://{'x.' * 300}y",
        ),
        "icon": (
            *but(None),
            "javascript:alert(1)",
            "data:text/html,x",
            "https://x.example/" + "y" * 2048,
            "data:image/png;base64," + "A" * 16 * 1024,
        ),
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

ALL_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


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


BAD_QUERIES = (
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
)


async def test_a_bad_query_is_refused_with_its_parameter(office: Town) -> None:
    ada = await office.login("ada")
    for path, field in BAD_QUERIES:
        answer = await ada.ask("GET", path)
        assert complaint(answer, 400, "query_invalid", field) is None, (path, answer.text)


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


async def test_other_paths_are_404(office: Town) -> None:
    for path in ("/", "/v1", "/v2/login", "/v1/nothing", "/v1/login/x", "/%00", "/v1/%2e%2e"):
        answer = await office.http.get(httpx.URL(office.service.api).copy_with(raw_path=path.encode()))
        assert complaint(answer, 404, "not_found", None) is None, (path, answer.text)


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
