"""HTTP as the client and the sender use it: one answer or one error that knows its exit code.

Owns: the httpx client's settings, the time an answer may take, and the translation of failures and problem+json.
Promises: Unreachable (exit 5) when there is no connection or the service has no room now, TimedOut (exit 4) when it
accepted a request and did not answer, Refused (exit 1) for whatever it said no to. No token, assertion, push URL or
other path ever stands in an error's text, only the server's origin.
Must not know: which routes there are (api.py, sender.py).
"""

import ssl
from collections.abc import Mapping
from functools import cache
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import msgspec
import trio

from pushctl.causes import cause_of
from pushctl.client.foreign import printable
from pushctl.client.loopback import is_loopback
from pushctl.errors import Failed, TimedOut, Unreachable

CONNECT_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 30.0
MAX_RETRY_AFTER_SECONDS: Final = 10**9


class Problem(msgspec.Struct, frozen=True):
    """What this side reads of a problem+json (RFC 9457)."""

    detail: str = ""
    code: str | None = None
    field: str | None = None


class Refused(Failed):
    """The service answered with an error. `status`; what its problem+json said, None or empty if it sent none."""

    def __init__(self, text: str, status: int, problem: "Problem") -> None:
        super().__init__(text)
        self.status = status
        self.code = problem.code
        self.detail = problem.detail


class LoginNeeded(Refused):
    """The session is missing, unknown, expired or signed out."""

    def __init__(self, text: str = "not logged in: run `pushctl client login NAME`") -> None:
        super().__init__(text, 401, Problem(code="unauthenticated"))


class NoRoom(Unreachable):
    """429 or 503: not now. `retry_after_seconds` is what the service asked for."""

    def __init__(self, text: str, status: int, retry_after_seconds: float | None) -> None:
        super().__init__(text)
        self.status = status
        self.retry_after_seconds = retry_after_seconds


_problem_decoder = msgspec.json.Decoder(Problem)


def origin_of(url: str) -> str:
    """`https://push.example`: the part of a URL that may stand in an error text."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


@cache
def trusted() -> ssl.SSLContext:
    """Whose certificates are believed, over HTTP and WebSocket alike: the system's authorities, or those in the files
    that SSL_CERT_FILE and SSL_CERT_DIR name. Reading them takes 20 ms, which a plain http:// does not need."""
    return ssl.create_default_context()


def open_client(*urls: str) -> httpx.AsyncClient:
    """A client for these servers. Redirects are not followed: a token would follow them."""
    return httpx.AsyncClient(
        # The time for an answer is the caller's (`request`), only connecting has a limit of its own.
        timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
        # A proxy from the environment is for the network outside; it could not reach this machine's loopback.
        trust_env=not all(is_loopback(url) for url in urls),
        verify=trusted() if any(url.startswith("https:") for url in urls) else False,
    )


async def request(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    content: bytes | None = None,
    params: Mapping[str, str] | None = None,
    seconds: float = ANSWER_SECONDS,
) -> httpx.Response:
    """One request and its whole answer, a success (2xx). Raises Unreachable, NoRoom, TimedOut, LoginNeeded, Refused."""
    answer = await exchange(client, method, url, headers=headers, content=content, params=params, seconds=seconds)
    if not answer.is_success:
        raise refusal(answer, origin_of(url))
    return answer


async def exchange(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    content: bytes | None = None,
    params: Mapping[str, str] | None = None,
    seconds: float = ANSWER_SECONDS,
) -> httpx.Response:
    """One request and its whole answer, whatever it is. Raises Unreachable, TimedOut, Failed."""
    origin = origin_of(url)
    try:
        with trio.fail_after(seconds):
            return await client.request(method, url, headers=dict(headers or {}), content=content, params=params)
    except trio.TooSlowError:
        raise TimedOut(f"{origin} did not answer within {seconds:g} s") from None
    except httpx.ConnectTimeout:
        raise Unreachable(f"cannot connect to {origin}: no answer within {CONNECT_SECONDS:g} s") from None
    except httpx.ConnectError as error:
        raise Unreachable(f"cannot connect to {origin}: {cause_of(error)}") from None
    except httpx.TransportError as error:
        raise Unreachable(f"the connection to {origin} broke before its answer: {cause_of(error)}") from None
    except (httpx.InvalidURL, httpx.HTTPError) as error:
        # The text of these may quote the URL, which may be a push URL.
        raise Failed(f"cannot ask {origin}: {type(error).__name__}") from None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header. The form with a date (RFC 9110 allows it; this service sends none) is None."""
    text = headers.get("retry-after", "").strip()
    return float(min(int(text), MAX_RETRY_AFTER_SECONDS)) if text.isascii() and text.isdigit() else None


def refusal(answer: httpx.Response, origin: str) -> Refused | NoRoom:
    """The error that an answer other than 2xx is."""
    problem = _problem_of(answer)
    where = f" ({problem.field})" if problem.field else ""
    said = printable(f"{problem.detail}{where}" if problem.detail else answer.reason_phrase or "no reason given")
    if answer.status_code in (429, 503):
        seconds = retry_after(answer.headers)
        again = f"; it asks to try again in {seconds:g} s" if seconds is not None else ""
        return NoRoom(f"{origin} refused for now ({answer.status_code}): {said}{again}", answer.status_code, seconds)
    if answer.status_code == 401 and problem.code in (None, "unauthenticated"):
        return LoginNeeded(f"{origin}: {said}; run `pushctl client login NAME`")
    text = f"{origin} answered {answer.status_code}: {said}"
    return Refused(text, answer.status_code, problem)


def decoded(answer: httpx.Response, shape: type[Any]) -> Any:
    """The JSON body of a success. Failed if the server does not speak our protocol."""
    try:
        return msgspec.json.decode(answer.content, type=shape)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Failed(f"{origin_of(str(answer.url))} does not answer like this service: {error}") from None


def _problem_of(answer: httpx.Response) -> Problem:
    if not answer.headers.get("Content-Type", "").startswith("application/problem+json"):
        return Problem()
    try:
        return _problem_decoder.decode(answer.content)
    except (msgspec.DecodeError, UnicodeError):
        return Problem()
