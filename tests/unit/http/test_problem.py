"""Problems as answers: members and headers."""

import json
from typing import Any

import pytest

from pushctl.errors import (
    BodyInvalid,
    MethodNotAllowed,
    NoCapacity,
    Problem,
    PushUrlGone,
    PushUrlUnknown,
    RateLimited,
    StoreUnavailable,
    Unauthenticated,
    VapidInvalid,
)
from pushctl.http.problem import TYPE_URL, problem_body, problem_response


def test_a_problem_has_exactly_the_members_of_the_contract() -> None:
    assert json.loads(problem_body(BodyInvalid("not a URL", field="$.site"))) == {
        "type": TYPE_URL + "body_invalid",
        "title": "The body is not valid",
        "status": 400,
        "detail": "not a URL",
        "code": "body_invalid",
        "field": "$.site",
    }


def test_errno_is_there_on_demand_and_null_where_there_is_none() -> None:
    assert json.loads(problem_body(PushUrlUnknown("?"), errno=True))["errno"] == 102
    assert json.loads(problem_body(BodyInvalid("?"), errno=True))["errno"] is None
    assert "errno" not in json.loads(problem_body(PushUrlUnknown("?")))


def test_extra_members_stand_beside_the_others() -> None:
    said = json.loads(problem_body(NoCapacity("full"), extra={"servers": [], "retry_after_seconds": 1}))
    assert (said["code"], said["servers"], said["retry_after_seconds"]) == ("no_capacity", [], 1)


@pytest.mark.parametrize(
    ("problem", "header"),
    [
        (StoreUnavailable("?"), (b"retry-after", b"1")),
        (RateLimited("?", retry_after_seconds=7), (b"retry-after", b"7")),
        (Unauthenticated("?"), (b"www-authenticate", b"Bearer")),
        (VapidInvalid("?"), (b"www-authenticate", b"vapid")),
        (PushUrlGone("?"), (b"cache-control", b"max-age=86400")),
        (MethodNotAllowed("?", allow=("GET", "HEAD")), (b"allow", b"GET, HEAD")),
        (BodyInvalid("?"), (b"content-type", b"application/problem+json")),
    ],
)
def test_the_headers_that_belong_to_a_status_are_there(problem: Problem, header: Any) -> None:
    status, headers, body = problem_response(problem)
    assert status == problem.status == json.loads(body)["status"]
    assert header in headers
    assert not any(name == b"content-length" for name, _ in headers)
