"""Litestar as we use it: strict JSON in, Structs out, every error a problem+json of ours.

Owns: how a REST app of a role is made, and the translation of the framework's own errors.
Promises: a body is refused with the field that is wrong, a query with the parameter; what is no mistake of the peer
is raised through to the server, which logs it.
Must not know: any route of a role.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final, cast

import msgspec
from litestar import Litestar, Request, Response, route
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec

from pushctl.errors import (
    BodyInvalid,
    BodyTooLarge,
    ContentTypeUnsupported,
    MethodNotAllowed,
    NotFound,
    Problem,
    QueryInvalid,
    Unauthenticated,
)
from pushctl.http.asgi import Scope
from pushctl.http.observe import name_problem
from pushctl.http.openapi import PlainLitestar, document_routes
from pushctl.http.problem import problem_response
from pushctl.protocol import strict

PROBLEM_JSON: Final = "application/problem+json"

QUERY: Final = "query"
"""Key of a handler's `opt`: the names of its query parameters. Any other is refused."""


class JsonRequest(Request[Any, Any, State]):
    """A request whose JSON body is decoded once, strictly, into the Struct that the handler's `data` asks for."""

    async def json(self) -> Any:
        field = self.route_handler.parsed_data_field
        assert field is not None, "only asked for by a handler with `data`"
        wanted = field.annotation
        return strict.decode(_decoder(wanted), await self.body(), BodyInvalid)


def authorization(connection: ASGIConnection[Any, Any, Any, State]) -> str | None:
    """The credential of a request. Raises Unauthenticated if it brings several."""
    given = connection.headers.getall("authorization", [])
    if len(given) > 1:
        raise Unauthenticated("give one Authorization header", field="Authorization")
    return given[0] if given else None


