"""From an `Authorization` header to who logs in.

Owns: which schemes are accepted, and which issuers and audiences this installation believes.
Promises: every mistake of the configuration is found at construction; nothing but a Problem leaves `verify`.
Must not know: sessions, storage. Refusing a second use of a `replay_digest` is the caller's, after `verify` returned.
This is the one module of the package that may wait for a network, once issuers are discovered.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from pushctl.clock import Clock
from pushctl.config.model import Config
from pushctl.errors import BodyInvalid, ConfigError, Unauthenticated
from pushctl.identity.browserid import Verified, Verifier
from pushctl.identity.issuers import DEV_IDP_DOMAIN, IssuerKeys, load_issuers
from pushctl.identity.oidc_logins import OidcLogins
from pushctl.identity.principals import BROWSERID, BROWSERID_DEV, OIDC, Principal
from pushctl.identity.syntax import Origin

if TYPE_CHECKING:  # a production process never imports the development provider
    from pushctl.identity.dev_idp import DevIdp


@dataclass(frozen=True, slots=True)
class Login:
    """A verified login. `expires_at_ms`: of the credential, not of the session it may be traded for.

    `replay_digest` must not be seen twice within `keep_replay_ms` from now (at least 1).
    `provider`: what vouched for it, by its name in the configuration; `browserid` or `browserid-dev` otherwise.
    `generation`: the provider's count of this account's sign-outs and password changes, if it keeps one: a smaller one
    than the largest seen is refused, a larger one ends the sessions from before.
    """

    principal: Principal
    expires_at_ms: int
    replay_digest: str
    keep_replay_ms: int
    provider: str
    generation: int | None = None


class IdentityVerifier:
    """Verifies what `POST /v1/login` is given.

    `public_url`: the origin that assertions must be made for, when it is not `api.public_url` (a port picked at start).
    Reads the issuer files; raises ConfigError with a line for each mistake.
    """

    def __init__(
        self, config: Config, clock: Clock, dev_idp: "DevIdp | None" = None, *, public_url: str | None = None
    ) -> None:
        settings = config.identity.browserid
        self._clock = clock
        self._skew_ms = settings.skew_seconds * 1000
        self._oidc = OidcLogins(config)
        audience, issuers = _checked(config.api.public_url if public_url is None else public_url, settings.issuers)
        if dev_idp is not None:
            issuers[DEV_IDP_DOMAIN] = dev_idp.issuer_keys
        self._browserid = Verifier(
            issuers,
            (audience,),
            skew_ms=self._skew_ms,
            max_assertion_ms=settings.max_assertion_seconds * 1000,
            max_certificate_ms=settings.max_certificate_seconds * 1000,
        )

    async def verify(self, authorization: str | None, provider: str | None) -> Login:
        """Who logs in with this header. Raises LoginRefused, Unauthenticated, or BodyInvalid for `provider`."""
        await trio.lowlevel.checkpoint()
        scheme, _, credentials = (authorization or "").partition(" ")
        if scheme.lower() == "bearer":
            return await self._by_token(credentials.strip(" "), provider)
        if scheme.lower() != "browserid":
            raise Unauthenticated("log in with `Authorization: BrowserID <assertion>`", field="Authorization")
        if provider is not None:
            raise BodyInvalid("names an OIDC provider; leave it null with a BrowserID assertion", field="$.provider")
        now_ms = self._clock()
        return self._login(self._browserid.verify(credentials.strip(" "), now_ms), now_ms)

    async def warm(self) -> None:
        """Gets ready what a first login would wait for. Nothing of it needs to succeed."""
        await self._oidc.warm()

    async def _by_token(self, token: str, provider: str | None) -> Login:
        now_ms = self._clock()
        settings, verified = await self._oidc.verify(token, provider, now_ms)
        return Login(
            Principal(OIDC, settings.issuer, verified.subject),
            verified.expires_at_ms,
            verified.replay_digest,
            # As below: an access token, too, opens one session only.
            max(1, verified.expires_at_ms + 2 * self._oidc.leeway_ms - now_ms),
            settings.name,
            verified.generation,
        )

    def _login(self, verified: Verified, now_ms: int) -> Login:
        kind = BROWSERID_DEV if verified.issuer == DEV_IDP_DOMAIN else BROWSERID
        # The assertion is accepted until its end plus the skew by our clock, and by that of another api server that is
        # behind by as much again.
        keep_replay_ms = max(1, verified.expires_at_ms + 2 * self._skew_ms - now_ms)
        return Login(
            Principal(kind, "", verified.email), verified.expires_at_ms, verified.replay_digest, keep_replay_ms, kind
        )


def _checked(public_url: str, issuer_files: dict[str, str]) -> tuple[str, dict[str, IssuerKeys]]:
    """(our origin, the table of issuers), or every mistake in both at once."""
    mistakes: list[str] = []
    try:
        Origin.parse(public_url)
    except ValueError:
        mistakes.append(f"api.public_url: {public_url!r}: expected an origin such as https://push.example.net")
    issuers: dict[str, IssuerKeys] = {}
    try:
        issuers = load_issuers(issuer_files)
    except ConfigError as error:
        mistakes += error.mistakes
    if mistakes:
        raise ConfigError(mistakes)
    return public_url, issuers
