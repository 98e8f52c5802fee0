"""The client API (docs/protocol.md, section 1): one handler per route, from a checked request to an answer.

Owns: paths, methods, status codes, query parameters. Promises: a handler touches only what is the session user's.
Must not know: how anything is stored, how an error is written.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from litestar import Response, delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.types import Guard

from pushctl.clock import rfc3339
from pushctl.errors import BodyInvalid, NotFound, QueryInvalid, Unauthenticated
from pushctl.http.openapi import SESSION
from pushctl.http.rest import QUERY, authorization, may_answer
from pushctl.identity.refusal import LoginRefused
from pushctl.identity.verifier import IdentityVerifier, Login
from pushctl.ids import ID_PATTERN, DeviceId, PushUrlId
from pushctl.inbox import IdentityView
from pushctl.protocol.frames import DeltaFrame, PushUrl
from roles.api import checks
from roles.api.bodies import (
    DeltaOut,
    DeviceOut,
    DeviceRef,
    DevicesOut,
    IdentitiesOut,
    IdentityIn,
    IdentityOut,
    LoginIn,
    LoginOut,
    MessagesOut,
    PushUrlIn,
    PushUrlsOut,
    ReadIn,
    ReadOut,
    SnapshotOut,
)
from roles.api.services import ApiRequest, counts_log_ins, needs_session

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 500

_LIMIT = re.compile(r"[0-9]{1,3}")


def _with_session(
    *problems: int, also: Mapping[int, ResponseSpec] | None = None, guards: Sequence[Guard] = ()
) -> dict[str, Any]:
    """What every route behind a session declares. Guards run before the body is looked at."""
    responses = {**may_answer(401, 429, *problems), **(also or {})}
    return {"guards": [needs_session, *guards], "security": [SESSION], "responses": responses}


_FOUND = ResponseSpec(PushUrl, description="the one that was there", generate_examples=False)


def _id(text: str, what: str, field: str | None = None) -> str:
    """An id from a path or a body. What cannot be an id names nothing."""
    if not ID_PATTERN.fullmatch(text):
        raise NotFound(f"no such {what}", field=field)
    return text


# --- sessions and devices --------------------------------------------------------------------------------------------


@post(
    "/v1/login",
    summary="Log in and register a device",
    tags=["session"],
    guards=[counts_log_ins],
    security=[{"browserid": []}, {"oidc": []}],
    responses=may_answer(400, 401, 404, 409, 413, 415, 429),
)
async def login(request: ApiRequest, data: JSONBody[LoginIn]) -> LoginOut:
    """One assertion or token opens one session. The same principal always gives the same `user`. With a `device.id` of
    this user that device logs in again. `expires_at`: how long the session lasts if it is never used."""
    name = checks.device_name(data.device.name)
    services = request.services
    verified = await services.verifier.verify(authorization(request), data.provider)
    known = None if data.device.id is None else DeviceId(_id(data.device.id, "device", "$.device.id"))
    signed_in = await services.accounts.sign_in(verified, services.ring.keys, device_name=name, device_id=known)
    return LoginOut(
        token=signed_in.token,
        user=signed_in.user,
        device=DeviceRef(signed_in.device_id, signed_in.device_name),
        expires_at=rfc3339(signed_in.expires_at_ms),
    )


@delete(
    "/v1/login",
    summary="End this session, or all of the user's",
    tags=["session"],
    opt={QUERY: ("everywhere",)},
    **_with_session(400),
)
async def logout(
    request: ApiRequest,
    everywhere: Annotated[
        str | None, QueryParameter(schema_extra={"one_of": None, "type": "string", "enum": ["true", "false"]})
    ] = None,
) -> None:
    if everywhere not in (None, "true", "false"):
        raise QueryInvalid("give true or false", field="everywhere")
    if everywhere == "true":
        await request.services.accounts.sign_out_everywhere(request.caller.user)
    else:
        await request.services.accounts.sign_out(request.caller)


@get("/v1/identities", summary="The identities that may log in", tags=["session"], **_with_session())
async def list_identities(request: ApiRequest) -> IdentitiesOut:
    return IdentitiesOut([_identity(each) for each in await request.services.accounts.identities(request.caller)])


_LINKED = ResponseSpec(IdentityOut, description="it was linked before", generate_examples=False)


@post(
    "/v1/identities",
    summary="Let another identity log in to this account",
    tags=["session"],
    **_with_session(400, 409, 413, 415, also={200: _LINKED}, guards=[counts_log_ins]),
)
async def link_identity(request: ApiRequest, data: JSONBody[IdentityIn]) -> Response[IdentityOut]:
    """Needs two proofs: this session, and a fresh credential of the other identity, good for this once. Nothing is ever
    linked by itself, whatever addresses are equal. 409 `identity_taken`: it has an account of its own."""
    services = request.services
    try:
        login = await _second_login(services.verifier, data)
        identity, new = await services.accounts.link(request.caller, login, services.ring.keys)
    except LoginRefused as refused:
        refused.field = "$.credential"
        raise
    return Response(_identity(identity), status_code=201 if new else 200)


async def _second_login(verifier: IdentityVerifier, data: IdentityIn) -> Login:
    """A scheme that is none is a mistake in the body: 401 `unauthenticated` would speak of the session."""
    try:
        return await verifier.verify(data.credential, data.provider)
    except Unauthenticated as problem:
        raise BodyInvalid(problem.detail, field="$.credential") from None


@delete("/v1/identities/{identity_id:str}", summary="Unlink an identity", tags=["session"], **_with_session(404, 409))
async def unlink_identity(request: ApiRequest, identity_id: FromPath[str]) -> None:
    """It may not log in to this account any more, and sessions of devices that logged in with it end. Never the last:
    409 `last_identity`."""
    await request.services.accounts.unlink(request.caller.user, _id(identity_id, "identity"))


def _identity(view: IdentityView) -> IdentityOut:
    return IdentityOut(view.id, view.provider, view.linked_at, view.last_used_at, view.current)


@get("/v1/devices", summary="The user's devices", tags=["session"], **_with_session())
async def list_devices(request: ApiRequest) -> DevicesOut:
    devices = await request.services.accounts.devices(request.caller)
    return DevicesOut([DeviceOut(d.id, d.name, d.created_at, d.last_seen_at, d.connected, d.current) for d in devices])


@delete("/v1/devices/{device_id:str}", summary="Remove a device", tags=["session"], **_with_session(404))
async def remove_device(request: ApiRequest, device_id: FromPath[str]) -> None:
    """Its session ends."""
    await request.services.accounts.remove_device(request.caller.user, DeviceId(_id(device_id, "device")))


@delete("/v1/account", summary="Remove all that is stored for the user", tags=["session"], **_with_session())
async def delete_account(request: ApiRequest) -> None:
    """Sessions, sockets and push URLs end."""
    await request.services.accounts.delete_account(request.caller.user)


# --- push URLs -------------------------------------------------------------------------------------------------------


@get("/v1/push-urls", summary="The user's push URLs", tags=["push URLs"], **_with_session())
async def list_push_urls(request: ApiRequest) -> PushUrlsOut:
    return PushUrlsOut(await request.services.inbox.push_urls(request.caller.user))


@post(
    "/v1/push-urls",
    summary="Allow a site to send",
    tags=["push URLs"],
    **_with_session(400, 409, 413, 415, also={200: _FOUND}),
)
async def allow(request: ApiRequest, data: JSONBody[PushUrlIn]) -> Response[PushUrl]:
    """201 with a new push URL, or 200 with the one this user has for that site and key. A different icon replaces
    the one that was there."""
    push_url, created = await request.services.inbox.allow(
        request.caller.user, checks.site(data.site), checks.icon(data.icon), checks.vapid_key(data.vapid_key)
    )
    return Response(push_url, status_code=201 if created else 200)


@delete("/v1/push-urls/{push_url_id:str}", summary="Revoke a push URL", tags=["push URLs"], **_with_session(404))
async def revoke(request: ApiRequest, push_url_id: FromPath[str]) -> None:
    """It answers 410 from now on. Its unread messages stay until read or expired."""
    await request.services.inbox.revoke(request.caller.user, PushUrlId(_id(push_url_id, "push URL")))


# --- messages --------------------------------------------------------------------------------------------------------


@get(
    "/v1/messages",
    summary="The unread messages, oldest first",
    tags=["messages"],
    opt={QUERY: ("since", "limit")},
    **_with_session(400),
)
async def list_messages(
    request: ApiRequest,
    since: Annotated[str | None, QueryParameter(description="`next` of the page before")] = None,
    limit: Annotated[
        str | None,
        QueryParameter(
            schema_extra={
                "one_of": None,
                "type": "integer",
                "minimum": 1,
                "maximum": MAX_LIMIT,
                "default": DEFAULT_LIMIT,
            }
        ),
    ] = None,
) -> MessagesOut:
    messages, following = await request.services.inbox.unread(request.caller.user, since, _limit(limit))
    return MessagesOut(messages, following)


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not _LIMIT.fullmatch(text) or not 1 <= int(text) <= MAX_LIMIT:
        raise QueryInvalid(f"give a number from 1 to {MAX_LIMIT}", field="limit")
    return int(text)


@post(
    "/v1/messages/read",
    status_code=200,
    summary="Mark messages as read",
    tags=["messages"],
    **_with_session(400, 413, 415),
)
async def read(request: ApiRequest, data: JSONBody[ReadIn]) -> ReadOut:
    """By `ids`, or all up to a cursor, never what came since. Idempotent: `read` counts what was unread."""
    if (data.ids is None) == (data.upto is None):
        raise BodyInvalid("give exactly one of ids and upto", field="$.ids")
    count = await request.services.inbox.read(request.caller.user, ids=data.ids, upto=data.upto)
    return ReadOut(count)


@get(
    "/v1/sync",
    summary="Everything a device missed",
    tags=["messages"],
    opt={QUERY: ("cursor", "next")},
    **_with_session(400),
)
async def sync(
    request: ApiRequest,
    cursor: Annotated[str | None, QueryParameter(description="how far this device has come; none: a snapshot")] = None,
    following: Annotated[str | None, QueryParameter(name="next", description="`next` of the page before")] = None,
) -> DeltaOut | SnapshotOut:
    """One page; while `done` is false ask again with `next` alone."""
    if cursor is not None and following is not None:
        raise QueryInvalid("give cursor for the first page or next for the others, not both", field="next")
    page, next_page = await request.services.inbox.sync(request.caller.user, request.caller.device, cursor, following)
    if isinstance(page, DeltaFrame):
        return DeltaOut("delta", page.events, page.cursor, page.done, next_page)
    return SnapshotOut("snapshot", page.push_urls, page.messages, page.cursor, page.done, next_page)


CLIENT_API: tuple[HTTPRouteHandler, ...] = (
    login,
    logout,
    list_identities,
    link_identity,
    unlink_identity,
    list_devices,
    remove_device,
    delete_account,
    list_push_urls,
    allow,
    revoke,
    list_messages,
    read,
    sync,
)
