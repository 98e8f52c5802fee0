"""A login at a provider that does not keep to the rules: what the client sends, and what it does not take."""

import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import msgspec
import pytest
import trio
import trio.testing

from pushctl.client.login import account_of_token
from pushctl.client.oidc import Invitation, ProviderLogin, Wanted, claims_of
from pushctl.client.redirect import Redirect, redirect
from pushctl.errors import Failed, PushctlError
from pushctl.ids import b64url
from tests.unit.identity.tokens import CLIENT, NOW

ISSUER = "https://accounts.example"
WANTED = Wanted(ISSUER, CLIENT)


def jwt(**claims: Any) -> str:
    """An ID token whose signature nobody here looks at."""
    body = {"iss": ISSUER, "sub": "1", "aud": CLIENT, "iat": NOW, "exp": NOW + 60} | claims
    return f"{b64url(b'{}')}.{b64url(msgspec.json.encode(body))}.AAAA"


class FakeProvider(httpx.AsyncBaseTransport):
    """Answers as a provider, with what a test wants to be otherwise. `asked`: forms sent to it, oldest first."""

    def __init__(self) -> None:
        self.metadata: dict[str, Any] = {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/auth",
            "token_endpoint": f"{ISSUER}/token",
            "device_authorization_endpoint": f"{ISSUER}/device",
        }
        self.back: dict[str, str] = {"code": "c-1"}
        self.answers: list[tuple[int, dict[str, Any]]] = []
        self.asked: list[dict[str, str]] = []
        self.shown: list[Invitation] = []
        self.nonce: dict[str, str] = {}
        self.claims: dict[str, Any] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        if request.method == "GET":
            return httpx.Response(200, json=self.metadata, request=request)
        self.asked.append(dict(parse_qsl(request.content.decode())))
        status, body = self.answers.pop(0) if self.answers else (200, {"id_token": jwt(**self.nonce | self.claims)})
        return httpx.Response(status, json=body, request=request)

    async def browse(self, invitation: Invitation) -> None:
        """A person at the browser, who comes back with what the provider says."""
        self.shown.append(invitation)
        sent = dict(parse_qsl(urlsplit(invitation.url).query))
        self.nonce = {"nonce": sent["nonce"]}
        async with httpx.AsyncClient(trust_env=False) as browser:
            await browser.get(sent["redirect_uri"], params={"state": sent["state"]} | self.back)

    async def look(self, invitation: Invitation) -> None:
        self.shown.append(invitation)


@pytest.fixture
def provider() -> FakeProvider:
    return FakeProvider()


@pytest.fixture
async def back() -> AsyncIterator[Redirect]:
    async with redirect() as there:
        yield there


async def by_redirect(provider: FakeProvider, back: Redirect, wanted: Wanted = WANTED) -> str:
    async with httpx.AsyncClient(transport=provider) as http:
        with trio.fail_after(10):
            return await ProviderLogin(http, wanted, lambda: NOW * 1000).by_redirect(back, provider.browse)


async def by_device(provider: FakeProvider, wanted: Wanted = WANTED) -> str:
    async with httpx.AsyncClient(transport=provider) as http:
        with trio.fail_after(10):
            return await ProviderLogin(http, wanted, lambda: NOW * 1000).by_device(provider.look)


async def test_the_code_is_bound_to_this_login_by_pkce_state_and_nonce(provider: FakeProvider, back: Redirect) -> None:
    token = await by_redirect(provider, back)
    sent, (asked,) = dict(parse_qsl(urlsplit(provider.shown[0].url).query)), provider.asked

    assert claims_of(token)["nonce"] == sent["nonce"]
    assert sent["code_challenge_method"] == "S256"
    assert sent["code_challenge"] == b64url(hashlib.sha256(asked["code_verifier"].encode()).digest())
    assert min(len(sent["state"]), len(sent["nonce"]), len(asked["code_verifier"])) >= 43
    assert (asked["code"], asked["redirect_uri"], asked["client_id"]) == ("c-1", back.uri, CLIENT)
    assert asked.keys() == {"client_id", "grant_type", "code", "redirect_uri", "code_verifier"}  # and no secret
    assert sent["scope"] == "openid"  # no refresh token


async def test_an_access_token_is_asked_for_by_its_resource_and_not_looked_into(
    provider: FakeProvider, back: Redirect
) -> None:
    provider.answers = [(200, {"id_token": jwt(), "access_token": "opaque"})]
    wanted = Wanted(ISSUER, CLIENT, "push", "https://push.example.net", "access_token")

    assert await by_redirect(provider, back, wanted) == "opaque"
    assert provider.asked[0]["resource"] == "https://push.example.net"
    assert "resource=https%3A%2F%2Fpush.example.net" in provider.shown[0].url


def metadata(**members: Any) -> Callable[[FakeProvider], None]:
    return lambda provider: provider.metadata.update(members)


