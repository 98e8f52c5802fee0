"""How long a provider's keys serve, and how often it is asked."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial

import pytest
import trio
import trio.lowlevel
import trio.testing

from pushctl.identity import jwks
from pushctl.identity.fetch import Document, Fetcher, FetchFailed
from pushctl.identity.jwks import ProviderKeys, fetch_rules
from pushctl.identity.refusal import LoginRefused
from tests.unit.identity.tokens import ID_TOKENS, ISSUER, Signer

HOUR = 3600.0
DISCOVERED = replace(ID_TOKENS, jwks_uri="", discovery=True)


@dataclass
class Provider:
    """What a provider serves by URL, as the fetcher hands it over.

    `away`: no connection; `silent`: no answer until it `speaks`.
    """

    documents: dict[str, Document]
    away: bool = False
    silent: bool = False
    speaks: trio.Event = field(default_factory=trio.Event)
    asked: list[str] = field(default_factory=list)
    now: float = 1000.0

    async def get(self, url: str) -> Document:
        self.asked.append(url)
        await trio.lowlevel.checkpoint()
        if self.silent:
            await self.speaks.wait()
        if self.away or url not in self.documents:
            raise FetchFailed("unavailable", "no connection")
        return self.documents[url]

    def serve(self, body: bytes, max_age_seconds: int | None = None) -> None:
        self.documents[ID_TOKENS.jwks_uri] = Document(body, max_age_seconds)

    def keys(self) -> ProviderKeys:
        return ProviderKeys(ID_TOKENS, self, lambda: self.now)


@pytest.fixture
def provider(signer: Signer) -> Provider:
    return Provider({ID_TOKENS.jwks_uri: Document(signer.document("RS256"), None)})


async def code(keys: ProviderKeys, kid: str | None = "rsa", alg: str = "RS256") -> str:
    """The refusal's, or `found`."""
    try:
        with trio.fail_after(5):
            assert (await keys.key(alg, kid)).kid == kid
    except LoginRefused as refused:
        return refused.code
    return "found"


async def test_one_fetch_serves_until_the_default_age(provider: Provider) -> None:
    keys = provider.keys()
    for after in (0.0, 599.0, 600.0, 1199.0):
        provider.now = 1000.0 + after
        assert await code(keys) == "found"
    assert len(provider.asked) == 2


@pytest.mark.parametrize(("said", "kept"), [(0, 60), (1, 60), (61, 61), (HOUR, HOUR), (10**9, 24 * HOUR)])
async def test_the_providers_max_age_counts_between_a_minute_and_a_day(
    said: int, kept: float, provider: Provider, signer: Signer
) -> None:
    provider.serve(signer.document("RS256"), int(said))
    keys = provider.keys()
    await code(keys)
    provider.now += kept - 0.5
    await code(keys)
    assert len(provider.asked) == 1
    provider.now += 0.5
    await code(keys)
    assert len(provider.asked) == 2


async def test_a_new_key_is_found_at_once_and_a_withdrawn_one_goes_with_the_age(
    provider: Provider, signer: Signer
) -> None:
    keys = provider.keys()
    assert await code(keys) == "found"
    provider.serve(signer.document("other RSA"))
    assert await code(keys, "rsa-2") == "found"  # the document is fresh, but has no such key
    assert await code(keys) == "unknown_key"

    provider.serve(signer.document("RS256"))
    assert await code(keys, "rsa-2") == "found"  # nobody asked yet
    provider.now += jwks.DEFAULT_SECONDS
    assert await code(keys, "rsa-2") == "unknown_key"


async def test_fifty_logins_at_once_cause_one_fetch(provider: Provider) -> None:
    keys = provider.keys()
    found: list[str] = []

    async def login(kid: str) -> None:
        found.append(await code(keys, kid))

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(login, "rsa")
    assert found == ["found"] * 50
    assert len(provider.asked) == 1


