"""A login at an OpenID provider, as a public client without a password or secret of its own.

Owns: what is asked of the provider: its metadata, the authorization code with PKCE (RFC 7636, S256) over a redirect to
this machine (RFC 8252), and the device grant (RFC 8628) for machines without a browser.
Promises: a token for our service, or one of the errors of client/http.py. State, PKCE verifier and nonce are made anew
for each login and kept nowhere; no refresh token is asked for. Tokens stand in no error's text.
Must not know: the service, its store, terminals and browsers (the caller shows what a person must see).

The nonce is checked here, because the login began here: the service never saw it. The ID token comes straight from the
token endpoint over TLS, so its signature need not be checked on this side (OpenID Connect Core, 3.1.3.7); its claims
are, by the very checks of the service.
"""

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NoReturn
from urllib.parse import urlencode, urlsplit

import httpx
import msgspec
import trio
from msgspec import Struct

from pushctl.client.foreign import printable
from pushctl.client.http import decoded, exchange, origin_of, refusal, request
from pushctl.client.loopback import is_loopback
from pushctl.client.redirect import Redirect
from pushctl.clock import Clock
from pushctl.errors import Failed
from pushctl.ids import b64url

DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
DEFAULT_INTERVAL_SECONDS: Final = 5.0
SLOW_DOWN_SECONDS: Final = 5.0
LEEWAY_MS: Final = 60_000


class Wanted(Struct, frozen=True):
    """Which token, from whom. `resource`: what an access token shall be for (RFC 8707)."""

    issuer: str
    client_id: str
    scope: str = "openid"
    resource: str | None = None
    kind: Literal["id_token", "access_token"] = "id_token"


class _Metadata(Struct, frozen=True):
    issuer: str
    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    device_authorization_endpoint: str | None = None
    authorization_response_iss_parameter_supported: bool = False


class _Tokens(Struct, frozen=True):
    id_token: str | None = None
    access_token: str | None = None


class _DeviceCode(Struct, frozen=True):
    device_code: str
    user_code: str
    verification_uri: str
    expires_in: float
    verification_uri_complete: str | None = None
    interval: float = DEFAULT_INTERVAL_SECONDS


class _Error(Struct, frozen=True):
    error: str = ""
    error_description: str = ""


@dataclass(frozen=True, slots=True)
class Invitation:
    """What a person does elsewhere: open `url`, and see `code` there (empty: there is none)."""

    url: str
    code: str = ""


Invite = Callable[[Invitation], Awaitable[None]]
"""Shows it to a person. May take as long as that person; it is cut off when the login is done."""


