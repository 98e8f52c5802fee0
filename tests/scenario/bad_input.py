"""Requests that are wrong in one way each, and what every answer to one must look like.

Owns: how a good request is spoiled. Must not know: which routes there are.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

Body = dict[str, Any]

HUGE = b'{"x":"' + b"y" * 70_000 + b'"}'
DEEP = b"[" * 50_000
NO_JSON = (b"", b"{", b"\xff", b'{"\xff":1}', b"\xef\xbb\xbf{}", b'{"\\ud800":1}', b"{'a':1}", b"NaN")
NO_TEXT = (b"\xff", b"\xed\xa0\x80", b"\\ud800", b"\\x", b"\n")
WRONG_SHAPES = (b"null", b"[]", b'"text"', b"1", b"true", DEEP)
OTHER_TYPES = (None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "json", "")
WRONG_VALUES: tuple[Any, ...] = (None, 1, 1.5, True, [], {}, "", [["x"]], {"x": {}}, "x" * 20_000, 2**70)


@dataclass(frozen=True)
class Route:
    """One route and a body it takes. `fields`: for each JSON path, values of it that are wrong; `text`: a text in
    the body."""

    method: str
    path: str
    body: Body | None = None
    fields: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    text: bytes = b""
    required: tuple[str, ...] = ()
    code: str = "body_invalid"


@dataclass(frozen=True)
class Spoiled:
    what: str
    content: bytes
    content_type: str | None
    status: int
    code: str
    field: str | None


def spoiled(route: Route) -> Iterator[Spoiled]:
    """Every way in which this route's body can be wrong."""
    assert route.body is not None
    good = json.dumps(route.body).encode()
    for content in NO_JSON:
        yield Spoiled(f"no JSON: {content[:20]!r}", content, "application/json", 400, "body_invalid", "$")
    for text in NO_TEXT:
        content = good.replace(route.text, text)
        yield Spoiled(f"no text: {text!r}", content, "application/json", 400, "body_invalid", "$")
    for content in WRONG_SHAPES:
        yield Spoiled(f"no object: {content[:20]!r}", content, "application/json", 400, route.code, "$")
    for kind in OTHER_TYPES:
        yield Spoiled(f"type {kind}", good, kind, 415, "content_type_unsupported", "Content-Type")
    yield Spoiled("huge", HUGE, "application/json", 413, "body_too_large", None)
    for path in route.required:
        yield _changed(route, path, "missing", lambda at, name: at.pop(name))
    for path in ("", *{path.rpartition(".")[0] for path in route.fields if "." in path}):
        unknown = f"{path}.colour" if path else "colour"
        yield _changed(route, unknown, "unknown", lambda at, name: at.update({name: "red"}))
    for path, values in route.fields.items():
        for value in values:
            yield _changed(route, path, f"{value!r:.30}", lambda at, name, value=value: at.update({name: value}))


def _changed(route: Route, path: str, what: str, change: Any) -> Spoiled:
    body = json.loads(json.dumps(route.body))
    *above, name = path.split(".")
    at = body
    for step in above:
        at = at[step]
    change(at, name)
    content = json.dumps(body).encode()
    return Spoiled(f"{path}: {what}", content, "application/json", 400, route.code, f"$.{path}")


def complaint(answer: httpx.Response, status: int, code: str, named: str | None, *, errno: bool = False) -> str | None:
    """What is wrong with the answer to a bad request; None: nothing."""
    if answer.headers.get("content-type") != "application/problem+json":
        return f"{answer.status_code} {answer.headers.get('content-type')} {answer.text[:100]}"
    said = answer.json()
    if answer.status_code != said["status"] or not said["detail"] or not said["type"] or not said["title"]:
        return f"not whole: {said}"
    if ("errno" in said) != errno:
        return f"errno: {said}"
    if (answer.status_code, said["code"], said["field"]) == (status, code, named):
        return None
    return f"wanted {status} {code} {named}, got {said['status']} {said['code']} {said['field']}: {said['detail'][:80]}"