@pytest.mark.parametrize("kid", ["rsa", "rsa-2"])
async def test_logins_that_come_while_a_fetch_is_under_way_wait_for_what_it_brings(
    kid: str, provider: Provider, signer: Signer
) -> None:
    """The very first one; and, after the provider changed its keys, the one that somebody else's login caused."""
    keys = provider.keys()
    if kid == "rsa-2":
        await code(keys)
        provider.serve(signer.document("other RSA"))
    provider.silent = True
    found: list[str] = []

    async def login() -> None:
        found.append(await code(keys, kid))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(login)
            await trio.testing.wait_all_tasks_blocked()
        provider.speaks.set()
    assert found == ["found"] * 3


async def test_fifty_made_up_key_ids_at_once_cause_one_fetch_and_more_cause_none_for_half_a_minute(
    provider: Provider,
) -> None:
    keys = provider.keys()
    await code(keys)
    found: list[str] = []

    async def login(number: int) -> None:
        found.append(await code(keys, f"made-up-{number}"))

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(login, number)
    assert found == ["unknown_key"] * 50
    assert len(provider.asked) == 2

    provider.now += jwks.UNKNOWN_KID_SECONDS - 0.1
    assert await code(keys, "made-up") == "unknown_key"
    assert len(provider.asked) == 2
    provider.now += 0.1
    assert await code(keys, "made-up") == "unknown_key"
    assert len(provider.asked) == 3


async def test_whoever_hangs_up_early_buys_no_fetch_more(provider: Provider) -> None:
    keys = provider.keys()
    await code(keys)
    provider.silent = True
    for _ in range(10):
        with trio.move_on_after(0.01), suppress(LoginRefused):
            await keys.key("RS256", "made-up")
    assert len(provider.asked) == 2


async def test_known_keys_serve_a_day_longer_while_the_provider_is_away(provider: Provider) -> None:
    keys = provider.keys()
    await code(keys)
    provider.away = True
    for after in (600.0, HOUR, 600 + 24 * HOUR - 1):
        provider.now = 1000 + after
        assert await code(keys) == "found"
        assert await code(keys, "made-up") == "unknown_key"
    provider.now = 1000 + 600 + 24 * HOUR
    assert await code(keys) == "issuer_unavailable"

    provider.away = False
    provider.now += jwks.RETRY_SECONDS
    assert await code(keys) == "found"


async def test_a_provider_that_is_away_is_not_asked_at_every_login(provider: Provider) -> None:
    provider.away = True
    keys = provider.keys()
    for _ in range(20):
        assert await code(keys) == "issuer_unavailable"
    assert len(provider.asked) == 1
    provider.now += jwks.RETRY_SECONDS
    await code(keys)
    assert len(provider.asked) == 2


@pytest.mark.parametrize("body", [b"<html>", b'{"keys": 1}', b"\xff"])
async def test_a_document_that_is_none_changes_nothing(body: bytes, provider: Provider) -> None:
    keys = provider.keys()
    await code(keys)
    provider.serve(body)
    provider.now += HOUR
    assert await code(keys) == "found"


async def test_a_provider_may_withdraw_all_its_keys(provider: Provider) -> None:
    keys = provider.keys()
    await code(keys)
    provider.serve(b'{"keys": []}')
    provider.now += HOUR
    assert await code(keys) == "unknown_key"


async def test_a_symmetric_key_in_the_document_is_no_key(provider: Provider, signer: Signer) -> None:
    provider.serve(json.dumps({"keys": [signer.keys["HS256"].as_dict(private=True)]}).encode())
    assert await code(provider.keys(), "oct") == "unknown_key"


async def test_warming_fetches_and_may_fail(provider: Provider) -> None:
    keys = provider.keys()
    provider.away = True
    await keys.warm()
    provider.away = False
    provider.now += jwks.RETRY_SECONDS
    await keys.warm()
    assert await code(keys) == "found"
    assert len(provider.asked) == 2