class ProviderLogin:
    def __init__(self, http: httpx.AsyncClient, wanted: Wanted, clock: Clock) -> None:
        self._http = http
        self._wanted = wanted
        self._clock = clock

    async def by_redirect(self, redirect: Redirect, invite: Invite) -> str:
        """The token, after somebody logged in with a browser of this machine."""
        metadata = await self._metadata()
        verifier, state, nonce = (secrets.token_urlsafe(32) for _ in range(3))
        parameters = {
            "response_type": "code",
            "client_id": self._wanted.client_id,
            "redirect_uri": redirect.uri,
            "scope": self._wanted.scope,
            "state": state,
            "nonce": nonce,
            "code_challenge": b64url(hashlib.sha256(verifier.encode()).digest()),
            "code_challenge_method": "S256",
        }
        endpoint = self._endpoint("authorization_endpoint", metadata.authorization_endpoint)
        url = f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(parameters | self._resource())}"
        answer = await _answer(redirect, state, invite, Invitation(url))
        form = {"grant_type": "authorization_code", "redirect_uri": redirect.uri, "code_verifier": verifier}
        tokens = await self._ask_token(metadata, form | {"code": self._code_of(answer, metadata)})
        return self._token(tokens, nonce)

    async def by_device(self, invite: Invite) -> str:
        """The token, after somebody entered the code that `invite` is given on any other machine."""
        metadata = await self._metadata()
        endpoint = self._endpoint("device_authorization_endpoint", metadata.device_authorization_endpoint)
        asked = await self._post(endpoint, {"scope": self._wanted.scope} | self._resource())
        if not asked.is_success:
            self._refused(asked)
        device: _DeviceCode = decoded(asked, _DeviceCode)
        await invite(Invitation(device.verification_uri_complete or device.verification_uri, device.user_code))
        with trio.move_on_after(device.expires_in):
            return self._token(await self._poll(metadata, device), None)
        raise Failed("nobody entered the code in time: log in again")

    async def _poll(self, metadata: _Metadata, device: _DeviceCode) -> _Tokens:
        """The protocol has no other way than asking again (RFC 8628, section 3.5)."""
        interval = device.interval
        while True:
            await trio.sleep(interval)
            answer = await self._post(
                self._endpoint("token_endpoint", metadata.token_endpoint),
                {"grant_type": DEVICE_GRANT, "device_code": device.device_code} | self._resource(),
            )
            if answer.is_success:
                tokens: _Tokens = decoded(answer, _Tokens)
                return tokens
            match _error_of(answer).error:
                case "authorization_pending":
                    pass
                case "slow_down":
                    interval += SLOW_DOWN_SECONDS
                case _:
                    self._refused(answer)

    async def _metadata(self) -> _Metadata:
        from pushctl.identity.jwks import discovery_url

        answer = await request(self._http, "GET", discovery_url(self._wanted.issuer))
        metadata: _Metadata = decoded(answer, _Metadata)
        if metadata.issuer != self._wanted.issuer:
            asked, said = origin_of(self._wanted.issuer), printable(metadata.issuer)
            raise Failed(f"{asked} calls itself {said}: give that as the issuer, if it is right")
        return metadata

    def _endpoint(self, name: str, url: str | None) -> str:
        if url is None:
            raise Failed(f"{origin_of(self._wanted.issuer)} has no {name}: log in another way")
        if urlsplit(url).scheme != "https" and not is_loopback(url):
            raise Failed(f"{origin_of(self._wanted.issuer)}: its {name} is not https")
        return url

    def _resource(self) -> dict[str, str]:
        return {} if self._wanted.resource is None else {"resource": self._wanted.resource}

    def _code_of(self, answer: Mapping[str, str], metadata: _Metadata) -> str:
        """Of a redirect whose `state` is ours."""
        issuer = answer.get("iss")
        if issuer != self._wanted.issuer and (issuer or metadata.authorization_response_iss_parameter_supported):
            raise Failed("the answer came from another issuer (RFC 9207): nothing was done with it")
        if "code" not in answer:
            self._say_no(_Error(answer.get("error", "no code"), answer.get("error_description", "")))
        return answer["code"]

    async def _ask_token(self, metadata: _Metadata, form: Mapping[str, str]) -> _Tokens:
        endpoint = self._endpoint("token_endpoint", metadata.token_endpoint)
        answer = await self._post(endpoint, dict(form) | self._resource())
        if not answer.is_success:
            self._refused(answer)
        tokens: _Tokens = decoded(answer, _Tokens)
        return tokens

    async def _post(self, url: str, form: Mapping[str, str]) -> httpx.Response:
        """Whatever it answers. The client says its name and no secret."""
        content = urlencode({"client_id": self._wanted.client_id, **form}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        return await exchange(self._http, "POST", url, headers=headers, content=content)

    def _token(self, tokens: _Tokens, nonce: str | None) -> str:
        kind = self._wanted.kind
        token = tokens.id_token if kind == "id_token" else tokens.access_token
        if token is None:
            raise Failed(f"{origin_of(self._wanted.issuer)} gave no {kind}: is the scope right?")
        if kind == "id_token":
            self._check(token, nonce)
        return token

    def _check(self, token: str, nonce: str | None) -> None:
        from pushctl.config.model import OidcProvider
        from pushctl.identity.oidc import check_claims
        from pushctl.identity.refusal import LoginRefused

        ours = OidcProvider(name="", kind="id_token", issuer=self._wanted.issuer, audiences=(self._wanted.client_id,))
        try:
            check_claims(claims_of(token), ours, now_ms=self._clock(), leeway_ms=LEEWAY_MS, nonce=nonce)
        except LoginRefused as refused:
            raise Failed(f"the ID token is not for this login ({refused.code}): {refused.detail}") from None

    def _refused(self, answer: httpx.Response) -> NoReturn:
        if 400 <= answer.status_code < 500 and _error_of(answer).error:
            self._say_no(_error_of(answer))
        raise refusal(answer, origin_of(self._wanted.issuer))

    def _say_no(self, error: _Error) -> NoReturn:
        more = f" ({error.error_description})" if error.error_description else ""
        raise Failed(f"{origin_of(self._wanted.issuer)} refused: {printable(error.error + more)}")


async def _answer(redirect: Redirect, state: str, invite: Invite, invitation: Invitation) -> Mapping[str, str]:
    """A browser in the foreground ends only after it was answered."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(invite, invitation)
        answer = await redirect.answer(state)
        nursery.cancel_scope.cancel()
    return answer


def claims_of(token: str) -> dict[str, object]:
    """What a JWT says, not verified. Failed for what is none."""
    from pushctl.identity.jws import parse_object
    from pushctl.ids import unb64url

    try:
        return parse_object(unb64url(token.split(".")[1]))
    except (IndexError, ValueError):
        raise Failed("this is no JWT: opaque tokens are not taken") from None


def _error_of(answer: httpx.Response) -> _Error:
    try:
        return msgspec.json.decode(answer.content, type=_Error)
    except (msgspec.DecodeError, UnicodeError):
        return _Error()
