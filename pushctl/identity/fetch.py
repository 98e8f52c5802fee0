"""One GET of a small JSON document of somebody else's, under rules that neither its name nor its server can bend.

Owns: how another party's document is fetched: https with a verified certificate, no redirect, no proxy, no cookie,
bounded bytes and time, and a connection to the very address that was looked at (a name may say something else the next
time it is asked).
Promises: a Document or FetchFailed, after `timeout_seconds` at the latest. With `networks = "public"` nothing but the
open Internet is ever connected to, whatever a name resolves to.
Must not know: what is in the document, caches, how many fetch at a time.
"""

import ipaddress
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, Literal

import httpx
import trio

from pushctl.identity.networks import Address, is_public

JSON: Final = frozenset({"application/json"})

MAX_ADDRESSES: Final = 4
"""Of one name; the others are not tried."""

_MAX_RESOLVING = 16
_ABSENT = (404, 410)
_MAX_AGE = re.compile(r"max-age=\"?([0-9]{1,9})\"?", re.ASCII | re.IGNORECASE)

Why = Literal["absent", "invalid", "unavailable"]
Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]
"""The addresses of a host and port. Raises OSError."""
MakeTransport = Callable[[ssl.SSLContext], httpx.AsyncBaseTransport]


class FetchFailed(Exception):
    """No document. Never leaves this package: whoever asked for it says what that means.

    `why`: `absent` (404, 410: there is none), `invalid` (what came is none, or is against the rules: asking again does
    not help), `unavailable` (now or from here it cannot be had: names, connections, TLS, time, 429, 5xx).
    """

    def __init__(self, why: Why, reason: str) -> None:
        super().__init__(reason)
        self.why: Why = why


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRules:
    """What may be fetched, and how.

    `max_bytes`: of the body. `timeout_seconds`: for all of it, from the name to the last byte.
    `networks`: "public" for a name that a stranger chose; "any" only for a URL that the operator wrote.
    `allow_http_loopback`: http:// as well, where every address of the host is this machine's.
    `ca_file`: PEM, whose certificates are believed; empty: the system's.
    """

    max_bytes: int
    timeout_seconds: float
    networks: Literal["public", "any"] = "public"
    content_types: frozenset[str] = JSON
    allow_http_loopback: bool = False
    ca_file: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """`max_age_seconds`: how long its server says it may be kept; 0: not at all; None: it does not say."""

    body: bytes
    max_age_seconds: int | None


@dataclass(frozen=True, slots=True)
class _Target:
    url: httpx.URL
    port: int