def claims(**members: Any) -> Callable[[FakeProvider], None]:
    return lambda provider: provider.claims.update(members)


def comes_back(**parameters: str) -> Callable[[FakeProvider], None]:
    def change(provider: FakeProvider) -> None:
        provider.back = parameters

    return change


def answers(status: int, **body: Any) -> Callable[[FakeProvider], None]:
    return lambda provider: provider.answers.append((status, body))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (metadata(issuer=f"{ISSUER}/"), "calls itself"),
        (metadata(authorization_endpoint=None), "no authorization_endpoint"),
        (metadata(token_endpoint="http://accounts.example/token"), "token_endpoint is not https"),
        (metadata(authorization_endpoint="http://accounts.example/auth"), "authorization_endpoint is not https"),
        (metadata(issuer=7), "does not answer like"),
        (claims(nonce="another"), "wrong_nonce"),
        (claims(nonce=None), "wrong_nonce"),
        (claims(aud="another"), "wrong_audience"),
        (claims(iss="https://evil.example"), "wrong_issuer"),
        (claims(exp=NOW - 61), "token_expired"),
        (comes_back(error="access_denied", error_description="not \x1b[31mtoday"), r"access_denied \(not .*today\)"),
        (comes_back(error="access_denied"), "access_denied"),
        (comes_back(code="c", iss="https://evil.example"), "another issuer"),
        (comes_back(), "no code"),
        (answers(400, error="invalid_grant"), "invalid_grant"),
        (answers(401, error="invalid_client"), "invalid_client"),
        (answers(200, access_token="x"), "no id_token"),
        (answers(200, id_token="opaque"), "no JWT"),
        (answers(200, id_token=f"{'x' * 4}.{b64url(b'[]')}.x"), "no JWT"),
        (answers(500, error="oops"), "answered 500"),
    ],
)
async def test_what_is_wrong_is_said_and_no_token_is_used(
    change: Callable[[FakeProvider], None], says: str, provider: FakeProvider, back: Redirect
) -> None:
    change(provider)
    with pytest.raises(PushctlError, match=says) as caught:
        await by_redirect(provider, back)
    assert "\x1b" not in str(caught.value)
    assert "c-1" not in str(caught.value)


async def test_a_provider_that_promises_to_say_its_issuer_must(provider: FakeProvider, back: Redirect) -> None:
    """RFC 9207: the answer of another provider may not be taken for this one's."""
    provider.metadata["authorization_response_iss_parameter_supported"] = True
    with pytest.raises(Failed, match="another issuer"):
        await by_redirect(provider, back)
    provider.back["iss"] = ISSUER
    assert await by_redirect(provider, back)


async def test_a_device_code_is_shown_and_asked_for_until_somebody_entered_it(
    provider: FakeProvider, autojump_clock: trio.testing.MockClock
) -> None:
    code = {
        "device_code": "d",
        "user_code": "WDJB",
        "verification_uri": f"{ISSUER}/d",
        "expires_in": 600,
        "interval": 3,
    }
    provider.answers = [
        (200, code),
        (400, {"error": "authorization_pending"}),
        (400, {"error": "slow_down"}),
        (400, {"error": "authorization_pending"}),
    ]
    async with httpx.AsyncClient(transport=provider) as http:
        token = await ProviderLogin(http, WANTED, lambda: NOW * 1000).by_device(provider.look)

    assert account_of_token(token) == f"{ISSUER} 1"
    assert provider.shown == [Invitation(f"{ISSUER}/d", "WDJB")]
    assert [asked.get("device_code") for asked in provider.asked] == [None, "d", "d", "d", "d"]
    assert trio.current_time() == pytest.approx(3 + 3 + 8 + 8, abs=0.1)


@pytest.mark.parametrize(
    ("answers_", "says"),
    [
        ([(400, {"error": "unauthorized_client"})], "unauthorized_client"),
        ([(200, {"interval": 1}), (400, {"error": "access_denied"})], "access_denied"),
        ([(200, {"interval": 1}), (400, {"error": "expired_token"})], "expired_token"),
        ([(200, {"interval": 700})], "in time"),
    ],
)
async def test_a_device_login_that_cannot_succeed_ends(
    answers_: list[Any], says: str, provider: FakeProvider, autojump_clock: trio.testing.MockClock
) -> None:
    code = {"device_code": "d", "user_code": "WDJB", "verification_uri": f"{ISSUER}/d", "expires_in": 600}
    provider.answers = [(status, code | body if status == 200 else body) for status, body in answers_]
    async with httpx.AsyncClient(transport=provider) as http:
        with pytest.raises(Failed, match=says):
            await ProviderLogin(http, WANTED, lambda: NOW * 1000).by_device(provider.look)


async def test_a_provider_without_device_codes_is_said(provider: FakeProvider) -> None:
    del provider.metadata["device_authorization_endpoint"]
    with pytest.raises(Failed, match="no device_authorization_endpoint"):
        await by_device(provider)
