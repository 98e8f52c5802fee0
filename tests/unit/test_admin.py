"""The admin listener's four answers."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import pushctl
from pushctl.admin import READY_SECONDS, AdminApp
from pushctl.build import Build
from pushctl.errors import StoreUnavailable
from pushctl.metrics import Metrics
from pushctl.reasons import Code, Reason

AWAY = Reason(Code.REDIS_AWAY, "Redis did not answer within 2 s")


async def nothing() -> list[Reason]:
    return []


class Body:
    """How a role is, as a test says."""

    def __init__(self, not_ready: Callable[[], Awaitable[list[Reason]]] = nothing) -> None:
        self.is_stuck: list[Reason] = []
        self.warned: list[Reason] = []
        self._not_ready = not_ready

    def stuck(self) -> list[Reason]:
        return self.is_stuck

    def warnings(self) -> list[Reason]:
        return self.warned

    async def not_ready(self) -> list[Reason]:
        return await self._not_ready()


async def ask(app: AdminApp, path: str, method: str = "GET") -> tuple[int, dict[str, str], Any]:
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("no route here reads a body")

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "http", "method": method, "path": path}, receive, send)
    start, body = sent
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    text = body["body"].decode()
    return start["status"], headers, json.loads(text) if "json" in headers["content-type"] else text


async def test_healthz_says_live_and_503_with_what_is_stuck() -> None:
    body = Body()
    app = AdminApp("api", Metrics("api"), body)
    status, headers, answer = await ask(app, "/healthz")
    assert (status, answer) == (200, {"live": True, "reasons": []})
    assert headers["content-type"] == "application/json"
    assert headers["cache-control"] == "no-store"
    body.is_stuck = [Reason(Code.TASK_STUCK, "the pinger has ended")]
    reasons = [{"code": "task_stuck", "detail": "the pinger has ended"}]
    assert (await ask(app, "/healthz"))[::2] == (503, {"live": False, "reasons": reasons})


async def test_readyz_is_200_without_reasons_and_503_with_them_and_warns_beside_them() -> None:
    reasons: list[Reason] = []

    async def not_ready() -> list[Reason]:
        return reasons

    body = Body(not_ready)
    body.warned = [Reason(Code.CERTIFICATE_ENDS, "soon")]
    warnings = [{"code": "certificate_ends", "detail": "soon"}]
    app = AdminApp("api", Metrics("api"), body)
    assert (await ask(app, "/readyz"))[::2] == (200, {"ready": True, "reasons": [], "warnings": warnings})
    reasons += [AWAY, Reason(Code.REDIS_UNUSABLE, "another installation's")]
    said = [
        {"code": "redis_away", "detail": AWAY.detail},
        {"code": "redis_unusable", "detail": "another installation's"},
    ]
    assert (await ask(app, "/readyz"))[::2] == (503, {"ready": False, "reasons": said, "warnings": warnings})


async def test_readyz_gives_up_on_a_check_that_hangs_and_healthz_does_not_ask(autojump_clock: MockClock) -> None:
    async def hangs() -> list[Reason]:
        await trio.sleep(3600)
        return []

    app = AdminApp("api", Metrics("api"), Body(hangs))
    status, _, body = await ask(app, "/readyz")
    assert (status, body["ready"], body["reasons"][0]["code"]) == (503, False, "check_slow")
    assert trio.current_time() == pytest.approx(READY_SECONDS, abs=0.1)
    assert (await ask(app, "/healthz"))[0] == 200
    del autojump_clock


async def test_an_error_while_checking_is_a_reason() -> None:
    async def fails() -> list[Reason]:
        raise StoreUnavailable("Redis did not answer within 2 s")

    status, _, body = await ask(AdminApp("api", Metrics("api"), Body(fails)), "/readyz")
    assert (status, body["reasons"]) == (503, [{"code": "check_failed", "detail": "Redis did not answer within 2 s"}])


async def test_the_development_provider_shows_in_both_health_answers() -> None:
    app = AdminApp("api", Metrics("api"), Body(), dev_idp=True)
    assert (await ask(app, "/healthz"))[2]["dev_idp"] is True
    assert (await ask(app, "/readyz"))[2]["dev_idp"] is True


async def test_metrics_are_prometheus_text() -> None:
    status, headers, body = await ask(AdminApp("api", Metrics("api"), Body()), "/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain")
    assert 'pushctl_role{role="api"} 1.0' in body


async def test_version_names_the_program_and_the_role() -> None:
    status, _, body = await ask(AdminApp("s1", Metrics("socket"), Body()), "/version")
    assert status == 200
    assert (body["version"], body["role"]) == (pushctl.__version__, "s1")
    assert set(body) == {"role", *Build.__struct_fields__}


@pytest.mark.parametrize(("method", "path", "code"), [("GET", "/push/x", 404), ("POST", "/healthz", 405)])
async def test_anything_else_is_a_problem(method: str, path: str, code: int) -> None:
    status, headers, body = await ask(AdminApp("api", Metrics("api"), Body()), path, method)
    assert (status, body["status"]) == (code, code)
    assert headers["content-type"] == "application/problem+json"
    if code == 405:
        assert headers["allow"] == "GET, HEAD"
