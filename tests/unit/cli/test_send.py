"""`pushctl send`: which argument is what, what it prints, and with which code it ends."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from tests.fake_service import FakeService, open_fake_service
from tests.unit.cli.commands import pushctl, run

ROUTE = "POST /push/s3cret"


@pytest.fixture
async def service() -> AsyncIterator[FakeService]:
    async with open_fake_service() as running:
        running.answers[ROUTE] = (201, None, {"Location": "/message/m1", "TTL": "60"})
        yield running


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PUSHCTL_PUSH_URL", raising=False)


def body(service: FakeService) -> Any:
    [(_, _, raw)] = service.requests
    return msgspec.json.decode(raw)


async def test_a_message_alone_is_a_body(service: FakeService) -> None:
    ran = await pushctl("send", f"{service.api_url}/push/s3cret", "Hello")
    assert (ran.code, ran.out) == (0, "m1  stored, ttl 60 s\n")
    assert body(service) == {"body": "Hello"}


async def test_json_is_one_line_with_documented_names(service: FakeService) -> None:
    ran = await pushctl("send", f"{service.api_url}/push/s3cret", "--title", "T", "--json", "--wait", "stored")
    assert ran.lines == [
        {"id": "m1", "location": f"{service.api_url}/message/m1", "ttl_seconds": 60, "state": "stored"}
    ]


@pytest.mark.parametrize("way", ["file", "variable", "standard input"])
async def test_the_push_url_need_not_stand_in_the_process_list(
    way: str, service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{service.api_url}/push/s3cret"
    (tmp_path / "url").write_text(url + "\n")
    match way:
        case "file":
            ran = await pushctl("send", f"@{tmp_path / 'url'}", "Hello")
        case "variable":
            monkeypatch.setenv("PUSHCTL_PUSH_URL", url)
            ran = await pushctl("send", "Hello")
        case _:
            ran = await pushctl("send", "@-", "Hello", stdin=url.encode())
    assert ran.code == 0
    assert body(service) == {"body": "Hello"}


async def test_with_the_variable_a_message_may_begin_with_an_at_sign_and_a_url_still_comes_first(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUSHCTL_PUSH_URL", f"{service.api_url}/push/s3cret")
    assert (await pushctl("send", "@bob: Hello")).code == 0
    assert body(service) == {"body": "@bob: Hello"}
    monkeypatch.setenv("PUSHCTL_PUSH_URL", "http://127.0.0.1:1/push/elsewhere")
    assert (await pushctl("send", f"{service.api_url}/push/s3cret")).code == 0


async def test_a_dash_is_standard_input(service: FakeService) -> None:
    await pushctl("send", f"{service.api_url}/push/s3cret", "-", stdin="two\nlinés".encode())
    assert body(service) == {"body": "two\nlinés"}


async def test_waiting_in_vain_is_a_4(service: FakeService) -> None:
    service.answers["GET /message/m1"] = (200, {"state": "stored"}, {})
    url = f"{service.api_url}/push/s3cret"
    ran = await pushctl("send", url, "x", "--wait", "read", "--timeout", "2s")
    assert service.requests[0][1]["prefer"] == "respond-async"
    assert (ran.code, ran.err) == (4, "pushctl: message m1 is stored, but was not read within 2 s\n")


async def test_no_answer_is_a_4(service: FakeService) -> None:
    async def never() -> Any:
        await trio.sleep_forever()

    service.answers[ROUTE] = never
    ran = await pushctl("send", f"{service.api_url}/push/s3cret", "x", "--timeout", "100ms")
    assert (ran.code, ran.err) == (4, f"pushctl: {service.api_url} did not answer within 0.1 s\n")


@pytest.mark.parametrize(("status", "code"), [(410, 1), (404, 1), (413, 1), (429, 5), (503, 5)])
async def test_a_refusal_has_its_code_and_hides_the_push_url(status: int, code: int, service: FakeService) -> None:
    service.answers[ROUTE] = (status, {"code": "x", "detail": "no"}, {})
    ran = await pushctl("send", f"{service.api_url}/push/s3cret", "x")
    assert ran.code == code
    assert ran.out == ""
    assert "s3cret" not in ran.err


def test_nobody_there_is_a_5() -> None:
    assert run("send", "http://127.0.0.1:1/push/s3cret", "x").code == 5


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["no-url", "Hello"],
        ["ftp://x/s3cret", "Hello"],
        ["http:///s3cret", "Hello"],
        ["http://x/s3cret", "Hello", "--ttl", "soon"],
        ["http://x/s3cret", "Hello", "--ttl", "0", "--wait", "delivered"],
        ["http://x/s3cret", "Hello", "--urgency", "highest"],
        ["http://x/s3cret", "Hello", "--topic", "a b"],
        ["http://x/s3cret", "--icon", "https://x/i.png"],
        ["http://x/s3cret", "-"],
        ["@-", "-"],
        ["@/nowhere/at/all", "Hello"],
    ],
)
def test_wrong_usage_is_a_2_and_hides_what_may_be_a_secret(args: list[str]) -> None:
    ran = run("send", *args, stdin=b"\xff")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err
    assert "s3cret" not in ran.err


def test_help_ends_with_examples_and_says_how_to_hide_a_push_url() -> None:
    ran = run("send", "--help")
    assert "PUSHCTL_PUSH_URL" in ran.out
    assert ran.out.rstrip().splitlines()[-1].startswith("    pushctl send ")