class Fetcher:
    """Fetches by one set of rules. OSError if `ca_file` cannot be read or holds no certificate.

    `resolve`, `transport`: tests lead the open Internet's addresses to servers of their own; the rules stay in force.
    """

    def __init__(
        self, rules: FetchRules, *, resolve: Resolve | None = None, transport: MakeTransport | None = None
    ) -> None:
        self._rules = rules
        self._context = ssl.create_default_context(cafile=rules.ca_file or None)
        self._resolve = resolve or _Resolver()
        self._transport = transport or _direct

    async def get(self, url: str) -> Document:
        """The document at `url`. Raises FetchFailed."""
        target = self._target(url)
        seconds = self._rules.timeout_seconds
        try:
            with trio.fail_after(seconds):
                return await self._get(target, await self._addresses(target))
        except trio.TooSlowError:
            raise FetchFailed("unavailable", f"no whole answer within {seconds:g} s") from None

    def _target(self, url: str) -> _Target:
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL:
            raise FetchFailed("invalid", "not a URL") from None
        schemes = ("https", "http") if self._rules.allow_http_loopback else ("https",)
        # As it is spelled: what stands behind `xn--` need not be a name that can be read.
        if parsed.scheme not in schemes or not parsed.raw_host or parsed.userinfo or parsed.fragment:
            raise FetchFailed("invalid", f"not an {' or '.join(schemes)} URL of a document")
        port = parsed.port or (443 if parsed.scheme == "https" else 80)
        if port > 65_535:
            raise FetchFailed("invalid", "no such port")
        return _Target(parsed, port)

    async def _addresses(self, target: _Target) -> Sequence[Address]:
        """Those that may be connected to: all of the name's, or none if one is where it must not be."""
        try:
            addresses = await self._resolve(_host(target.url), target.port)
        except OSError as error:
            raise FetchFailed("unavailable", f"the name has no address: {error.strerror or error}") from None
        if target.url.scheme == "http" and not all(address.is_loopback for address in addresses):
            raise FetchFailed("invalid", "http:// is for this machine alone")
        if self._rules.networks == "public" and not all(is_public(address) for address in addresses):
            raise FetchFailed("unavailable", "the name leads to an address that is not of the open Internet")
        if not addresses:
            raise FetchFailed("unavailable", "the name has no address")
        return addresses[:MAX_ADDRESSES]

    async def _get(self, target: _Target, addresses: Sequence[Address]) -> Document:
        # A first address that never answers must leave time for the next.
        connecting = httpx.Timeout(None, connect=self._rules.timeout_seconds / len(addresses))
        failure = "no address"
        # No client around the transport: it would read cookies and redirects, and some of them it cannot read.
        async with self._transport(self._context) as transport:
            for address in addresses:
                try:
                    return await self._ask(transport, target.url, address, connecting)
                except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                    failure = _cause(error)
                except httpx.HTTPError as error:
                    raise FetchFailed("unavailable", f"the connection broke: {_cause(error)}") from None
        raise FetchFailed("unavailable", f"no connection: {failure}")

    async def _ask(
        self, transport: httpx.AsyncBaseTransport, url: httpx.URL, address: Address, waits: httpx.Timeout
    ) -> Document:
        """From this address, in the name of the URL's host: that is what its certificate must be for."""
        headers = {
            "Host": url.netloc.decode("ascii"),
            "User-Agent": "pushctl",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        }
        extensions = {"sni_hostname": _host(url), "timeout": waits.as_dict()}
        request = httpx.Request("GET", url.copy_with(host=str(address)), headers=headers, extensions=extensions)
        async with aclosing(await transport.handle_async_request(request)) as answer:
            self._check(answer)
            return Document(await self._body(answer), _max_age(answer.headers))

    async def _body(self, answer: httpx.Response) -> bytes:
        body = bytearray()
        # Cancelled from within: what reads the connection would be left to the garbage collector if we just went away.
        with trio.CancelScope() as scope:
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > self._rules.max_bytes:
                    scope.cancel()
        if len(body) > self._rules.max_bytes:
            raise self._too_large()
        return bytes(body)

    def _check(self, answer: httpx.Response) -> None:
        status = answer.status_code
        if status in _ABSENT:
            raise FetchFailed("absent", f"status {status}")
        if status == 429 or status >= 500:
            raise FetchFailed("unavailable", f"status {status}")
        if status != 200:
            raise FetchFailed("invalid", f"status {status}")
        content_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type not in self._rules.content_types:
            raise FetchFailed("invalid", f"not {' or '.join(sorted(self._rules.content_types))}")
        if answer.headers.get("content-encoding", "identity").strip().lower() != "identity":
            # Nobody asked for it, and what it unpacks to has no bound.
            raise FetchFailed("invalid", "compressed")
        length = answer.headers.get("content-length", "0")
        if length.isascii() and length.isdigit() and int(length[:20]) > self._rules.max_bytes:
            raise self._too_large()

    def _too_large(self) -> FetchFailed:
        return FetchFailed("invalid", f"larger than {self._rules.max_bytes} bytes")


class _Resolver:
    """The system's resolver, in threads that are abandoned when nobody waits any longer: it ends by itself after its
    own time-outs, and until then no more than _MAX_RESOLVING of them wait for strangers' name servers."""

    def __init__(self) -> None:
        # Not trio's own, which Redis and files need: names that nobody answers for would use it up.
        self._limiter = trio.CapacityLimiter(_MAX_RESOLVING)

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        return await trio.to_thread.run_sync(_look_up, host, port, abandon_on_cancel=True, limiter=self._limiter)


def _look_up(host: str, port: int) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise OSError("not a host name") from None
    return list(dict.fromkeys(ipaddress.ip_address(sockaddr[0]) for *_, sockaddr in found))


def _direct(context: ssl.SSLContext) -> httpx.AsyncBaseTransport:
    return httpx.AsyncHTTPTransport(verify=context, trust_env=False)


def _host(url: httpx.URL) -> str:
    """As it is asked for: A-labels, no brackets."""
    return url.raw_host.decode("ascii")


def _max_age(headers: httpx.Headers) -> int | None:
    control = headers.get("cache-control", "")
    if any(word.strip().lower() in ("no-store", "no-cache") for word in control.split(",")):
        return 0
    found = _MAX_AGE.search(control)
    return int(found[1]) if found else None


def _cause(error: BaseException) -> str:
    """The words of whatever was first: what is around it often has none."""
    inner = error.__cause__ or error.__context__
    return (_cause(inner) if inner is not None else "") or str(error) or type(error).__name__