def metadata(provider: Provider, **members: object) -> None:
    body = json.dumps({"issuer": ISSUER, "jwks_uri": ID_TOKENS.jwks_uri} | members).encode()
    provider.documents["https://accounts.example/.well-known/openid-configuration"] = Document(body, None)


async def test_discovery_asks_once_and_again_when_the_keys_cannot_be_had(provider: Provider, signer: Signer) -> None:
    metadata(provider)
    keys = ProviderKeys(DISCOVERED, provider, lambda: provider.now)
    assert await code(keys) == "found"
    provider.now += HOUR
    assert await code(keys) == "found"
    assert len(provider.asked) == 3

    metadata(provider, jwks_uri="https://accounts.example/moved")
    provider.documents["https://accounts.example/moved"] = Document(signer.document("other RSA"), None)
    del provider.documents[ID_TOKENS.jwks_uri]
    provider.now += HOUR
    assert await code(keys) == "found"
    provider.now += jwks.RETRY_SECONDS
    assert await code(keys, "rsa-2") == "found"


@pytest.mark.parametrize(
    "members", [{"issuer": "https://accounts.example"}, {"issuer": None}, {"jwks_uri": None}, {"jwks_uri": ["x"]}]
)
async def test_metadata_of_another_issuer_or_without_keys_is_not_taken(
    members: dict[str, object], provider: Provider
) -> None:
    metadata(provider, **members)
    assert await code(ProviderKeys(DISCOVERED, provider, lambda: provider.now)) == "issuer_unavailable"
    assert len(provider.asked) == 1


@asynccontextmanager
async def serving(status: str, body: bytes, *headers: str) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A real server on loopback that answers everything so: its URL, and what it was asked."""
    asked: list[bytes] = []

    async def answer(stream: trio.SocketStream) -> None:
        asked.append(bytes(await stream.receive_some()))
        head = "\r\n".join((f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers))
        with suppress(trio.BrokenResourceError):
            await stream.send_all(f"{head}\r\n\r\n".encode() + body)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}/jwks", asked
        nursery.cancel_scope.cancel()


def over_http(uri: str, *, allowed: bool = True) -> ProviderKeys:
    """By the rules that keys are really fetched by."""
    return ProviderKeys(replace(ID_TOKENS, jwks_uri=uri), Fetcher(fetch_rules(allow_http_loopback=allowed)))


@pytest.mark.parametrize("kind", ["application/json", "application/jwk-set+json; charset=utf-8"])
async def test_keys_are_fetched_as_providers_serve_them(kind: str, signer: Signer) -> None:
    async with serving("200 OK", signer.document("RS256"), f"Content-Type: {kind}") as (uri, asked):
        assert await code(over_http(uri)) == "found"
    assert len(asked) == 1


async def test_a_redirect_is_not_followed(signer: Signer) -> None:
    async with serving("200 OK", signer.document("RS256"), "Content-Type: application/json") as (good, asked):
        for status in ("301 Moved", "302 Found", "307 Temporary", "308 Permanent"):
            async with serving(status, b"{}", f"Location: {good}", "Content-Type: application/json") as (uri, _):
                assert await code(over_http(uri)) == "issuer_unavailable"
    assert not asked


async def test_a_document_of_more_than_128_kib_is_not_read(signer: Signer) -> None:
    for size, answer in ((131_072, "found"), (131_073, "issuer_unavailable")):
        body = signer.document("RS256").ljust(size)
        async with serving("200 OK", body, "Content-Type: application/json") as (uri, _):
            assert await code(over_http(uri)) == answer


async def test_plain_http_is_not_asked_outside_development(signer: Signer) -> None:
    async with serving("200 OK", signer.document("RS256"), "Content-Type: application/json") as (uri, asked):
        assert await code(over_http(uri, allowed=False)) == "issuer_unavailable"
    assert not asked
