"""Litestar as roles use it, with a toy role: strict bodies and queries, every error a problem+json."""

from typing import Annotated, Any, cast

import httpx
import msgspec
import pytest
from litestar import delete, get, post
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Meta, Struct

from pushctl.errors import NotFound, StoreUnavailable
from pushctl.http.asgi import ASGIApp
from pushctl.http.cors import Cors, CorsLayer
from pushctl.http.observe import Observed
from pushctl.http.openapi import CONTENT_SECURITY_POLICY
from pushctl.http.rest import QUERY, JsonRequest, authorization, may_answer, rest_app
from pushctl.metrics import HttpMetrics, Metrics


class Tea(Struct, frozen=True, forbid_unknown_fields=True):
    kind: Annotated[str, Meta(max_length=8)]
    cups: int | None = None


@post("/v1/teas", responses=may_answer(400))
async def brew(data: JSONBody[Tea]) -> Tea:
    return data


@get("/v1/teas", opt={QUERY: ("kind", "next")})
async def list_teas(
    kind: FromQuery[str | None] = None, following: Annotated[str | None, QueryParameter(name="next")] = None
) -> dict[str, str | None]:
    return {"kind": kind, "next": following}


@delete("/v1/teas/{tea_id:str}")
async def pour_away(tea_id: FromPath[str]) -> None:
    if tea_id != "cold":
        raise NotFound("no such tea")


async def _only_members(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    connection.scope["auth"] = authorization(connection)


@post("/v1/members", guards=[_only_members])
async def join(request: JsonRequest, data: JSONBody[Tea]) -> dict[str, str | None]:
    return {"auth": request.auth}


@get("/v1/away")
async def away() -> None:
    raise StoreUnavailable("gone fishing", retry_after_seconds=7)


@get("/v1/bug")
async def bug() -> None:
    raise ZeroDivisionError


METRICS = HttpMetrics(Metrics("toy"))


TOY = rest_app(
    [brew, list_teas, pour_away, join, away, bug],
    title="Toy",
    description="",
    services=None,
    request_class=JsonRequest,
    max_body_bytes=1000,
    challenge="Toy",
    more_paths={"/push/{token}": {"post": {"responses": {}}}},
    extra_of=lambda problem: {"more": 1} if isinstance(problem, StoreUnavailable) else None,
)


def app(cors: Cors | None = None) -> ASGIApp:
    return Observed(CorsLayer(cast(ASGIApp, TOY), lambda _: cors), METRICS, [(b"x-toy", b"on")])


async def ask(
    method: str,
    path: str,
    *,
    cors: Cors | None = None,
    headers: dict[str, str] | list[tuple[str, str]] | None = None,
    content: bytes | None = None,
) -> httpx.Response:
    transport = httpx.ASGITransport(app=cast(Any, app(cors)))
    async with httpx.AsyncClient(transport=transport, base_url="http://toy.example") as client:
        return await client.request(method, path, headers=headers, content=content)


def check_problem(answer: httpx.Response, status: int, code: str, field: str | None) -> None:
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert (answer.status_code, said["status"], said["code"], said["field"]) == (status, status, code, field)
    assert said.keys() >= {"type", "title", "detail"}


JSON = {"content-type": "application/json"}


async def test_a_good_body_becomes_a_struct_and_a_struct_an_answer() -> None:
    answer = await ask("POST", "/v1/teas", headers=JSON, content=b'{"kind":"oolong"}')
    assert (answer.status_code, answer.json()) == (201, {"kind": "oolong", "cups": None})
    answer = await ask(
        "POST",
        "/v1/teas",
        headers={"content-type": "Application/JSON; charset=UTF-8"},
        content=b'{"kind":"x","cups":2}',
    )
    assert answer.json() == {"kind": "x", "cups": 2}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "$"),
        (b"{", "$"),
        (b"\xff", "$"),
        (b"null", "$"),
        (b"[]", "$"),
        (b"{}", "$.kind"),
        (b'{"kind":1}', "$.kind"),
        (b'{"kind":"much too long"}', "$.kind"),
        (b'{"kind":"\xff"}', "$"),
        (b'{"kind":"x","cups":"2"}', "$.cups"),
        (b'{"kind":"x","cups":"null"}', "$.cups"),
        (b'{"kind":"x","cups":2.5}', "$.cups"),
        (b'{"kind":"x","milk":true}', "$.milk"),
    ],
)
async def test_a_bad_body_is_refused_with_its_field(body: bytes, field: str) -> None:
    check_problem(await ask("POST", "/v1/teas", headers=JSON, content=body), 400, "body_invalid", field)


@pytest.mark.parametrize("kind", [None, "", "text/plain", "application/json; charset=latin-1", "application/jsonx"])
async def test_another_content_type_is_415(kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind}
    answer = await ask("POST", "/v1/teas", headers=headers, content=b'{"kind":"x"}')
    check_problem(answer, 415, "content_type_unsupported", "Content-Type")


async def test_a_long_body_is_413() -> None:
    check_problem(await ask("POST", "/v1/teas", headers=JSON, content=b" " * 1001), 413, "body_too_large", None)


async def test_known_query_parameters_arrive_as_text() -> None:
    assert (await ask("GET", "/v1/teas?kind=null&next=%C3%BC")).json() == {"kind": "null", "next": "ü"}


