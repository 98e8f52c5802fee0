"""A Problem as an HTTP answer: application/problem+json (RFC 9457; docs/protocol.md, section 0).

Owns: the members, the URLs of `type`, and the headers that belong to a status (Retry-After, Allow, WWW-Authenticate,
Cache-Control). Promises: what is in the body is what the Problem says and nothing else, never a traceback.
Must not know: who sends it.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from pushctl.errors import MethodNotAllowed, Problem, VapidRefused
from pushctl.http.asgi import Send, respond

TYPE_URL: Final = "https://pushctl.dev/problems#"
"""`type` is this and the code: an anchor in the published list of problems."""

CONTENT_TYPE: Final = b"application/problem+json"

_encoder = msgspec.json.Encoder()


def problem_body(problem: Problem, *, errno: bool = False, extra: Mapping[str, Any] | None = None) -> bytes:
    """The JSON text. `errno`: add Mozilla's number, null where it has none (Web Push routes). `extra`: more members."""
    members: dict[str, Any] = {
        "type": TYPE_URL + problem.code,
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        "field": problem.field,
    }
    if errno:
        members["errno"] = problem.errno
    if isinstance(problem, VapidRefused):
        members.update(claim=problem.claim, expected=problem.expected, got=problem.got)
    if extra:
        members.update(extra)
    return _encoder.encode(members)


def problem_headers(problem: Problem) -> list[tuple[bytes, bytes]]:
    """The headers beside it, without Content-Length."""
    headers = [(b"content-type", CONTENT_TYPE)]
    if problem.retry_after_seconds is not None:
        headers.append((b"retry-after", b"%d" % problem.retry_after_seconds))
    if problem.status == 401:
        scheme = b"vapid" if problem.code.startswith("vapid_") else b"Bearer"
        headers.append((b"www-authenticate", scheme))
    if problem.status == 410:
        headers.append((b"cache-control", b"max-age=86400"))
    if isinstance(problem, MethodNotAllowed):
        headers.append((b"allow", ", ".join(problem.allow).encode("ascii")))
    return headers


def problem_response(
    problem: Problem, *, errno: bool = False, extra: Mapping[str, Any] | None = None
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """(status, headers without Content-Length, body)."""
    return problem.status, problem_headers(problem), problem_body(problem, errno=errno, extra=extra)


async def send_problem(
    send: Send, problem: Problem, *, errno: bool = False, extra: Mapping[str, Any] | None = None
) -> None:
    """Answer with a problem, from a bare ASGI handler."""
    await respond(send, *problem_response(problem, errno=errno, extra=extra))