@cache
def _decoder(wanted: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(wanted)


async def _check_shape(request: Request[Any, Any, Any]) -> None:
    """Before a handler runs: the query has only what is known, once; a body that is needed is there and is JSON."""
    known = request.route_handler.opt.get(QUERY, ())
    for name in request.query_params:
        if name not in known:
            raise QueryInvalid("no such parameter is known here", field=name[:64])
        if len(request.query_params.getall(name)) > 1:
            raise QueryInvalid("this parameter is given more than once", field=name)
    if request.route_handler.parsed_data_field is None:
        return
    given = request.headers.getall("content-type", [])
    if len(given) != 1 or not _is_json(given[0]):
        raise ContentTypeUnsupported("send application/json in UTF-8", field="Content-Type")
    if not await request.body():
        raise BodyInvalid("a JSON object is needed", field="$")


def _is_json(content_type: str) -> bool:
    kind, _, parameters = content_type.partition(";")
    name, _, charset = parameters.strip().partition("=")
    utf8 = name.strip().lower() != "charset" or charset.strip('" ').lower() in ("utf-8", "utf8", "us-ascii")
    return kind.strip().lower() == "application/json" and utf8


# --- errors ----------------------------------------------------------------------------------------------------------


class _Errors:
    """Exception handlers of one app."""

    def __init__(self, challenge: str, extra_of: Callable[[Problem], Mapping[str, Any] | None]) -> None:
        self._challenge = challenge
        self._extra_of = extra_of

    def on_problem(self, request: Request[Any, Any, State], problem: Problem) -> Response[bytes]:
        name_problem(cast(Scope, request.scope), problem)
        status, pairs, body = problem_response(problem, extra=self._extra_of(problem))
        headers = {name.decode("ascii"): value.decode("latin-1") for name, value in pairs}
        if status == 401:
            headers["www-authenticate"] = problem.challenge or self._challenge
        return Response(body, status_code=status, headers=headers, media_type=headers.pop("content-type"))

    def on_framework_error(self, request: Request[Any, Any, State], error: HTTPException) -> Response[bytes]:
        return self.on_problem(request, _translated(error))

    def on_bug(self, _: Request[Any, Any, State], error: Exception) -> Response[bytes]:
        raise error


def _translated(error: HTTPException) -> Problem:
    match error.status_code:
        case 404:
            return NotFound("no such route")
        case 405:
            allow = {word.strip() for word in (error.headers or {}).get("allow", "").split(",")} - {""}
            return MethodNotAllowed("this route does not take that method", allow=_with_head(allow))
        case 413:
            return BodyTooLarge("the body is longer than this route takes")
        case status if 400 <= status < 500:
            return Problem("the request could not be read")
    raise error


def _with_head(methods: set[str]) -> tuple[str, ...]:
    """In a stable order; HEAD goes wherever GET does."""
    return tuple(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


def _options_routes(handlers: Iterable[HTTPRouteHandler]) -> list[HTTPRouteHandler]:
    """OPTIONS for every path. Litestar makes its own where it meets a path without one, and names in it only what it
    has met by then: so these must be registered first."""
    methods: dict[str, set[str]] = {}
    for handler in handlers:
        for path in handler.paths:
            methods.setdefault(path, {"OPTIONS"}).update(map(str, handler.http_methods))
    return [_options_route(path, ", ".join(_with_head(allow))) for path, allow in methods.items()]


def _options_route(path: str, allow: str) -> HTTPRouteHandler:
    @route(path, http_method="OPTIONS", status_code=204, include_in_schema=False, sync_to_thread=False)
    def options() -> Response[None]:
        return Response(None, headers={"allow": allow})

    return options


# --- documents -------------------------------------------------------------------------------------------------------


class ProblemOut(msgspec.Struct, frozen=True, rename={"kind": "type"}):
    """RFC 9457."""

    kind: str
    title: str
    status: int
    detail: str
    code: str
    field: str | None


def may_answer(*statuses: int) -> Mapping[int, ResponseSpec]:
    """For a handler's `responses`: the problems it answers with, besides 405, 431 and 503 which any route may."""
    return {
        status: ResponseSpec(
            data_container=ProblemOut,
            description=TITLES[status],
            media_type=PROBLEM_JSON,
            generate_examples=False,
        )
        for status in sorted({*statuses, 503})
    }


TITLES: Final = {
    400: "the body or the query is not valid; `field` says where",
    401: "no valid session or credential",
    403: "not allowed",
    404: "no such thing, or another user's",
    409: "a limit is reached, or something is in its way",
    410: "gone for good",
    413: "the body is too large",
    415: "the content type is not supported",
    422: "the idempotency key was used with another body",
    429: "too many requests; Retry-After says when",
    503: "temporarily unavailable; Retry-After says when",
}


def rest_app(
    handlers: Sequence[HTTPRouteHandler],
    *,
    title: str,
    description: str,
    services: object,
    request_class: type[JsonRequest],
    max_body_bytes: int,
    challenge: str = "Bearer",
    more_paths: Mapping[str, Any] | None = None,
    extra_of: Callable[[Problem], Mapping[str, Any] | None] = lambda _: None,
) -> Litestar:
    """The app of a role: its handlers, /openapi.json and /docs.

    `services`: what handlers find at `request.app.state.services`; `challenge`: WWW-Authenticate of a 401;
    `more_paths`: OpenAPI path items of routes that are answered elsewhere; `extra_of`: more members of a problem.
    """
    errors = _Errors(challenge, extra_of)
    documents = document_routes(
        handlers, title=title, description=description, request_class=request_class, more_paths=more_paths or {}
    )
    answered = [*handlers, *documents]
    return PlainLitestar(
        [*_options_routes(answered), *answered],
        state=State({"services": services}, deep_copy=False),
        request_class=request_class,
        request_max_body_size=max_body_bytes,
        before_request=_check_shape,
        exception_handlers={
            Problem: errors.on_problem,
            HTTPException: errors.on_framework_error,
            Exception: errors.on_bug,
        },
        openapi_config=None,
        logging_config=None,
        debug=False,
        pdb_on_exception=False,
    )