@pytest.mark.parametrize(
    ("query", "field"),
    [("kinds=x", "kinds"), ("kind=x&kind=y", "kind"), ("following=x", "following"), ("k%ff=x", None)],
)
async def test_unknown_and_repeated_query_parameters_are_refused(query: str, field: str | None) -> None:
    answer = await ask("GET", f"/v1/teas?{query}")
    check_problem(answer, 400, "query_invalid", field or answer.json()["field"])


async def test_unknown_routes_are_404_and_other_methods_405_with_allow() -> None:
    check_problem(await ask("GET", "/v1/coffees"), 404, "not_found", None)
    check_problem(await ask("GET", "/"), 404, "not_found", None)
    answer = await ask("PUT", "/v1/teas")
    check_problem(answer, 405, "method_not_allowed", None)
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"


async def test_a_problem_of_a_handler_is_answered_as_it_is() -> None:
    check_problem(await ask("DELETE", "/v1/teas/hot"), 404, "not_found", None)
    answer = await ask("GET", "/v1/away")
    check_problem(answer, 503, "store_unavailable", None)
    assert answer.headers["retry-after"] == "7"
    assert answer.json()["more"] == 1


async def test_guards_run_before_the_body_is_looked_at() -> None:
    two = [("authorization", "a"), ("authorization", "b"), ("content-type", "application/json")]
    answer = await ask("POST", "/v1/members", headers=two, content=b"{")
    check_problem(answer, 401, "unauthenticated", "Authorization")
    assert answer.headers["www-authenticate"] == "Toy"


async def test_a_bug_is_raised_through_to_the_server() -> None:
    with pytest.raises(ZeroDivisionError):
        await ask("GET", "/v1/bug")


async def test_head_is_get_and_options_says_what_is_allowed() -> None:
    assert (await ask("HEAD", "/v1/teas")).status_code == 200
    answer = await ask("OPTIONS", "/v1/teas")
    assert (answer.status_code, answer.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")


# --- around the app --------------------------------------------------------------------------------------------------


async def test_every_answer_carries_the_common_headers() -> None:
    for path in ("/v1/teas", "/v1/coffees"):
        answer = await ask("GET", path)
        assert answer.headers["x-toy"] == "on"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


def counted(route: str, status: str) -> int:
    return METRICS.requests[route, status]


async def test_requests_are_counted_by_template_never_by_what_a_peer_chose() -> None:
    before = counted("/v1/teas/{tea_id}", "404"), counted("other", "404")
    await ask("DELETE", "/v1/teas/hot")
    await ask("GET", "/v1/whatever-a-peer-chose")
    assert counted("/v1/teas/{tea_id}", "404") == before[0] + 1
    assert counted("other", "404") == before[1] + 1


OWN = Cors(frozenset({"https://app.example"}), methods="GET, POST", headers="Authorization")
ANY = Cors(None, methods="POST", headers="TTL")
PREFLIGHT = {"access-control-request-method": "POST"}


async def test_a_page_of_an_allowed_origin_may_read_the_answer() -> None:
    answer = await ask("GET", "/v1/teas", cors=OWN, headers={"origin": "https://app.example"})
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert answer.headers["vary"] == "Origin"
    answer = await ask("OPTIONS", "/v1/teas", cors=OWN, headers={"origin": "https://app.example", **PREFLIGHT})
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-methods"] == "GET, POST"
    assert answer.headers["access-control-allow-headers"] == "Authorization"
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://app.example:8443", "http://app.example"])
async def test_a_page_of_another_origin_may_not(origin: str) -> None:
    for method, more in (("GET", {}), ("OPTIONS", PREFLIGHT)):
        answer = await ask(method, "/v1/teas", cors=OWN, headers={"origin": origin, **more})
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert answer.headers["vary"] == "Origin"


async def test_where_any_origin_may_no_origin_is_named() -> None:
    answer = await ask("GET", "/v1/coffees", cors=ANY, headers={"origin": "https://anywhere.example"})
    assert answer.status_code == 404
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "Location" in answer.headers["access-control-expose-headers"]


async def test_without_a_policy_a_preflight_gets_no_permission() -> None:
    answer = await ask("OPTIONS", "/v1/teas", headers={"origin": "https://app.example", **PREFLIGHT})
    assert not [name for name in answer.headers if name.startswith("access-control")]


# --- documents -------------------------------------------------------------------------------------------------------


async def test_the_openapi_document_names_every_route_and_those_answered_elsewhere() -> None:
    answer = await ask("GET", "/openapi.json")
    document = msgspec.json.decode(answer.content)
    assert answer.headers["content-type"] == "application/json"
    assert document["openapi"].startswith("3.1")
    assert {"/v1/teas", "/v1/teas/{tea_id}", "/v1/members", "/push/{token}"} <= document["paths"].keys()
    assert not [path for path in document["paths"] if "schema" in path or "docs" in path]
    assert {"next", "kind"} == {each["name"] for each in document["paths"]["/v1/teas"]["get"]["parameters"]}
    problem = document["paths"]["/v1/teas"]["post"]["responses"]["400"]["content"]
    assert problem.keys() == {"application/problem+json"}


async def test_the_docs_page_needs_nothing_from_outside() -> None:
    answer = await ask("GET", "/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert "http://" not in answer.text
    assert "https://" not in answer.text
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert CONTENT_SECURITY_POLICY.startswith("default-src 'none'; script-src 'sha256-")
