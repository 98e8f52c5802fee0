"""Answers and failures as errors with the right exit code, and without a secret in their text."""

import httpx
import pytest
import trio

from pushctl.client.http import LoginNeeded, NoRoom, Refused, open_client, origin_of, request, retry_after
from pushctl.errors import Failed, TimedOut, Unreachable
from tests.fake_service import FakeService

SECRET = "/push/s3cret-token"


async def ask(url: str, seconds: float = 5) -> httpx.Response:
    async with open_client(url) as client:
        return await request(client, "POST", url + SECRET, seconds=seconds)


async def test_nobody_listening_is_unreachable() -> None:
    with pytest.raises(Unreachable, match=r"^cannot connect to http://127\.0\.0\.1:1: connection refused$") as error:
        await ask("http://127.0.0.1:1")
    assert error.value.exit_code == 5


async def test_a_name_that_is_none_is_unreachable() -> None:
    with pytest.raises(Unreachable, match=r"cannot connect to http://nowhere\.invalid: "):
        await ask("http://nowhere.invalid")


async def test_a_server_that_does_not_answer_is_a_time_out(service: FakeService) -> None:
    async def never() -> None:
        await trio.sleep_forever()

    service.answers[f"POST {SECRET}"] = never  # type: ignore[assignment]  # it never answers
    with pytest.raises(TimedOut, match=r"did not answer within 0\.05 s") as error:
        await ask(service.api_url, seconds=0.05)
    assert error.value.exit_code == 4


async def test_a_connection_that_breaks_before_the_answer_is_unreachable() -> None:
    async def hang_up(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, hang_up, [listener])
        with pytest.raises(Unreachable, match="broke before its answer"):
            await ask(f"http://127.0.0.1:{listener.socket.getsockname()[1]}")
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("status", "body", "error", "exit_code", "words"),
    [
        (400, {"code": "body_invalid", "detail": "too short", "field": "$.site"}, Refused, 1, r"400: too short \(\$"),
        (401, {"code": "unauthenticated", "detail": "unknown"}, LoginNeeded, 1, "pushctl client login"),
        (401, {"code": "audience_mismatch", "detail": "for another"}, Refused, 1, "401: for another"),
        (404, {"code": "not_found", "detail": "no such device"}, Refused, 1, "404: no such device"),
        (429, {"code": "rate_limited", "detail": "slower"}, NoRoom, 5, r"refused for now \(429\): slower"),
        (503, {"code": "store_unavailable", "detail": "no store"}, NoRoom, 5, "no store; it asks to try again in 3 s"),
        (500, "<html>", Refused, 1, "500: Internal Server Error"),
    ],
)
async def test_an_error_answer_is_an_error(
    status: int, body: object, error: type[Failed], exit_code: int, words: str, service: FakeService
) -> None:
    service.answers[f"POST {SECRET}"] = (status, body, {"Retry-After": "3"})
    with pytest.raises(error, match=words) as caught:
        await ask(service.api_url)
    assert caught.value.exit_code == exit_code
    assert "s3cret" not in str(caught.value)


async def test_a_redirect_is_not_followed(service: FakeService) -> None:
    service.answers[f"POST {SECRET}"] = (307, None, {"Location": "http://127.0.0.1:1/elsewhere"})
    with pytest.raises(Refused, match="307"):
        await ask(service.api_url)
    assert len(service.requests) == 1


async def test_a_problem_that_is_not_what_it_says_is_still_an_error(service: FakeService) -> None:
    service.answers[f"POST {SECRET}"] = (400, {"detail": 7}, {})
    with pytest.raises(Refused, match="400: Bad Request"):
        await ask(service.api_url)


async def test_a_proxy_of_the_environment_is_not_asked_for_loopback(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    service.answers[f"POST {SECRET}"] = (200, {}, {})
    assert (await ask(service.api_url)).status_code == 200


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7.0), (" 0 ", 0.0), ("", None), ("-1", None), ("1.5", None), ("٣", None), ("9" * 40, 1e9)],
)
def test_retry_after_is_whole_seconds_or_nothing(text: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": text}) == seconds


def test_an_origin_holds_no_secret() -> None:
    assert origin_of("https://user:pw@push.example:8443/push/s3cret?x=1") == "https://push.example:8443"
